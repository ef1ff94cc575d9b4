"""The page in a real browser: Chromium and its driver, as Debian has them, driven by Selenium."""

from __future__ import annotations

import base64
import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mpod_pipeline.commands.review import ReviewServer
from mpod_pipeline.datasets import FolderOfFiles, ProductPartitions
from mpod_pipeline.geometry.glb import from_glb
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.decisions import Decision, Decisions, model_hash, read_decisions
from mpod_pipeline.publish.notebook import ModelView
from mpod_pipeline.publish.site import Entry, site_files
from mpod_pipeline.publish.steps import make_pages
from mpod_pipeline.rendering.cameras import Cameras

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver")]
SCRIPT = "<script>document.title = 'taken over'</script>"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    own = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000")
    for argument in (*own, "--use-angle=swiftshader", "--enable-unsafe-swiftshader"):
        options.add_argument(argument)
    with webdriver.Chrome(options, Service(DRIVER)) as driver:
        yield driver


def pages_of(glb: bytes, photos: Cutouts) -> dict[str, Any]:
    grey = np.full((64, 64, 3), 200, np.uint8)
    inputs = {"mesh": glb, "photos": photos, "turntable": grey, "normals": grey, "words": grey}
    inputs["evaluation"] = {"photo_psnr": 31.25, "flags": SCRIPT}
    return make_pages.make(None, Given("ball", inputs, make_pages.Settings(poster_size=256)))


@pytest.fixture
def site(glb: bytes, photos: Cutouts, tmp_path: Path) -> Path:
    """Three products: a ball with a model, a mug whose model was decided about, and a failure."""
    made = pages_of(glb, photos)
    folder = tmp_path / "site"
    pages = ProductPartitions(path=str(folder / "products"), format="script")
    pages.save({"ball": made["pages"], "mug": {**made["pages"], "id": "mug"}})
    thumbnails = ProductPartitions(path=str(folder / "thumbnails"), format="webp")
    thumbnails.save({"ball": made["thumbnails"], "mug": made["thumbnails"]})
    ball = Entry("ball", SCRIPT, "Toys", model_hash(glb), doubt=0.2, scores={"photo_psnr": 31.25})
    ball = replace(ball, flags=SCRIPT, published={"google": f"Too large. {SCRIPT}", "web": ""})
    mug = replace(ball, id="mug", title="A mug", category="Kitchen", doubt=0.9, flags="")
    lost = Entry("lost", "", "Kitchen", failed="segment: The photo shows nothing.")
    earlier = Decisions([Decision("mug", "of before", "approved", who="ana")])
    files = FolderOfFiles(folder=str(folder), others=True)
    files.save(site_files([ball, mug, lost], earlier))
    return folder


@pytest.fixture
def served(site: Path, glb: bytes) -> Iterator[ReviewServer]:
    models = {"ball": lambda: glb, "mug": lambda: glb}
    with ReviewServer(site, site.parent / "decisions.csv", models, "ana", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def wait_for(browser: Any, condition: str) -> Any:
    """Until the JavaScript expression holds."""
    end = time.monotonic() + PATIENCE_S
    while not (value := browser.execute_script(f"return ({condition})")):
        assert time.monotonic() < end, f"never came: {condition}"
        time.sleep(0.1)
    return value


def cards(browser: Any) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('.card')].map((card) => card.hash.slice(1))")


def choose(browser: Any, control: str, value: str) -> None:
    browser.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event('input'))",
        control,
        value,
    )


def open_page(browser: Any, address: str) -> None:
    browser.get("about:blank")
    browser.get(address)
    wait_for(browser, "document.querySelector('.card, #product h1')")


