"""kmq.js, the decoder for browsers, against kmq: in node, and in pages in headless Chromium."""

import base64
import gzip
import json
import runpy
import shutil
import struct
import subprocess
import threading
from dataclasses import asdict, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import ImageOps

import fuzz
import kmq
import kmq.files
from chromium import needs_browser, started
from images import exif_block, indexed_image, moving_images
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model.file_info import Limits
from kmq.model.image import Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.container.file import pack_varint

WEB = files("kmq") / "web"
GOLDEN = Path(__file__).parents[1] / "golden"
NODE = shutil.which("node")
KINDS = {FormatError: "damaged", NewerFormatError: "newer", LimitError: "too large"}

needs_node = pytest.mark.skipif(not NODE, reason="needs node")


def in_node(folder, limits=None, piece=0, plain=False):
    """What kmq.min.js makes of the files of a folder: name → contents, or why it is refused.

    `piece` is how many bytes come at a time, 0 for all; `plain` is without WebAssembly.
    """
    limits = limits or Limits()
    given = {
        "pixels": limits.pixels,
        "metadataBytes": limits.metadata_bytes,
        "decisions": limits.decisions,
    }
    script = Path(__file__).parent / "decode_files.mjs"
    arguments = [NODE, script, WEB / "kmq.min.js", folder, json.dumps(given), str(piece)]
    arguments += ["plain"] if plain else []
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_python(encoded, limits=None):
    """The same of one file by kmq, as kmq.js puts it."""
    try:
        image = kmq.files.decode(encoded, limits=limits, n_threads=1)
    except FormatError as error:
        return {"refused": KINDS[type(error)]}
    kept = asdict(image.metadata)
    chunks = [kept.pop(name) for name in ("icc_profile", "exif", "xmp")]
    names = ("dpi", "gamma", "chromaticities", "srgb", "cicp")
    tags = {name: list(v) if isinstance(v := kept[name], tuple) else v for name in names}
    return {
        "width": image.width,
        "height": image.height,
        "pixelFormat": image.pixel_format.code,
        "palette": in_base64(image.palette),
        "indices": in_base64(image.indices),
        "bytes": [None if content is None else in_base64(content) for content in chunks],
        "tags": tags,
        "text": [list(entry) for entry in kept["text"].items()],
        "extra": [[letter, in_base64(content)] for letter, content in kept["extra"]],
    }


