"""The page of `kmq report`, as a file; tests/cli/test_report_browser.py opens it."""

import base64
import html
import io
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import kmq
from images import indexed_image
from kmq import display
from kmq.cli import main, study
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.metrics import mse

K = 40
NAME = "<b>a&amp;b.png"  # a name of a file is not HTML


class Page(HTMLParser):
    """What the tests look at."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, content):
        super().__init__()
        self.tags, self.pictures, self.texts, self._open = [], {}, [], []
        self.source = content.decode()
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "img":
            png = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
            self.pictures.setdefault(attributes["alt"], []).append(Image.open(io.BytesIO(png)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        self.texts.append(" ".join(text.split()))

    @property
    def text(self):
        return " ".join(filter(None, self.texts))


def photo(height=90, width=120, channels=3):
    rows, columns = np.mgrid[:height, :width]
    planes = [127 + 80 * np.sin(rows / (9 + c) + columns / (13 - 2 * c)) for c in range(channels)]
    noise = np.random.default_rng(0).integers(-9, 10, (height, width, channels))
    return (np.stack(planes, axis=-1) + noise).astype(np.uint8)


def report(path, *arguments):
    out = path.parent / "report.html"
    assert main(["report", str(path), "-o", str(out), "--force", *arguments]) == 0
    return Page(out.read_bytes())


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / NAME
    Image.fromarray(photo()).save(path, "PNG")
    return path


@pytest.fixture(scope="module")
def page(picture):
    return report(picture, "-k", str(K))


@pytest.fixture(scope="module")
def image(picture):
    return kmq.quantize(picture, K)


def test_the_page_needs_nothing_but_itself(page):
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), tag
    assert not re.search(r"url\(|@import|https?:", page.source)
    policy = dict(page.tags[4][1])
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_the_name_is_text(page):
    assert [tag for tag, _ in page.tags if tag == "b"] == []
    assert page.texts.count(NAME) == 2  # title and heading


def test_the_slider_holds_original_and_result(page, image):
    assert np.array_equal(page.pictures["Original"][0], photo())
    assert np.array_equal(page.pictures[f"{K} colours"][0].convert("RGB"), image.to_array())
    sliders = [attributes for tag, attributes in page.tags if tag == "input"]
    assert sliders
    assert all(slider["type"] == "range" and slider["aria-label"] for slider in sliders)


def test_the_error_map_follows_the_error(page, image):
    steps = np.asarray(page.pictures["Error map"][0], float).ravel()
    apart = photo().astype(float) - image.to_array()
    errors = np.sqrt(np.mean(apart**2, axis=2)).ravel()
    top = np.quantile(errors, 0.99)
    assert np.abs(steps - np.minimum(errors / top * 64, 63)).max() <= 1
    assert f"{top:#.3g} of 255 levels or more" in page.text
    assert f"the greatest difference is {errors.max():#.3g}" in page.text


def test_the_palette_is_listed_by_share(page, image):
    counts = np.bincount(image.indices.ravel())
    expected = [
        f"#{image.palette[entry].tobytes().hex()} {counts[entry]:,} · {counts[entry] / 10800:.2%}"
        for entry in np.argsort(-counts, kind="stable")
    ]
    listed = re.findall(r"#[0-9a-f]{6} [\d,]+ · [\d.]+%", page.text)
    assert listed == expected


def test_the_histogram_has_a_bar_for_each_index(page, image):
    counts = np.bincount(image.indices.ravel())
    for entry, count in enumerate(counts):
        assert f"entry {entry}: {count:,} pixels" in page.text
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert [bar["fill"] for bar in bars] == [f"#{entry.tobytes().hex()}" for entry in image.palette]
    heights = np.array([float(bar["height"]) for bar in bars])
    assert heights == pytest.approx(100 * counts / counts.max(), abs=0.01)
    entropy = -sum(count / 10800 * np.log2(count / 10800) for count in counts)
    assert f"{entropy:.3f} bits per pixel" in page.text


def charts_of(page):
    """What the charts say to those who do not see them."""
    return [
        attributes["aria-label"]
        for tag, attributes in page.tags
        if attributes.get("class") == "chart"
    ]


def test_the_curves_are_what_other_palettes_take(page):
    size, psnr, *_ = charts_of(page)
    for k in (2, 8, K, 256):
        image = kmq.quantize(photo(), k)
        assert f" {k}: {len(kmq.encode(image)):,}" in size
        assert f" {k}: {image.report.psnr:.1f}" in psnr
    assert "number of colours" in size


def test_the_curves_are_what_other_rates_take(page):
    *_, size, psnr = charts_of(page)
    for rate in (0, 0.5, 4):
        image = kmq.quantize(photo(), K, mapping=kmq.Rate(rate))
        assert f" {rate}: {len(kmq.encode(image)):,}" in size
        shown = float(re.search(rf" {rate}: (\d+\.\d+)", psnr)[1])
        assert shown == pytest.approx(image.report.psnr, abs=0.06)
    assert "λ" in size


def test_each_chart_shows_the_result(page):
    chosen = [attributes for tag, attributes in page.tags
              if tag == "circle" and "chosen" in attributes["class"]]  # fmt: skip
    assert len(charts_of(page)) == len(chosen) == 4


def test_the_table_has_every_format(page, image):
    size = len(kmq.encode(image))
    png = io.BytesIO()
    image.to_pillow().save(png, "PNG", optimize=True)
    n_png = len(png.getvalue())
    rows = page.text.partition("PSNR, dB SSIMULACRA2")[2]
    assert rows.startswith(f" .kmq effort balanced {size:,} × 1.00 {image.report.psnr:.2f} ")
    assert f"PNG-8 lossless, Pillow with optimize {n_png:,} × {n_png / size:.2f} " in rows
    assert re.search(r"WebP lossless, [^×]* [\d,]+ × \d\.\d\d", rows)
    for name in ("JPEG", "WebP lossy"):
        psnr = float(re.search(rf"{name}.*?quality \d+ [\d,]+ × [\d.]+ ([\d.]+) ", rows)[1])
        assert image.report.psnr - 0.01 <= psnr < image.report.psnr + 1.5


def test_threads_do_not_show(picture, tmp_path):
    pages = []
    for threads in ("1", "3"):
        out = tmp_path / f"{threads}.html"
        assert main(["report", str(picture), "-k", "9", "-o", str(out), "--threads", threads]) == 0
        page, foot = out.read_text(encoding="utf-8").split("<footer>")
        assert f"--threads {threads}</code>" in foot
        pages.append(page)
    assert pages[0] == pages[1]


def test_the_foot_says_what_made_the_page_and_when(tmp_path, monkeypatch):
    path = tmp_path / "a <b> 'c'.png"
    Image.fromarray(photo(8, 9)).save(path)
    for epoch, date in (("86399", "1970-01-01"), ("99999999999", "5138-11-16")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        page = report(path, "-k", "2")
        assert f"Made by kmq {kmq.__version__} on {date} with kmq report" in page.text
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 5000)
    page = report(path, "-k", "2")
    assert re.search(r" on 2\d\d\d-[01]\d-[0-3]\d with ", page.text)
    (command,) = re.findall("<code>(kmq .*)</code></footer>", page.source)
    words = shlex.split(html.unescape(command))
    assert words[:3] == ["kmq", "report", str(path)]
    assert words[-2:] == ["-k", "2"]


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_every_pixel_format_has_a_page(pixel_format, tmp_path):
    path = tmp_path / "picture.kmq"
    original = indexed_image(pixel_format, 300, 31, 20)
    kmq.write(path, original, method="deflate")
    page = report(path, "-k", "2", "--effort", "fast")
    image = kmq.quantize(original, 2, effort="fast")
    shown = display.to_screen(image.palette[image.indices], pixel_format)
    if pixel_format is PixelFormat.BILEVEL:  # which two colours hold
        assert np.array_equal(page.pictures["The picture"][0].convert("L"), shown)
        assert "Every pixel is as in the original." in page.text
        return
    assert np.array_equal(page.pictures["2 colours"][0].convert("RGBA"), shown.convert("RGBA"))
    before = display.to_screen(original.palette[original.indices], pixel_format)
    assert np.array_equal(page.pictures["Original"][0].convert("RGBA"), before.convert("RGBA"))
    assert f"Palette of {image.n_colors} colours" in page.text


@pytest.mark.parametrize(
    ("label", "entry", "code"),
    [
        ("1", [1], "#ffffff"),
        ("L", [7], "#070707"),
        ("LA", [7, 255], "#070707ff"),
        ("L16", [300], "#012c012c012c"),
        ("RGB", [1, 2, 255], "#0102ff"),
        ("RGBA64", [1, 2, 3, 65535], "#000100020003ffff"),
        ("CMYK", [0, 16, 255, 1], "cmyk 00 10 ff 01"),
    ],
)
def test_codes_of_entries_keep_all_bits(label, entry, code):
    from kmq.cli.report_page import _code

    assert _code(entry, PixelFormat.from_label(label)) == code


def test_a_kmq_file_shows_itself(tmp_path):
    path = tmp_path / "some.kmq"
    image = indexed_image(PixelFormat.RGBA32, 9, 31, 20)
    kmq.write(path, image, method="deflate")
    page = report(path)
    assert "20 × 31 pixels of format RGBA: a .kmq file as it is." in page.text
    assert f"File {path.stat().st_size:,} bytes" in page.text
    colors = display.css_colors(image.palette, image.pixel_format)
    assert sorted(re.findall(r"<code>(#\w+)</code>", page.source)) == sorted(colors)
    assert not [tag for tag, _ in page.tags if tag == "input"]
    assert "reduced to" in report(path, "--snap").text
    for option in ("--lambda", "--size"):  # 300 bytes are too few for all colours
        assert "reduced to" in report(path, option, "300").text
    fewer = report(path, "-k", "4")
    assert "reduced to 4 colours" in fewer.text


def test_a_large_palette_is_shown_in_part(tmp_path):
    path = tmp_path / "many.kmq"
    image = indexed_image(PixelFormat.RGB24, 3000, 64, 70)
    kmq.write(path, image)
    page = report(path)
    assert len([tag for tag, _ in page.tags if tag == "li"]) == 1024
    assert "The 1,024 most frequent are listed." in page.text
    assert "2,936 colours more" in page.text
    bars = [tag for tag, _ in page.tags if tag == "rect"]
    assert len(bars) == 250
    used = np.bincount(image.indices.ravel(), minlength=3000)
    assert f"entries 12 to 23: {used[12:24].sum():,} pixels" in page.text
    assert "holds 256 colours" in page.text


def test_large_pictures_are_shrunk_and_measured_in_part(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_SHOWN_PIXELS", 3000)
    monkeypatch.setattr(study, "_MEASURED_PIXELS", 2700)
    monkeypatch.setattr(study, "_DETAIL_FROM", 1)
    monkeypatch.setattr(study, "_DETAIL", (10, 20))
    monkeypatch.setattr(study, "_ERROR_SAMPLES", 1000)
    page = report(picture, "-k", str(K))
    result = kmq.quantize(picture, K).to_array()
    assert "Shrunk to 1/2 of its size, 60 × 45 pixels" in page.text
    assert page.pictures["Original"][0].size == (60, 45)
    assert page.pictures["Error map"][0].size == (60, 45)
    # The worst part is shown as it is.
    left, top = map(
        int, re.search(r"20 × 10 pixels from column (\d+), row (\d+)", page.text).groups()
    )
    part = np.s_[top : top + 10, left : left + 20]
    assert np.array_equal(page.pictures["Original"][1], photo()[part])
    assert np.array_equal(page.pictures[f"{K} colours"][1].convert("RGB"), result[part])
    tiles = [np.s_[y : y + 10, x : x + 20] for y in range(0, 90, 10) for x in range(0, 120, 20)]
    assert mse(photo()[part], result[part]) == max(mse(photo()[t], result[t]) for t in tiles)
    # Sizes are those of the middle.
    assert "Measured on the middle of the picture, 60 × 45 pixels" in page.text
    middle = photo()[22:67, 30:90]
    size = len(kmq.encode(middle, K))
    assert f".kmq effort balanced {size:,} × 1.00" in page.text


def test_a_given_palette_is_mapped_to(picture, tmp_path):
    theme = tmp_path / "theme.hex"
    theme.write_text("000000\nff8000\n2040ff\nffffff\n")
    page = report(picture, "--palette", str(theme))
    image = kmq.quantize(photo(), palette=theme)
    assert np.array_equal(page.pictures["4 colours"][0].convert("RGB"), image.to_array())
    assert "number of colours" not in page.text
    size = len(kmq.encode(kmq.quantize(photo(), palette=theme, mapping=kmq.Rate(2))))
    assert f" 2: {size:,}" in charts_of(page)[0]
    translucent = tmp_path / "translucent.png"
    Image.fromarray(photo(channels=3)).convert("L").save(translucent)
    page = report(translucent, "--palette", str(theme))  # grey becomes RGB
    assert "#ff8000" in page.text


def test_steered_palettes_are_shown(picture, tmp_path):
    mask = np.zeros((90, 120), np.uint8)
    mask[:, 60:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    arguments = ["--fixed", "white", "--fixed", "#010203", "--fixed", "red", "--posterize", "8"]
    page = report(picture, "-k", "5", "--weights", str(tmp_path / "mask.png"), *arguments)
    image = kmq.quantize(photo(), 5, require=["white", "#010203", "red"], weights=mask > 0)
    assert np.array_equal(page.pictures["5 colours"][0].convert("RGB"), image.to_array())
    for label in charts_of(page)[:2]:
        assert re.findall(r"[.,] ([\d,]+): ", label)[:3] == ["4", "5", "8"]  # 2 are too few


def test_a_dithered_picture_has_a_page_without_rates(picture):
    page = report(picture, "-k", "4", "--dither")
    assert "rate λ" not in page.text
    assert len(charts_of(page)) == 2


def test_a_mask_is_cut_as_the_picture_is(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_MEASURED_PIXELS", 2700)
    mask = np.zeros((90, 120), np.uint8)
    mask[:, 60:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page = report(picture, "-k", "5", "--weights", str(tmp_path / "mask.png"))
    part = np.s_[22:67, 30:90]
    size = len(kmq.encode(photo()[part], 5, weights=mask[part] > 0))
    assert f".kmq effort balanced {size:,} × 1.00" in page.text


def test_a_page_of_a_file_is_shown(tmp_path):
    path = tmp_path / "pages.tif"
    pages = [Image.fromarray(photo(30, 40)), Image.fromarray(photo(20, 25))]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    page = report(path, "-k", "5", "--page", "2")
    assert np.array_equal(page.pictures["Original"][0], photo(20, 25))
    assert main(["report", str(path), "-k", "5", "--force"]) == 1


def test_several_pictures_have_a_page_each(picture, tmp_path, capsys):
    for name in ("one", "two"):
        Image.fromarray(photo(12, 12)).save(tmp_path / f"{name}.png")
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "pages"), "-k", "3"]) == 0
    *lines, sums = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert sums.startswith("2 files")
    for line, name in zip(lines, ("one", "two"), strict=True):
        path = tmp_path / "pages" / f"{name}.html"
        assert line.startswith(f"{path}: {path.stat().st_size:,} bytes; 3 colours, ")


def test_icons_and_lines_have_a_page(tmp_path):
    path = tmp_path / "icon.png"
    for shape in ((1, 1), (8, 8), (1, 300), (300, 1)):
        Image.fromarray(photo(*shape)).save(path)
        page = report(path, "-k", "1")
        assert f"{shape[1]} × {shape[0]} pixels" in page.text
        assert "nan" not in page.text


def test_encoders_at_fault_cost_their_rows_and_not_the_page(tmp_path, monkeypatch):
    def write(picture, **options):
        raise OSError("encoder error -2")

    monkeypatch.setattr("kmq.cli.peers._saved", write)
    path = tmp_path / "noise.png"
    Image.fromarray(photo(24, 30)).save(path)
    page = report(path, "-k", "4")
    assert page.text.count("Pillow could not write it: encoder error -2") == 4


def test_nothing_is_overwritten_or_half_written(picture, tmp_path, capsys):
    out = tmp_path / "report.html"
    out.write_text("mine")
    assert main(["report", str(picture), "-o", str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["report", str(picture), "-o", str(picture), "--force"]) == 2
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert main(["report", str(tmp_path / "broken.png"), "-o", str(out), "--force"]) == 1
    assert main(["report", str(tmp_path / "none.png")]) == 1
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.png", "report.html"]


def test_what_cannot_be_meant_is_refused(picture, capsys):
    assert main(["report", str(picture), "-k", "3", "--psnr", "30"]) == 2
    assert "-k and --psnr" in capsys.readouterr().err
    assert main(["report", str(picture), "--method", "magic"]) == 2
