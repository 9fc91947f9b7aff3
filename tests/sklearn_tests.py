"""scikit-learn's own tests of `KMeans`, run on `kmq.KMeans`.

``python tests/sklearn_tests.py`` takes ``test_k_means.py`` from the scikit-learn that is installed,
puts `kmq.KMeans` in the place of its `KMeans`, and runs it with pytest, in float32 too. Arguments
go to pytest. Nothing of the file is kept here but the names of tests that cannot pass.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import sklearn.cluster

_PRIVATE = "looks at a private attribute of scikit-learn's estimator"
_WORDING = "compares the wording of a message; kmq's names the shapes, too"

SKIPPED = {
    "test_n_init_auto[KMeans": _PRIVATE,
    "test_kmeans_init_auto_with_initial_centroids[KMeans": _PRIVATE,
    "test_sample_weight_init": _PRIVATE,
    "test_sample_weight_zero": _PRIVATE,
    "test_wrong_params[param1": _WORDING,
    "test_wrong_params[param2": _WORDING,
    "test_wrong_params[param3": _WORDING,
    "test_wrong_params[param4": _WORDING,
}
"""How the names of tests begin that cannot pass, and why."""

OTHERS = ("MiniBatch", "minibatch", "inertia", "relocate_empty", "k_means_function", "plusplus")
"""What names of tests contain that are of other classes and of functions: they are left out."""

PLUGIN = """
import pytest

def pytest_collection_modifyitems(config, items):
    others = [item for item in items if any(word in item.name for word in OTHERS)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]
    for item in items:
        for start, reason in SKIPPED.items():
            if item.name.startswith(start):
                item.add_marker(pytest.mark.skip(reason=reason))
"""


def main(arguments):
    source = Path(sklearn.cluster.__file__).parent / "tests" / "test_k_means.py"
    text = source.read_text(encoding="utf-8")
    before, line, after = text.partition("\nfrom sklearn.utils.extmath import")
    assert line, f"{source} imports other names than it used to"
    with tempfile.TemporaryDirectory() as folder:
        exchanged, plugin = Path(folder) / source.name, Path(folder) / "conftest.py"
        exchanged.write_text(f"{before}\nfrom kmq import KMeans{line}{after}", encoding="utf-8")
        plugin.write_text(f"{SKIPPED = }\n{OTHERS = }\n{PLUGIN}", encoding="utf-8")
        options = ["-q", "-rs", "-p", "no:cacheprovider", "-p", "sklearn.conftest"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options, *arguments, exchanged.name],
            cwd=folder,
            env={**os.environ, "SKLEARN_RUN_FLOAT32_TESTS": "1"},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
