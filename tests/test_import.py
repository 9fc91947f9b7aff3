"""What importing kmq loads, what it offers, and that the arrows between its modules point down."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import kmq

PACKAGE = Path(kmq.__file__).parent
GOLDEN = Path(__file__).parent / "golden"
HEAVY = {
    *("numba", "llvmlite", "PIL", "sklearn", "scipy", "matplotlib", "tqdm", "tifffile"),
    "imagecodecs",
}


def loaded_by(script):
    """Top-level modules that a fresh interpreter has loaded after the script."""
    script += "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    "script",
    [
        "import kmq",
        # KMeans is one of scikit-learn's estimators where that is installed.
        "import kmq; [getattr(kmq, name) for name in kmq.__all__ if name != 'KMeans']",
        "import kmq; dir(kmq); kmq.PixelFormat.RGB24",
        "import kmq.cli.command",
        "import kmq\n"
        "from pathlib import Path\n"
        f"for path in Path({str(GOLDEN)!r}).glob('*.kmq'): kmq.info(path)",
    ],
)
def test_what_needs_no_kernel_stays_light(script):
    assert not loaded_by(script) & HEAVY


def test_import_alone_does_without_numpy():
    assert "numpy" not in loaded_by("import kmq, kmq.cli")


def test_numpy_is_imported_from_the_top():
    # Its imports are so deep that from further down each call there takes a new piece of stack.
    golden = next(GOLDEN.glob("*.kmq"))
    command = [sys.executable, "-X", "importtime", "-m", "kmq", "info", str(golden)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    depths = {
        line.split()[-1]: len(line.rpartition("|")[2]) - len(line.rpartition("|")[2].lstrip())
        for line in ended.stderr.splitlines()
    }
    assert depths["numpy"] == depths["kmq.cli.command"] == 1


def test_public_names():
    assert sorted(kmq.__all__) == [
        "ColorHistogram",
        "ColorWarning",
        "Dither",
        "ErrorCurve",
        "Fewest",
        "FileInfo",
        "FormatError",
        "IndexedImage",
        "InputError",
        "KMeans",
        "KMeansResult",
        "KmqError",
        "LimitError",
        "Limits",
        "Metadata",
        "MetadataWarning",
        "MissingExtraError",
        "NewerFormatError",
        "Optimize",
        "Palette",
        "PixelFormat",
        "QuantizedImage",
        "Rate",
        "Report",
        "Require",
        "SalvageWarning",
        "Space",
        "Start",
        "accumulate",
        "assign",
        "choose_k",
        "decode",
        "decode_labels",
        "encode",
        "encode_labels",
        "error_curve",
        "fit_palette",
        "info",
        "kmeans",
        "quantize",
        "quantize_frames",
        "read",
        "read_frames",
        "read_labels",
        "read_palette",
        "read_region",
        "write",
        "write_frames",
        "write_labels",
        "write_palette",
    ]


def test_public_names_resolve_and_are_documented():
    for name in kmq.__all__:
        thing = getattr(kmq, name)
        assert thing.__name__ == name
        assert thing.__doc__
        assert name in dir(kmq)


def test_dir_lists_the_public_names_alone():
    assert {name for name in dir(kmq) if not name.startswith("__")} == set(kmq.__all__)


def test_star_import_gives_the_public_names():
    names = {}
    exec("from kmq import *", names)  # noqa: S102  # the star cannot stand in a function
    assert set(kmq.__all__) <= set(names)


def test_other_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'kmq' has no attribute 'quantise'"):
        kmq.quantise  # noqa: B018  # the access is the test


def test_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


# Arrows


class Import(NamedTuple):
    source: str  # the module that imports
    target: str
    line: int
    at_top: bool  # it runs when the source is imported


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def targets(node):
    """Modules an import statement names; `from package import module` names the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "kmq spells its imports in full"
    submodules = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name in MODULES else node.module for name in submodules]


def imports(module):
    def walk(node, at_top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield from (Import(module, name, child.lineno, at_top) for name in targets(child))
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue  # never runs
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_top and not inside)

    yield from walk(ast.parse(MODULES[module].read_text()), True)


ALL_IMPORTS = [imported for module in MODULES for imported in imports(module)]

