"""`kmq view`: the page as a file, and in headless Chromium."""

import base64
import io
import re
import webbrowser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kmq
import kmq.files
from chromium import needs_browser, show, started
from images import exif_block, indexed_image, moving_images
from kmq.cli import main
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat


@pytest.fixture(scope="module")
def image():
    return indexed_image(PixelFormat.RGB24, 12, 40, 60)


@pytest.fixture(scope="module")
def frames():
    """Each has a palette of its own."""
    images = moving_images(PixelFormat.RGB24, 7, 20, 30, 4, own=True)
    return [replace(image, metadata=Metadata()) for image in images]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image, frames):
    """Two files, one of them turned, and one that is damaged; and two sequences as these."""
    folder = tmp_path_factory.mktemp("view")
    kmq.files.write(folder / "<b>sound.kmq", image, strip_height=15)
    turned = IndexedImage(
        image.palette,
        image.indices,
        image.pixel_format,
        metadata=Metadata(exif=exif_block([(0x112, 3, 1, 6)], "<")),
    )
    kmq.files.write(folder / "turned.kmq", turned)
    damaged = bytearray((folder / "<b>sound.kmq").read_bytes())
    damaged[-30] ^= 4
    (folder / "broken.kmq").write_bytes(damaged)
    kmq.write_frames(folder / "clip.kmq", frames, delays=[40, 30, 20, 30], plays=1)
    damaged = bytearray((folder / "clip.kmq").read_bytes())
    damaged[kmq.info(folder / "clip.kmq").strips[-1].offset + 5] ^= 4
    (folder / "broken clip.kmq").write_bytes(damaged)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    names = ("<b>sound.kmq", "turned.kmq", "broken.kmq")
    page = folder / "page.html"
    assert main(["view", *(str(folder / name) for name in names), "-o", str(page)]) == 0
    return page


def test_the_page_holds_the_files(page, folder):
    source = page.read_text()
    held = re.findall(r'data-file="([^"]*)">([^<]*)<', source)
    assert [name for name, _ in held] == ["&lt;b&gt;sound.kmq", "turned.kmq", "broken.kmq"]
    assert base64.b64decode(held[1][1]) == (folder / "turned.kmq").read_bytes()
    assert not re.search(r"<script[^>]* src|https?:", source)
    assert "<b>" not in source


def test_a_page_that_is_there_stays(page, folder, capsys):
    before = page.read_bytes()
    assert main(["view", str(folder / "turned.kmq"), "-o", str(page)]) == 1
    assert "--force" in capsys.readouterr().err
    assert page.read_bytes() == before


@pytest.mark.parametrize("starts", [True, False])
def test_the_page_is_opened(folder, monkeypatch, capsys, tmp_path, starts):
    opened = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or starts)
    assert main(["view", str(folder / "turned.kmq")]) == 0
    out, err = capsys.readouterr()
    assert opened == [Path(out.strip()).as_uri()]
    assert b"turned.kmq" in Path(out.strip()).read_bytes()
    assert ("no browser" in err) != starts