def press(browser: Any, key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(key).perform()


@pytest.mark.parametrize("by", ["file", "server"])
def test_the_overview_searches_filters_and_sorts(browser: Any, site: Path, served: ReviewServer, by: str) -> None:
    open_page(browser, (site / "index.html").as_uri() if by == "file" else served.address)
    assert cards(browser) == ["mug", "ball", "lost"]  # the doubtful first, then what has no score
    choose(browser, "sort", "id")
    browser.find_element("id", "turn").click()
    assert cards(browser) == ["ball", "lost", "mug"]
    choose(browser, "search", "mug kit")
    assert cards(browser) == ["mug"]
    choose(browser, "search", "")
    for control, value, shown in (
        ("category", "Kitchen", ["lost", "mug"]),
        ("state", "failed", ["lost"]),
        ("state", "open", ["ball", "mug"]),
        ("state", "flagged", ["ball"]),
        ("state", "held", ["ball", "mug"]),
    ):
        choose(browser, control, value)
        assert cards(browser) == shown, value
        choose(browser, control, "")


def test_texts_are_shown_as_texts(browser: Any, site: Path) -> None:
    open_page(browser, (site / "index.html").as_uri())
    assert SCRIPT in browser.find_element("id", "cards").text
    open_page(browser, (site / "index.html").as_uri() + "#ball")
    assert SCRIPT in browser.find_element("css selector", "h1").text
    assert f"Too large. {SCRIPT}" in browser.find_element("id", "product").text
    assert browser.title == "Models to approve"


def drawn_canvas(browser: Any) -> np.ndarray:
    """What the viewer's canvas shows, as soon as it shows anything: [H, W, 4]."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        uri = browser.execute_script("return document.getElementById('model').toDataURL()")
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))
        if (drawn[..., 3] > 250).mean() > 0.1:
            return drawn.astype(float)
        time.sleep(0.2)
    raise AssertionError("the canvas stays empty")


@pytest.mark.parametrize("by", ["file", "server"])
def test_the_viewer_draws_the_model_like_the_photo(
    browser: Any, site: Path, served: ReviewServer, by: str, glb: bytes
) -> None:
    browser.get_log("browser")  # of tests before
    open_page(browser, f"{(site / 'index.html').as_uri() if by == 'file' else served.address}#ball")
    wait_for(browser, "document.getElementById('model')?.modelIsVisible")
    drawn = drawn_canvas(browser)
    solid = drawn[..., 3] > 250
    height, width = solid.shape
    left = (width - height) // 2
    square = solid[:, left : left + height]
    expected = draw(from_glb(glb), Cameras.at(0.0, 10.0), height)[1][0].numpy() > 0.5
    assert (square & expected).sum() / (square | expected).sum() > 0.95  # from the photo's own camera
    red, _, blue, _ = drawn[height // 2 - 10 :, width // 2 - 10 :][:20, :20].mean(axis=(0, 1))
    assert red > 1.5 * blue  # its front
    errors = [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    assert not errors


def test_keys_decide_and_go_on(browser: Any, served: ReviewServer, glb: bytes) -> None:
    open_page(browser, f"{served.address}#mug")
    wait_for(browser, "document.getElementById('verdict')?.textContent")
    press(browser, "a")
    wait_for(browser, "document.querySelector('h1')?.textContent.endsWith('(ball)')")  # the next one
    press(browser, "p")
    wait_for(browser, "document.getElementById('verdict')?.textContent === 'approved'")
    press(browser, "n")
    wait_for(browser, "document.querySelector('h1')?.textContent.endsWith('(ball)')")
    press(browser, "r")
    wait_for(browser, "document.getElementById('reject').open")
    press(browser, "nap, its colour")  # letters are no keys here
    press(browser, "\ue007")
    wait_for(browser, "document.querySelector('h1')?.textContent === 'lost'")
    first, second = read_decisions(served.decisions)
    assert (first.product, first.decision, first.who, first.model) == ("mug", "approved", "ana", model_hash(glb))
    assert (second.product, second.decision, second.reason) == ("ball", "rejected", "nap, its colour")
    press(browser, "\ue00c")
    wait_for(browser, "document.querySelectorAll('.card').length === 3")
    choose(browser, "state", "rejected")
    assert cards(browser) == ["ball"]


def test_without_kedro_review_nothing_can_be_decided(browser: Any, site: Path) -> None:
    open_page(browser, (site / "index.html").as_uri())
    assert "kedro review" in browser.find_element("id", "note").text
    open_page(browser, (site / "index.html").as_uri() + "#ball")
    press(browser, "a")
    buttons = [button.text for button in browser.find_elements("css selector", ".top button")]
    assert buttons == ["Overview", "Previous", "Next"]


@pytest.mark.parametrize("by", ["file", "server"])
def test_a_thousand_products_open_in_two_seconds(
    browser: Any, glb: bytes, photos: Cutouts, tmp_path: Path, by: str, record_property: Callable[..., None]
) -> None:
    made = pages_of(glb, photos)["thumbnails"]
    scores = {f"score_{number}": 0.1234 * number for number in range(25)}
    history = [("refine_detail", "made", 25.1, 1, "2026-01-01T00:00:00+00:00", "2026-01-01T00.00.00.000Z")] * 14
    entries = [
        Entry(f"product-{i}", f"Product {i}", f"kind {i % 7}", "aa", doubt=i / 1000, scores=scores, history=history)
        for i in range(1000)
    ]
    thumbnails = ProductPartitions(path=str(tmp_path / "thumbnails"), format="webp")
    thumbnails.save({entry.id: made for entry in entries})
    FolderOfFiles(folder=str(tmp_path), others=True).save(site_files(entries, Decisions()))
    with ReviewServer(tmp_path, tmp_path / "decisions.csv", {}, "ana", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get("about:blank")
        started = time.perf_counter()
        browser.get((tmp_path / "index.html").as_uri() if by == "file" else server.address)
        wait_for(
            browser, "document.querySelectorAll('.card').length === 1000 && document.querySelector('img').complete"
        )
        seconds = time.perf_counter() - started
        server.shutdown()
    record_property("seconds", seconds)
    print(f"1,000 products, by {by}: {seconds:.2f} s")
    assert seconds < 2


def test_a_notebook_shows_the_model(browser: Any, glb: bytes, tmp_path: Path) -> None:
    shown = ModelView(glb)._repr_html_()
    (tmp_path / "cell.html").write_text(f"<!doctype html><body>{shown}</body>", encoding="utf-8")
    browser.get((tmp_path / "cell.html").as_uri())
    browser.switch_to.frame(browser.find_element("tag name", "iframe"))
    wait_for(browser, "document.getElementById('model')?.modelIsVisible")
    drawn = drawn_canvas(browser)
    browser.switch_to.default_content()
    seen = drawn[drawn[..., 3] > 250]
    assert len(seen) > 5000 and ((seen[:, 0] - seen[:, 1]) > 60).mean() > 0.2  # its front is red