def in_base64(content):
    if isinstance(content, np.ndarray):
        content = content.astype(content.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(content).decode()


def agree(found, encoded, limits=None):
    """Whether kmq.js says of a file what kmq says; if it is refused, not which fault is named."""
    expected = in_python(encoded, limits)
    if "refused" in expected:
        return "refused" in found
    return expected == {name: found.get(name) for name in expected}


def test_a_page_loads_little():
    """Bytes over the wire, compressed as any server does it."""
    sizes = [len(gzip.compress((WEB / n).read_bytes(), 9)) for n in ("kmq.min.js", "kmq-image.js")]
    assert sizes[0] < 17 * 1024
    assert sizes[1] < 5 * 1024


def test_what_pages_load_is_made_from_the_source():
    """By build.py; where esbuild is missing, or another version, its first line alone says so."""
    build = runpy.run_path(str(WEB / "build.py"))
    source = (WEB / "kmq.js").read_text("utf-8")
    made = (WEB / "kmq.min.js").read_text("utf-8")
    assert made.startswith(build["mark"](source) + "\n"), "run python src/kmq/web/build.py"
    if esbuild := shutil.which("esbuild"):
        version = subprocess.run([esbuild, "--version"], capture_output=True, text=True).stdout
        if f"esbuild {version.strip()} " in build["__doc__"]:
            assert made == build["minified"](source)


def test_the_limits_are_those_of_kmq():
    limits = Limits()
    bits = [number.bit_length() - 1 for number in (limits.metadata_bytes, limits.decisions)]
    written = "pixels: {}, metadataBytes: 2 ** {}, decisions: 2 ** {}".format(limits.pixels, *bits)
    assert f"LIMITS = {{ {written} }};" in (WEB / "kmq.js").read_text()


@needs_node
@pytest.mark.parametrize(("piece", "plain"), [(0, False), (17, False), (0, True)])
def test_golden_files(piece, plain):
    found = in_node(GOLDEN, piece=piece, plain=plain)
    paths = sorted(GOLDEN.glob("*.kmq"))
    assert len(found) == len(paths) > 200
    assert [p.name for p in paths if not agree(found[p.name], p.read_bytes())] == []


@needs_node
def test_label_maps():
    folder = GOLDEN / "labels"
    found = in_node(folder)
    assert len(found) > 10
    for name, image in found.items():
        expected = np.load((folder / name).with_suffix(".npy"))
        labels = image["labels"]
        assert (labels["type"], tuple(labels["shape"])) == (str(expected.dtype), expected.shape)
        values = np.frombuffer(base64.b64decode(labels["values"]), expected.dtype)
        indices = np.frombuffer(
            base64.b64decode(image["indices"]), np.uint8 if len(values) <= 256 else np.uint16
        )
        assert np.array_equal(values[indices].reshape(expected.shape), expected)
        assert image["pixelFormat"] == 10


@needs_node
def test_large_pictures(tmp_path):
    """Several strips, palettes of more than a byte, areas of one colour."""
    for number, (k, height, width) in enumerate([(700, 90, 120), (64, 200, 150), (3, 300, 400)]):
        image = indexed_image(PixelFormat.RGB24, k, height, width)
        for method in ("deflate", "rank", "mix", "label"):
            encoded = kmq.files.encode(image, method=method, strip_height=64)
            (tmp_path / f"{method}-{number}.kmq").write_bytes(encoded)
    flat = np.zeros((300, 500, 3), np.uint8)
    flat[100:140, 30:200] = 255
    (tmp_path / "flat.kmq").write_bytes(kmq.encode(flat, k=2, method="mix"))
    found = in_node(tmp_path)
    assert found == in_node(tmp_path, plain=True)
    assert [n for n in found if not agree(found[n], (tmp_path / n).read_bytes())] == []


@needs_node
def test_damaged_files_are_refused(tmp_path):
    mutator = fuzz.Mutator(14)
    mutants = {f"{number:04}.kmq": mutator.make() for number in range(700)}
    for name, encoded in mutants.items():
        (tmp_path / name).write_bytes(encoded)
    found = in_node(tmp_path, fuzz.LIMITS)
    assert found == in_node(tmp_path, fuzz.LIMITS, plain=True)
    wrong = [n for n, encoded in mutants.items() if not agree(found[n], encoded, fuzz.LIMITS)]
    assert wrong == []
    refused = [f for f in found.values() if "refused" in f]
    assert 100 < len(refused) < 690


def faulty_files():
    """One file for each kind of refusal, and some more: name → bytes."""
    sound = fuzz.split((GOLDEN / "mix-RGB-16-16x16.kmq").read_bytes())
    letters = [letter for letter, _ in sound]
    header, palette, strip = (dict(sound)[letter] for letter in "HPS")

    def with_chunk(letter, payload):
        return fuzz.joined([(a, payload if a == letter else b) for a, b in sound])

    assert letters == ["H", "P", "S", "E"]
    long_text = b"\0word\0" + bytes(20_000)
    return {
        "version": with_chunk("H", b"\3" + header[1:]),
        "goes-on": with_chunk("H", header + b"\0"),
        "pixel-format": with_chunk("H", header[:1] + b"\x0a" + header[2:]),
        "palette-method": with_chunk("P", b"\3" + palette[1:]),
        "strip-method": with_chunk("S", b"\3" + strip[1:]),
        "critical": fuzz.joined([*sound[:2], ("Q", b""), *sound[2:]]),
        "pixels": with_chunk("H", header[:2] + pack_varint(2**20) * 2 + b"\x10\x10"),
        "metadata": fuzz.joined([*sound[:2], ("t", long_text), *sound[2:]]),
        "checksum": with_chunk("S", strip[:1] + bytes(4) + strip[5:]),
        "cut": with_chunk("S", strip[:-3]),
        "no-end": fuzz.joined(sound[:3]),
        "empty": b"",
    }


@needs_node
def test_each_kind_of_refusal_is_named(tmp_path):
    """The limits are those of the files: 2**20 x 2**20 pixels, 20,006 bytes of metadata."""
    limits = Limits(pixels=2**39, metadata_bytes=20_000)
    faulty = faulty_files()
    for name, encoded in faulty.items():
        (tmp_path / f"{name}.kmq").write_bytes(encoded)
    found = in_node(tmp_path, limits)
    said = {name: found[f"{name}.kmq"].get("refused") for name in faulty}
    assert said == {name: in_python(encoded, limits)["refused"] for name, encoded in faulty.items()}
    assert set(said.values()) == set(KINDS.values())


@needs_node
def test_work_is_limited_as_kmq_limits_it(tmp_path):
    """Decisions that the bytes of a file do not pay for, and those that nobody counts."""
    noise = np.zeros((64, 700), np.uint8)
    noise[::7, ::5] = 255
    encoded = kmq.encode(np.concatenate([noise, 0 * noise]), k=2, method="mix")
    (tmp_path / "work.kmq").write_bytes(encoded)
    low, high = 0, 2**20  # the least limit that lets the file pass
    while low < high:
        middle = (low + high) // 2
        if "refused" in in_python(encoded, Limits(decisions=middle)):
            low = middle + 1
        else:
            high = middle
    assert low > 0
    assert "refused" not in in_node(tmp_path, Limits(decisions=low))["work.kmq"]
    for plain in (False, True):
        found = in_node(tmp_path, Limits(decisions=low - 1), plain=plain)
        assert found["work.kmq"]["refused"] == "too large"


# --- pages ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with started() as driver:
        yield driver


PAGE = """<!doctype html><meta charset="utf-8"><title>kmq</title><body>
<script>
  window.started = window.busy = window.mostBusy = 0;
  window.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      started++;
      this.addEventListener("message", () => busy--);
    }
    postMessage(message, ...given) {
      if (message.strip) mostBusy = Math.max(mostBusy, ++busy);
      super.postMessage(message, ...given);
    }
  };
</script>
<script type="module">
  import "./kmq-image.js";
  import * as kmq from "./kmq.min.js";
  window.kmq = kmq;
  window.pixels = (picture) => {
    const canvas = document.createElement("canvas");
    const source = picture.shadowRoot ? picture.shadowRoot.querySelector("canvas") : picture;
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(source, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
  };
  window.shown = (tag, attributes) => new Promise((resolve) => {
    const picture = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) picture.setAttribute(name, value);
    for (const kind of ["load", "error"]) {
      picture.addEventListener(kind, (event) => resolve({ picture, kind, message: event.message }));
    }
    document.body.append(picture);
  });
  window.ready = true;
</script>"""


class Handler(SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {".js": "text/javascript", ".html": "text/html"}

    def log_message(self, *_):
        pass


POLICIES = {
    "no-workers.html": "worker-src 'none'",
    "no-wasm.html": "worker-src 'none'; script-src 'self' 'unsafe-inline'",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder and address of a server, with the modules and a page that uses them."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("kmq.min.js", "kmq-plain.js", "kmq-png.js", "kmq-image.js", "kmq-frames.js"):
        (folder / name).write_bytes((WEB / name).read_bytes())
    (folder / "page.html").write_text(PAGE)
    for name, policy in POLICIES.items():
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        (folder / name).write_text(PAGE.replace("<title>", meta + "<title>"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/page.html"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser, site):
    """A call that runs the body of an async function in the page and returns what that returns."""
    browser.get(site[1])
    browser.set_script_timeout(30)

    def run(body, *arguments):
        return browser.execute_async_script(
            f"""
            const done = arguments[arguments.length - 1];
            (async (...given) => {{
              while (!window.ready) await new Promise((go) => setTimeout(go, 10));
              {body}
            }})(...arguments).then(done, (error) => done(`failed: ${{error.stack}}`));
            """,
            *arguments,
        )

    return run


SHOW = """
const { picture, kind, message } = await shown(given[0], given[1]);
const box = picture.getBoundingClientRect();
return { kind, message, pixels: picture.naturalWidth ? pixels(picture) : [],
         natural: [picture.naturalWidth, picture.naturalHeight], box: [box.width, box.height],
         complete: picture.complete };
"""


def rgba(pixels, natural):
    return np.array(pixels, np.uint8).reshape(natural[1], natural[0], 4)


@needs_browser
def test_the_element_shows_a_picture(page, site):
    """In strips, decoded in Workers; opaque, since a canvas rounds what is translucent."""
    image = indexed_image(PixelFormat.RGB24, 60, 90, 70)
    expected = np.asarray(image.to_pillow().convert("RGBA"))
    for method in ("deflate", "rank", "mix"):
        kmq.files.write(site[0] / f"{method}.kmq", image, method=method, strip_height=25)
        found = page(SHOW, "kmq-image", {"src": f"{method}.kmq", "alt": "blotches"})
        assert found["kind"] == "load"
        assert found["natural"] == found["box"] == [70, 90]
        assert found["complete"]
        assert (rgba(found["pixels"], found["natural"]) == expected).all()
    strips = page(
        "let n = 0; const rows = [];"
        "await kmq.decodeStream(await fetch('mix.kmq'), {onRows: ({row}) => rows.push(row)});"
        "return rows.sort((a, b) => a - b)"
    )
    assert strips == [0, 25, 50, 75]
    assert page("return started") > 0


@needs_browser
def test_the_element_plays_a_sequence(page, site):
    """Once here, and then the last frame stays."""
    images = moving_images(PixelFormat.RGB24, 16, 40, 50, 3)
    kmq.write_frames(site[0] / "clip.kmq", images, delays=60, plays=1)
    found = page(
        """
        const { picture, kind } = await shown("kmq-image", { src: "clip.kmq" });
        const seen = [], shot = () => pixels(picture).join();
        for (let i = 0; i < 200 && seen.length < given[0]; i++) {
          const shown = shot();
          if (seen.at(-1) !== shown) seen.push(shown);
          await new Promise((go) => setTimeout(go, 10));
        }
        await new Promise((go) => setTimeout(go, 150));
        return [kind, [...seen, shot()].map((frame) => frame.split(",").map(Number))];
        """,
        2,
    )
    assert found[0] == "load"
    frames = [rgba(frame, (50, 40))[..., :3] for frame in found[1]]
    for frame, image in zip(frames, (images[0], images[2], images[2]), strict=True):
        assert (frame == image.to_array()).all()


@needs_browser
def test_strips_are_decoded_side_by_side(page, site):
    """As many Workers as there are cores, each with a strip; the next files find them there."""
    image = indexed_image(PixelFormat.RGB24, 60, 90, 70)
    kmq.files.write(site[0] / "strips.kmq", image, method="mix", strip_height=10)
    found = page(
        """
        Object.defineProperty(navigator, "hardwareConcurrency", { value: 3 });
        const decoded = async () => {
          const image = await kmq.decodeStream(await fetch("strips.kmq"));
          return [...image.indices];
        };
        const images = [await decoded(), ...await Promise.all([decoded(), decoded()])];
        return [images, started, mostBusy, busy];
        """
    )
    assert found[0] == [image.indices.ravel().tolist()] * 3
    assert found[1:] == [3, 3, 0]


@needs_browser
def test_the_first_rows_come_while_the_rest_is_on_its_way(page, site):
    """The stream goes on only when they have come."""
    image = indexed_image(PixelFormat.RGB24, 60, 90, 70)
    kmq.files.write(site[0] / "slow.kmq", image, method="mix", strip_height=30)
    info = kmq.files.info(site[0] / "slow.kmq")
    found = page(
        """
        const bytes = new Uint8Array(await (await fetch("slow.kmq")).arrayBuffer());
        const rows = [];
        let feed;
        const stream = new ReadableStream({ start(controller) { feed = controller; } });
        feed.enqueue(bytes.slice(0, given[0]));
        const image = await kmq.decodeStream(stream, { onRows({ row }) {
          rows.push(row);
          if (rows.length > 1) return;
          feed.enqueue(bytes.slice(given[0]));
          feed.close();
        } });
        return [rows, [...image.indices]];
        """,
        info.strips[1].offset,
    )
    assert found[0][0] == 0
    assert sorted(found[0]) == [0, 30, 60]
    assert found[1] == image.indices.ravel().tolist()


@needs_browser
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("method", ["rank", "mix"])
def test_a_page_that_must_not_do_all(browser, site, name, method):
    image = indexed_image(PixelFormat.RGB24, 60, 90, 70)
    kmq.files.write(site[0] / "strict.kmq", image, method=method, strip_height=25)
    browser.get(site[1].replace("page.html", name))
    browser.set_script_timeout(30)
    found = browser.execute_async_script(
        "const done = arguments[0]; const p = document.createElement('kmq-image');"
        "const end = ({type, message}) => done([type, message ?? p.naturalHeight]);"
        "p.addEventListener('load', end); p.addEventListener('error', end);"
        "p.src = 'strict.kmq'; document.body.append(p);"
    )
    assert found == ["load", 90]


@needs_browser
@pytest.mark.parametrize(
    ("attributes", "box"),
    [
        ({"width": "35"}, [35, 45]),
        ({"height": "45"}, [35, 45]),
        ({"width": "140", "height": "20"}, [140, 20]),
        ({"style": "width: 7px"}, [7, 9]),
        ({"width": "50", "style": "height: 18px; width: auto"}, [14, 18]),
    ],
)
def test_the_element_is_as_large_as_img_would_be(page, site, attributes, box):
    kmq.files.write(site[0] / "sized.kmq", indexed_image(PixelFormat.RGB24, 9, 90, 70))
    found = page(SHOW, "kmq-image", {"src": "sized.kmq", **attributes})
    assert found["box"] == pytest.approx(box)


@needs_browser
def test_a_broken_file_is_an_error_and_never_a_picture(page, site):
    encoded = kmq.files.encode(indexed_image(PixelFormat.RGB24, 9, 90, 70), strip_height=30)
    damaged = bytearray(encoded)
    damaged[-40] ^= 1
    (site[0] / "broken.kmq").write_bytes(damaged)
    found = page(SHOW, "kmq-image", {"src": "broken.kmq", "alt": "words"})
    assert (found["kind"], found["natural"], found["complete"]) == ("error", [0, 0], True)
    assert "damaged" in found["message"]
    assert "404" in page(SHOW, "kmq-image", {"src": "missing.kmq"})["message"]
    assert page(
        "const p = document.createElement('kmq-image'); p.src = 'broken.kmq'; p.alt = 'words';"
        "document.body.append(p);"
        "const failure = await p.decode().then(() => null, (error) => error.name);"
        "return [failure, p.shadowRoot.querySelector('span').checkVisibility(), p.alt]"
    ) == ["EncodingError", True, "words"]


@needs_browser
def test_decode_and_a_new_source(page, site):
    for name, k in (("one", 3), ("two", 5)):
        image = indexed_image(PixelFormat.RGB24, k, k, 2 * k)
        kmq.files.write(site[0] / f"{name}.kmq", image)
    assert page(
        "const p = document.createElement('kmq-image'); p.src = 'one.kmq'; await p.decode();"
        "const first = p.naturalWidth; p.src = 'two.kmq'; const before = p.complete;"
        "await p.decode(); return [first, before, p.naturalWidth, p.complete]"
    ) == [6, False, 10, True]


@needs_browser
def test_lazy_pictures_wait_until_they_are_near(page, site):
    kmq.files.write(site[0] / "lazy.kmq", indexed_image(PixelFormat.RGB24, 3, 4, 5))
    assert page(
        "const space = document.createElement('div'); space.style.height = '9000px';"
        "const p = document.createElement('kmq-image'); p.loading = 'lazy'; p.src = 'lazy.kmq';"
        "document.body.append(space, p);"
        "const near = await shown('kmq-image', {src: 'lazy.kmq'}); near.picture.remove();"
        "const before = p.complete; const loaded = new Promise((go) => p.onload = go);"
        "p.addEventListener('load', p.onload); p.scrollIntoView(); await loaded;"
        "return [before, p.complete]"
    ) == [False, True]


@needs_browser
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_of_exif_is_followed(page, site, turn):
    plain = indexed_image(PixelFormat.RGB24, 9, 4, 7)
    exif = exif_block([(0x112, 3, 1, turn)], "<")
    image = replace(plain, metadata=Metadata(exif=exif))
    kmq.files.write(site[0] / f"turned-{turn}.kmq", image, strip_height=2)
    found = page(SHOW, "kmq-image", {"src": f"turned-{turn}.kmq"})
    picture = plain.to_pillow().convert("RGB")
    picture.getexif()[0x112] = turn
    expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))
    assert (rgba(found["pixels"], found["natural"]) == expected).all()


def profile(space, *tags):
    """An ICC profile of display colours: gamma 1.0, and the tags given with their content."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    names = (b"rTRC", b"gTRC", b"bTRC") if space == b"RGB " else (b"kTRC",)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = [(b"desc", name), (b"wtpt", white), *tags, *((name, curve) for name in names)]
    at, table, content = 132 + 12 * len(tags), b"", b""
    for name, body in tags:
        table += name + struct.pack(">2I", at + len(content), len(body))
        content += body + bytes(-len(body) % 4)
    size = struct.pack(">I", at + len(content))
    head = size + bytes(4) + b"\2\x20\0\0" + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + content


def primaries():
    """Those of Display P3 in the space of profiles."""
    rows = {
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    for name, row in rows.items():
        fixed = struct.pack(">3i", *(round(65536 * x) for x in row))
        yield name, b"XYZ " + bytes(4) + fixed


TAGS = {
    "chromaticities": Metadata(
        gamma=1.0, chromaticities=(0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)
    ),
    "profile": Metadata(icc_profile=profile(b"RGB ", *primaries())),
}


@needs_browser
@pytest.mark.parametrize("name", TAGS)
def test_colours_are_those_that_the_browser_shows_of_a_png(page, site, name):
    image = replace(indexed_image(PixelFormat.RGB24, 60, 20, 30), metadata=TAGS[name])
    kmq.files.write(site[0] / f"{name}.kmq", image)
    image.save(site[0] / f"{name}.png")
    ours = page(SHOW, "kmq-image", {"src": f"{name}.kmq"})
    theirs = page(SHOW, "img", {"src": f"{name}.png"})
    assert ours["pixels"] == theirs["pixels"]
    plain = np.asarray(image.to_pillow().convert("RGBA"))
    assert (rgba(ours["pixels"], ours["natural"]) != plain).any()