SHARED = (
    "atomic",
    "buffers",
    "checks",
    "color_tags",
    "compiling",
    "deflate",
    "display",
    "errors",
    "exact",
    "forks",
    "lazily",
    "model",
    "streams",
    "threads",
)
ROOMS = {f"kmq.{name}": "shared" for name in SHARED} | {
    "kmq.kernels": "kernels",
    "kmq.pipeline": "pipeline",
    "kmq.colors": "options",
    "kmq.estimator_base": "options",
    "kmq.contradictions": "options",
    "kmq.options": "options",
    "kmq.values": "options",
    "kmq.cli": "users",
    "kmq.codecs": "users",
    "kmq.framing": "users",
    "kmq.numcodecs": "users",
    "kmq.pillow": "users",
    "kmq.zarr": "users",
    "kmq.__main__": "users",
}
BELOW = {
    "shared": {"shared"},
    "kernels": {"shared"},
    "station": {"shared", "kernels"},  # and its own files; never another station
    "pipeline": {"shared", "station", "pipeline"},
    "options": {"shared", "station", "pipeline", "options"},
    "doors": {"shared", "kernels", "station", "pipeline", "options"},  # and never another door
    "users": {"shared", "kernels", "station", "pipeline", "options", "doors", "users"},
}
# Methods of the image or histogram a user holds, which run what is above when called.
METHODS = {
    ("kmq.model.image", "kmq.stages.pictures.pillow", False),
    ("kmq.model.image", "kmq.files", False),
    ("kmq.model.histogram", "kmq.histograms", False),
}


def room(module):
    if module.startswith("kmq.stages."):
        return "station"
    for name, its_room in ROOMS.items():
        if module == name or module.startswith(name + "."):
            return its_room
    return "doors"


def station(module):
    return module.split(".")[2:3] if room(module) == "station" else None


def within_kmq(imported):
    return imported.target.split(".")[0] == "kmq"


def assert_none(wrong):
    assert not wrong, "\n".join(f"{w.source}:{w.line} imports {w.target}" for w in wrong)


def test_walk_sees_the_imports():
    edges = {(imported.source, imported.target, imported.at_top) for imported in ALL_IMPORTS}
    assert ("kmq.quantizing", "kmq.pipeline.quantizing", True) in edges
    assert ("kmq.stages.palette.assigning", "kmq.kernels.nearest", False) in edges
    assert ("kmq.kernels._compiler", "numba.core", True) in edges
    assert ("kmq.pillow", "PIL", True) in edges
    assert ("kmq.model.image", "PIL.Image", True) not in edges


def test_arrows_point_down():
    def is_wrong(imported):
        source, target = room(imported.source), room(imported.target)
        if source == target == "kernels":
            return not imported.target.startswith("kmq.kernels._")
        if source == target == "station":
            return station(imported.source) != station(imported.target)
        excepted = (imported.source, imported.target, imported.at_top) in METHODS
        return target not in BELOW[source] and not excepted

    assert_none(
        [imported for imported in ALL_IMPORTS if within_kmq(imported) and is_wrong(imported)]
    )


def test_no_circle_over_all_imports():
    edges = {}
    for imported in ALL_IMPORTS:
        is_method = (imported.source, imported.target, imported.at_top) in METHODS
        if imported.target in MODULES and not is_method:
            edges.setdefault(imported.source, set()).add(imported.target)

    def reached_from(module):
        reached, ahead = set(), [module]
        while ahead:
            for target in edges.get(ahead.pop(), set()) - reached:
                reached.add(target)
                ahead.append(target)
        return reached

    assert not {module for module in MODULES if module in reached_from(module)}


def test_only_kernels_import_numba():
    def is_wrong(imported):
        compiler = imported.target.split(".")[0] in ("numba", "llvmlite")
        return compiler and room(imported.source) != "kernels"

    assert_none([imported for imported in ALL_IMPORTS if is_wrong(imported)])


def test_only_one_kernel_module_spells_jit_options():
    spelled = {
        module
        for module, path in MODULES.items()
        if re.search(r"njit\(|\"nogil\"", path.read_text(encoding="utf-8"))
    }
    assert spelled == {"kmq.kernels._compiler"}


def test_kernels_are_imported_by_the_functions_that_run_them():
    def is_wrong(imported):
        return room(imported.target) == "kernels" != room(imported.source) and imported.at_top

    assert_none(
        [imported for imported in ALL_IMPORTS if within_kmq(imported) and is_wrong(imported)]
    )


def test_only_the_plugin_imports_pillow_at_the_top():
    def is_wrong(imported):
        pillow = imported.target.split(".")[0] == "PIL" or imported.target == "kmq.pillow"
        return pillow and imported.at_top and imported.source != "kmq.pillow"

    assert_none([imported for imported in ALL_IMPORTS if is_wrong(imported)])