def test_what_is_not_ours_is_told_of_and_the_rest_is_shown(folder, tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "page.html"
    arguments = [str(tmp_path / "photo.png"), str(folder / "turned.kmq"), "-o", str(out)]
    assert main(["view", *arguments]) == 1
    assert "photo.png" in capsys.readouterr().err
    assert 'data-file="turned.kmq"' in out.read_text()
    assert main(["view", str(tmp_path / "photo.png"), "-o", str(tmp_path / "none.html")]) == 1
    assert not (tmp_path / "none.html").exists()


def test_a_page_goes_into_a_pipe(folder, capfdbinary):
    assert main(["view", str(folder / "turned.kmq"), "-o", "-"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"<!DOCTYPE html>")


# --- in the browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with started() as driver:
        driver.set_script_timeout(30)
        yield driver


def run(browser, body, *arguments):
    """What the body of an async function returns, in which `viewer` and its `root` are known."""
    return browser.execute_async_script(
        f"""
        const done = arguments[arguments.length - 1];
        (async (...given) => {{
          const until = async (test) => {{
            for (let i = 0; i < 2000 && !test(); i++) await new Promise((go) => setTimeout(go, 10));
          }};
          const viewer = document.querySelector("kmq-viewer");
          await until(() => viewer.shadowRoot);
          const root = viewer.shadowRoot;
          const said = () => root.querySelector("output").textContent;
          {body}
        }})(...arguments).then(done, (error) => done(`failed: ${{error.stack}}`));
        """,
        *arguments,
    )


WAIT = "await until(() => viewer.image);"


@needs_browser
def test_the_browsers_log_is_of_one_page(browser):
    show(browser, "data:text/html,<script>console.warn('before')</script>")
    show(browser, "data:text/html,<script>console.warn('now')</script>")
    (entry,) = browser.get_log("browser")
    assert '"now"' in entry["message"]


@needs_browser
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_fits_and_shows_the_first_file(browser, page, image, theme, width):
    show(browser, page.as_uri(), theme, width)
    found = run(
        browser,
        WAIT + "const box = root.querySelector('.stage').getBoundingClientRect();"
        "return [[...viewer.image.indices], document.title,"
        "root.querySelector('small').textContent, box.width, box.height,"
        "document.documentElement.scrollWidth, root.querySelector('.player').checkVisibility()]",
    )
    assert found[0] == image.indices.ravel().tolist()
    assert found[1] == "<b>sound.kmq"
    assert found[2].startswith("60 × 40 pixels, 12 colours, ")
    assert found[3] > 200
    assert found[4] > 200
    assert found[5] <= width
    assert found[6] is False
    assert browser.get_log("browser") == []


@needs_browser
def test_keys_go_from_pixel_to_pixel_and_zoom(browser, page, image):
    from selenium.webdriver import Keys

    show(browser, page.as_uri())
    run(browser, WAIT + "root.querySelector('.stage').focus()")
    stage = browser.switch_to.active_element
    stage.send_keys(Keys.ARROW_RIGHT)  # the middle, to begin with
    said = run(browser, "return said()")
    index = image.indices[20, 30]
    code = f"#{image.palette[index].tobytes().hex()}"
    facts, share = said.rsplit(", ", 1)
    assert facts == f"column 30, row 20: index {index}, {code}"
    assert float(share[:-2]) == pytest.approx(100 * (image.indices == index).mean(), abs=0.051)
    stage.send_keys(Keys.ARROW_RIGHT, Keys.SHIFT, Keys.ARROW_DOWN, Keys.SHIFT)
    assert run(browser, "return said()").startswith("column 31, row 30: ")
    shot = "return root.querySelector('.stage canvas').toDataURL()"
    frame = "await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));"
    whole = run(browser, frame + shot)
    stage.send_keys("+++")
    closer = run(browser, frame + shot)
    assert closer != whole
    stage.send_keys("0")
    assert run(browser, frame + shot) == whole
    assert browser.get_log("browser") == []


@needs_browser
def test_a_pointer_names_the_pixel_under_it(browser, page, image):
    from selenium.webdriver import ActionChains

    show(browser, page.as_uri())
    run(browser, WAIT)
    stage = run(browser, "return root.querySelector('.stage')")
    ActionChains(browser).move_to_element_with_offset(stage, 2, 2).perform()
    column, row, index = map(
        int,
        re.match(r"column (\d+), row (\d+): index (\d+)", run(browser, "return said()")).groups(),
    )
    assert (column, row) in [(30, 20), (29, 19), (30, 19), (29, 20)]
    assert image.indices[row, column] == index


@needs_browser
def test_a_colour_of_the_palette_shows_where_it_is(browser, page, image):
    """By the keyboard: what does not show it is covered with grey."""
    from selenium.webdriver import Keys

    show(browser, page.as_uri())
    listed = run(
        browser,
        WAIT + "return [...root.querySelectorAll('ol button')].map((b) => [+b.dataset.entry,"
        "b.querySelector('code').textContent])",
    )
    counts = np.bincount(image.indices.ravel(), minlength=12)
    order = np.argsort(-counts, kind="stable")
    assert listed == [[int(e), f"#{image.palette[e].tobytes().hex()}"] for e in order]
    middle = (
        "await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));"
        "const c = root.querySelector('.stage canvas');"
        "return [...c.getContext('2d').getImageData(c.width / 2 + 2, c.height / 2 + 2, 1, 1).data]"
    )
    index = image.indices[20, 30]
    before = run(browser, middle)
    assert before[:3] == image.palette[index].tolist()
    entry = next(number for number, e in enumerate(order) if e != index)
    button = run(
        browser,
        f"const button = root.querySelectorAll('ol button')[{entry}]; button.focus();return button",
    )
    button.send_keys(Keys.SPACE)
    assert button.get_attribute("aria-pressed") == "true"
    covered = run(browser, middle)
    assert np.abs(np.array(covered[:3]) - 128).max() <= 17
    button.send_keys(Keys.SPACE)
    run(browser, "root.querySelector('.stage').focus()")
    assert run(browser, middle) == before


@needs_browser
def test_a_turned_picture_is_upright(browser, page, image):
    show(browser, page.as_uri())
    found = run(
        browser,
        WAIT + "document.querySelectorAll('nav button')[1].click();"
        "await until(() => viewer.image?.width === 40);"
        "return [viewer.image.width, viewer.image.height, [...viewer.image.indices]]",
    )
    upright = np.rot90(image.indices, -1)
    assert found == [40, 60, upright.ravel().tolist()]


def refusal(browser, page, number):
    """What a page says of a file that it cannot show; it shows nothing instead."""
    show(browser, page.as_uri())
    image, told, is_seen = run(
        browser,
        WAIT + "document.querySelectorAll('nav button')[given[0]].click();"
        "await until(() => !root.querySelector('[role=alert]').hidden);"
        "return [viewer.image, root.querySelector('[role=alert]').textContent,"
        "root.querySelector('.room').checkVisibility()]",
        number,
    )
    assert image is None
    assert is_seen is False
    return told


@needs_browser
def test_a_broken_file_is_told_of_and_never_shown(browser, page):
    assert refusal(browser, page, 2).startswith("broken.kmq cannot be shown: ")


@needs_browser
@pytest.mark.parametrize("name", ["<b>sound.kmq", "clip.kmq"])
def test_a_file_can_be_dropped_on_an_empty_page(browser, folder, tmp_path, image, frames, name):
    assert main(["view", "-o", str(tmp_path / "empty.html")]) == 0
    show(browser, (tmp_path / "empty.html").as_uri(), motion="reduce")
    encoded = base64.b64encode((folder / name).read_bytes()).decode()
    found = run(
        browser,
        "const bytes = Uint8Array.from(atob(given[0]), (c) => c.charCodeAt(0));"
        "const files = new DataTransfer(); files.items.add(new File([bytes], 'dropped.kmq'));"
        "const event = new DragEvent('drop', { dataTransfer: files, bubbles: true });"
        "document.body.dispatchEvent(event);" + WAIT + "return [[...viewer.image.indices],"
        "document.querySelector('nav button').textContent]",
        encoded,
    )
    shown = frames[0] if name == "clip.kmq" else image
    assert found == [shown.indices.ravel().tolist(), "dropped.kmq"]


PNGS = [
    (PixelFormat.BILEVEL, 2), (PixelFormat.GREY8, 9), (PixelFormat.GREY8_ALPHA, 9),
    (PixelFormat.GREY16, 9), (PixelFormat.GREY16_ALPHA, 9), (PixelFormat.RGB24, 2),
    (PixelFormat.RGB24, 3), (PixelFormat.RGB24, 12), (PixelFormat.RGB24, 40),
    (PixelFormat.RGB24, 300), (PixelFormat.RGBA32, 40), (PixelFormat.RGBA32, 300),
    (PixelFormat.CMYK32, 20),
]  # fmt: skip


SAVED = """
    let blob, name;
    URL.createObjectURL = (made) => { blob = made; return 'data:,'; };
    HTMLAnchorElement.prototype.click = function () { name = this.download; };
    root.querySelector('[data-do=save]').click();
    await until(() => name);
    return [name, btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())))];
"""


@needs_browser
@pytest.mark.parametrize(("pixel_format", "k"), PNGS)
def test_the_png_has_the_same_pixels(browser, page, pixel_format, k):
    image = indexed_image(pixel_format, k, 21, 19)
    if browser.current_url != page.as_uri():
        show(browser, page.as_uri())
    found = run(
        browser,
        "const bytes = Uint8Array.from(atob(given[0]), (c) => c.charCodeAt(0));"
        f"await viewer.show(bytes, 'one.kmq');{SAVED}",
        base64.b64encode(kmq.files.encode(image)).decode(),
    )
    assert found[0] == "one.png"
    png = base64.b64decode(found[1])
    picture = Image.open(io.BytesIO(png))
    samples = image.palette[image.indices]
    if pixel_format is PixelFormat.CMYK32:  # as the page shows it
        ink, black = samples[..., :3].astype(int), 255 - samples[..., 3:].astype(int)
        expected = np.round(black - ink * black / 255)
        assert np.abs(np.asarray(picture.convert("RGB")) - expected).max() <= 1
    elif pixel_format is PixelFormat.BILEVEL:
        assert np.array_equal(np.asarray(picture), samples[..., 0].astype(bool))
    else:
        assert np.array_equal(kmq.quantize(png, k).to_array(), samples.squeeze())


@pytest.fixture(scope="module")
def clips(folder):
    """A page with sequences."""
    page = folder / "clips.html"
    names = ("clip.kmq", "broken clip.kmq")
    assert main(["view", *(str(folder / name) for name in names), "-o", str(page)]) == 0
    return page


@needs_browser
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_frames_are_gone_through_one_by_one(browser, clips, frames, theme, width):
    """By keys and buttons; pixel, palette and PNG are those of the frame that is shown."""
    from selenium.webdriver import Keys

    show(browser, clips.as_uri(), theme, width, motion="reduce")
    look = (
        "return [said(), root.querySelector('.player small').textContent,"
        "[...root.querySelectorAll('ol code')].map((code) => code.textContent),"
        "document.documentElement.scrollWidth, [...viewer.image.indices]]"
    )

    def check(number):
        said, place, listed, wide, indices = run(browser, look)
        image = frames[number]
        index = image.indices[10, 15]
        code = f"#{image.palette[index].tobytes().hex()}"
        assert said.startswith(f"column 15, row 10: index {index}, {code}, ")
        assert place == f"frame {number + 1} of 4, {(40, 30, 20, 30)[number]} ms"
        assert sorted(listed) == sorted(f"#{entry.tobytes().hex()}" for entry in image.palette)
        assert wide <= width
        assert indices == image.indices.ravel().tolist()

    run(browser, WAIT + "root.querySelector('.stage').focus()")
    stage = browser.switch_to.active_element
    stage.send_keys(Keys.ARROW_RIGHT)  # the middle, to begin with
    check(0)
    stage.send_keys(".")
    check(1)
    stage.send_keys(",", ",")
    check(3)
    name, png = run(browser, SAVED)
    assert name == "clip-4.png"
    saved = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    assert np.array_equal(saved, frames[3].to_array())
    run(browser, "root.querySelector('.player [aria-label=\"Previous frame\"]').click()")
    check(2)
    slider = run(
        browser, "const slider = root.querySelector('input'); slider.focus(); return slider"
    )
    slider.send_keys(Keys.ARROW_LEFT)
    check(1)
    run(browser, "root.querySelector('.player [aria-label=\"Next frame\"]').click()")
    check(2)
    assert browser.get_log("browser") == []


@needs_browser
def test_a_sequence_plays_with_its_times(browser, clips):
    """As often as the file says; the space bar plays it again."""
    show(browser, clips.as_uri())
    found = run(
        browser,
        WAIT + "const text = root.querySelector('.player small'), seen = [];"
        "const at = () => Number(text.textContent.match(/\\d+/)[0]);"
        "const button = root.querySelector('[data-do=play]');"
        "const space = new KeyboardEvent('keydown', { key: ' ', bubbles: true });"
        "const press = () => root.querySelector('.stage').dispatchEvent(space);"
        "const end = () => until(() => at() === 4 && button.textContent === 'Play');"
        "await end();"
        "new MutationObserver(() => seen.push(at())).observe(text, { childList: true });"
        "const start = performance.now();"
        "press(); const during = button.textContent; await end();"
        "const taken = performance.now() - start;"
        "press(); press();"
        "const paused = [button.textContent, at()];"
        "await new Promise((go) => setTimeout(go, 100));"
        "return [seen, during, taken, paused, [button.textContent, at()]];",
    )
    seen, during, taken, *paused = found
    assert [*dict.fromkeys(seen)] == [1, 2, 3, 4]
    assert during == "Pause"
    assert taken >= 115  # of 120
    assert paused == [["Play", 1]] * 2
    assert browser.get_log("browser") == []


@needs_browser
def test_a_broken_sequence_is_told_of(browser, clips):
    told = refusal(browser, clips, 1)
    assert re.match(r"broken clip.kmq cannot be shown: from frame \d on: .*damaged", told)
