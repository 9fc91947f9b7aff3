"""The page of `kmq report` in headless Chromium: pictures load, the slider moves, nothing fails."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from chromium import needs_browser, show, started
from kmq.cli import main
from kmq.cli.demo import PALETTE_SIZES
from kmq.cli.scene import scene

pytestmark = needs_browser

THEMES = ("light", "dark")
WIDTHS = (400, 1280)


@pytest.fixture(scope="module")
def browser():
    with started() as driver:
        yield driver


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Address of the page of a picture with alpha, large enough for every part of the page."""
    folder = tmp_path_factory.mktemp("browser")
    rows, columns = np.mgrid[:320, :330]
    alpha = np.minimum(rows + columns, 255)
    picture = np.stack([rows * 0.7, columns * 0.7, 0 * rows, alpha], axis=-1).astype(np.uint8)
    Image.fromarray(picture).save(folder / "picture.png")
    page = folder / "page.html"
    assert main(["report", str(folder / "picture.png"), "-k", "70", "--effort", "fast",
                 "-o", str(page)]) == 0  # fmt: skip
    return page.as_uri()


def share(browser, number=0):
    """Percentage of a slider's width that shows the original, as the browser draws it."""
    original, result, handle = browser.execute_script(
        """
        const slider = document.querySelectorAll(".slider")[arguments[0]];
        const frame = slider.getBoundingClientRect();
        const handle = slider.querySelector("i").getBoundingClientRect();
        const [right, left] = [...slider.querySelectorAll("img")].map((picture, which) =>
          getComputedStyle(picture).clipPath.match(/[\\d.]+(?=%)/g)?.pop() ?? 0);
        return [100 - right, Number(left),
                100 * (handle.x + handle.width / 2 - frame.x) / frame.width];
        """,
        number,
    )
    assert original == pytest.approx(result, abs=0.01)
    assert handle == pytest.approx(result, abs=0.5)
    return result


def test_an_exact_result_has_no_slider(browser, tmp_path):
    Image.new("1", (20, 9)).save(tmp_path / "flat.png")
    assert main(["report", str(tmp_path / "flat.png")]) == 0
    show(browser, (tmp_path / "flat.html").as_uri())
    assert browser.execute_script("return document.images[0].naturalWidth") == 20
    assert browser.find_elements("css selector", ".slider") == []
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pictures_load_and_the_page_fits(browser, address, theme, width):
    show(browser, address, theme, width)
    sizes = browser.execute_script(
        "return [...document.images].map((p) => [p.complete, p.naturalWidth, p.clientWidth])"
    )
    assert len(sizes) == 5  # two sliders and the error map
    assert all(complete and natural > 0 and shown > 100 for complete, natural, shown in sizes)
    root = browser.find_element("tag name", "html")
    assert root.get_property("scrollWidth") <= root.get_property("clientWidth") <= width
    assert browser.get_log("browser") == []


def test_themes_differ(browser, address):
    script = "return getComputedStyle(document.body).backgroundColor"
    grounds = [show(browser, address, theme).execute_script(script) for theme in THEMES]
    assert len(set(grounds)) == 2


def test_keys_move_the_slider(browser, address):
    from selenium.webdriver import Keys

    show(browser, address)
    assert share(browser) == 50
    body = browser.find_element("tag name", "body")
    body.send_keys(Keys.TAB)  # the first thing there is to use
    slider = browser.switch_to.active_element
    assert slider.get_attribute("type") == "range"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert 50 < share(browser) < 60
    slider.send_keys(Keys.HOME)
    assert share(browser) == 0
    slider.send_keys(Keys.END)
    assert share(browser) == 100
    assert slider.get_attribute("aria-valuetext") == "100 % original"
    assert share(browser, 1) == 50
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("number", [0, 1])
def test_a_pointer_moves_the_slider(browser, address, number):
    from selenium.webdriver import ActionChains

    show(browser, address)
    slider = browser.find_elements("css selector", ".slider")[number]
    quarter = slider.size["width"] // 4
    pointer = ActionChains(browser, duration=50).move_to_element_with_offset(slider, -quarter, 0)
    pointer.click().perform()
    assert share(browser, number) == pytest.approx(25, abs=1.5)
    pointer = ActionChains(browser, duration=50).move_to_element_with_offset(slider, -quarter, 0)
    pointer.click_and_hold().move_to_element_with_offset(slider, quarter, 5).release()
    pointer.move_to_element_with_offset(slider, 0, 0).perform()  # it was let go before
    assert share(browser, number) == pytest.approx(75, abs=1.5)
    assert browser.get_log("browser") == []


def test_each_result_of_the_demonstration_comes_under_the_slider(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("kmq.cli.scene.scene", partial(scene, 150, 100))
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    show(browser, (tmp_path / "demo" / "demo.html").as_uri(), width=400)
    pictures = browser.find_elements("css selector", ".slider img")
    buttons = browser.find_elements("css selector", ".choice input")
    assert len(pictures) == len(buttons) + 1 == len(PALETTE_SIZES) + 1

    def shown():
        return [picture.get_attribute("alt") for picture in pictures if picture.is_displayed()]

    assert shown() == ["Original", "16 colours"]
    for k, button in zip(PALETTE_SIZES, buttons, strict=True):
        button.click()
        assert shown() == ["Original", f"{k} colours"]
    root = browser.find_element("tag name", "html")
    assert root.get_property("scrollWidth") <= root.get_property("clientWidth") <= 400
    assert browser.get_log("browser") == []


def test_the_rest_of_the_palette_opens(browser, address):
    show(browser, address)
    rest = browser.find_element("css selector", "details li")
    assert not rest.is_displayed()
    browser.find_element("css selector", "summary").click()
    assert rest.is_displayed()


def test_the_viewer_shows_the_file(browser, address):
    show(browser, address)
    browser.set_script_timeout(20)
    shown = browser.execute_async_script(
        """
        const done = arguments[0], viewer = document.querySelector("kmq-viewer");
        const look = () => viewer.image ? done([viewer.image.width, viewer.image.height,
          viewer.image.nColors]) : setTimeout(look, 20);
        look();
        """
    )
    assert shown == [330, 320, 70]
    assert browser.get_log("browser") == []
