"""The page in a real browser, Chromium without a window, as a person uses it: mouse, keys, phone, two persons at once.

Elsewhere than in CI (the variable `CI`) the tests are skipped where no Chromium is installed.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.finished_runs import write_run

from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.data import label_names, load_image_folder
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.input_kinds import find_images

HOSTILE = "<script>window.harmed=1</script>${window.harmed=2}<img src=x onerror='window.harmed=3'>"
PHONE, DESKTOP = {"width": 375, "height": 740}, {"width": 1280, "height": 900}
SECOND = 1000  # milliseconds

if os.environ.get("CI"):
    from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

    CHROMIUM = shutil.which("chromium")
    assert CHROMIUM, "CI drives the page: apt-get install chromium"
else:
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'cnn-rnn[app]'")
    pytest.importorskip("playwright", reason="driving the page needs playwright: pip install playwright")
    from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

    CHROMIUM = shutil.which("chromium")
    if CHROMIUM is None:
        pytest.skip("driving the page needs Chromium: apt-get install chromium", allow_module_level=True)

Serve = Callable[..., str]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    """A small model, one of whose labels tries to run code."""
    run = write_run(tmp_path_factory.mktemp("served") / "run", fusion="path")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["id2label"]["3"] = HOSTILE
    del config["label2id"]
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return Tagger(SavedModel.load(run))


@pytest.fixture
def serve_page(tagger: Tagger) -> Iterator[Serve]:
    """Serves the page for a folder, or for photos that are dropped; returns its address."""
    from cnn_rnn.app.page_server import serve
    from cnn_rnn.app.tagging_page import Desk

    apps: list[Any] = []

    def start(folder: Path | None = None) -> str:
        files = find_images(str(folder)) if folder else []
        app, address, _ = serve(Desk(tagger, folder, files), wait=False)
        apps.append(app)
        return str(address)

    yield start
    for app in apps:
        app.blocks.close(verbose=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as driver:
        # As root, as in a container, Chromium has no sandbox of its own.
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def open_page(browser: Browser, address: str, size: dict[str, int]) -> Page:
    """The page in a session of its own, ready; nothing that it shows may run code."""
    page = browser.new_context(viewport=size, accept_downloads=True).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(60 * SECOND)
    expect.set_options(timeout=120 * SECOND)
    page.goto(address)
    page.wait_for_selector(".place")
    return page


def drop(page: Page, *files: Path) -> None:
    """Drop photos on the page."""
    page.set_input_files("#dropped input[type=file]", [str(file) for file in files])


def scores(page: Page) -> list[str]:
    """The score of every label that is shown."""
    return page.locator("ol.labels .score").all_inner_texts()


def test_one_click_confirms_moves_the_others_and_is_taken_back(
    browser: Browser, serve_page: Serve, photos: Path
) -> None:
    page = open_page(browser, serve_page(), DESKTOP)
    drop(page, photos / "0.jpg", photos / "1.jpg")
    expect(page.locator(".place")).to_contain_text("photo 1 of 2")
    before = scores(page)
    page.locator("ol.labels .yes").first.click()
    expect(page.locator("ol.labels li.confirmed")).to_have_count(1)
    after = scores(page)
    assert after[0] == "100 %"
    assert after[1:] != before[1:]
    page.locator("ol.labels .no").nth(1).click()
    expect(page.locator("ol.labels li.ruled-out")).to_have_count(1)
    page.locator("ol.labels .yes").first.click()
    page.locator("ol.labels .no").nth(1).click()
    expect(page.locator("ol.labels .confirmed, ol.labels .ruled-out")).to_have_count(0)
    assert scores(page) == before
    expect(page.locator(".walks")).to_contain_text("end · path")
    plain = page.locator(".photo img").get_attribute("src")
    page.locator("ol.labels .name").first.click()
    expect(page.locator(".photo figcaption")).to_contain_text("where the network looked for")
    assert page.locator(".photo img").get_attribute("src") != plain
    expect(page.locator("ol.labels")).to_contain_text(HOSTILE)
    assert page.evaluate("window.harmed") is None


def test_a_folder_is_labelled_by_keys_alone_and_training_reads_it(
    browser: Browser, serve_page: Serve, photos: Path
) -> None:
    (photos.parent / "set").mkdir()
    folder = photos.rename(photos.parent / "set" / "train")
    page = open_page(browser, serve_page(folder), DESKTOP)
    expect(page.locator(".place")).to_contain_text("0.jpg · photo 1 of 3 · 0 accepted")
    first = page.locator("ol.labels .name").first.inner_text()
    page.keyboard.press("Digit1")
    expect(page.locator("ol.labels li.confirmed")).to_have_count(1)
    for digit in (2, 3, 4):
        page.keyboard.press(f"Shift+Digit{digit}")
    expect(page.locator("ol.labels li.ruled-out")).to_have_count(3)
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_contain_text("1.jpg · photo 2 of 3 · 1 accepted")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".place")).to_contain_text("2.jpg · photo 3 of 3")
    for digit in (1, 2, 3, 4):
        page.keyboard.press(f"Shift+Digit{digit}")
    expect(page.locator("ol.labels li.ruled-out")).to_have_count(4)
    page.keyboard.press("/")
    expect(page.locator("#other input")).to_be_focused()
    page.keyboard.type("label of mine 7")  # digits in a text are text
    page.keyboard.press("Enter")
    expect(page.locator("ol.labels li.confirmed")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_contain_text("2 accepted · 2 not saved")
    page.locator("#sidecars input").check()
    page.keyboard.press("s")
    expect(page.locator("#said")).to_contain_text("Saved the labels of 2 photos")
    expect(page.locator("#said")).to_contain_text("XMP sidecars too")
    assert "label of mine 7" in (folder / "2.jpg.xmp").read_text(encoding="utf-8")
    expect(page.locator("#said")).to_contain_text("1 not accepted yet, left out")
    expect(page.locator(".unsaved")).to_have_count(0)
    rows = load_image_folder(folder.parent, split="train")
    found = [[label_names(rows)[label] for label in labels] for labels in rows["labels"]]
    assert dict(zip(rows["image_id"], found, strict=True)) == {"0.jpg": [first], "2.jpg": ["label of mine 7"]}


def test_the_labels_of_dropped_photos_are_taken_away_as_a_file(
    browser: Browser, serve_page: Serve, photos: Path
) -> None:
    page = open_page(browser, serve_page(), DESKTOP)
    drop(page, photos / "1.jpg")
    expect(page.locator(".place")).to_contain_text("1.jpg")
    page.locator("#save").click()
    expect(page.locator("#said")).to_contain_text("Nothing is accepted yet")
    page.locator("#accept").click()
    expect(page.locator(".accepted")).to_be_visible()
    page.locator("#save").click()
    with page.expect_download() as waiting:
        page.locator("#file a").first.click()
    saved = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert saved["file_name"] == "1.jpg"


def test_hostile_and_huge_photos_are_refused_by_name_and_the_page_goes_on(
    browser: Browser, serve_page: Serve, photos: Path, tmp_path: Path
) -> None:
    hostile, huge = tmp_path / "hostile.jpg", tmp_path / "huge.png"
    hostile.write_bytes(b"<svg onload=alert(1)>" + bytes(500))
    Image.new("1", (12_000, 12_000)).save(huge)
    page = open_page(browser, serve_page(), DESKTOP)
    drop(page, hostile, huge, photos / "0.jpg")
    expect(page.locator(".problem")).to_contain_text("hostile.jpg: cannot be read")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".problem")).to_contain_text("huge.png: 12000 x 12000 pixels")
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_contain_text("0.jpg · photo 3 of 3 · 0 accepted")
    expect(page.locator("ol.labels li")).to_have_count(4)


def test_two_persons_at_once_have_sessions_of_their_own(browser: Browser, serve_page: Serve, photos: Path) -> None:
    address = serve_page()
    one, two = open_page(browser, address, DESKTOP), open_page(browser, address, PHONE)
    drop(one, photos / "0.jpg")
    drop(two, photos / "1.jpg", photos / "0.jpg")
    expect(one.locator(".place")).to_contain_text("0.jpg · photo 1 of 1")
    expect(two.locator(".place")).to_contain_text("1.jpg · photo 1 of 2")
    two.keyboard.press("ArrowRight")
    expect(two.locator(".place")).to_contain_text("0.jpg · photo 2 of 2")
    for _ in range(3):
        one.keyboard.press("Digit1")
        two.keyboard.press("Shift+Digit1")
    expect(one.locator("ol.labels li.confirmed")).to_have_count(1)
    expect(two.locator("ol.labels li.ruled-out")).to_have_count(1)
    expect(one.locator("ol.labels li.ruled-out")).to_have_count(0)
    expect(two.locator("ol.labels li.confirmed")).to_have_count(0)


def test_who_opens_the_page_again_goes_on_where_they_were(browser: Browser, serve_page: Serve, photos: Path) -> None:
    page = open_page(browser, serve_page(photos), DESKTOP)
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_contain_text("1.jpg · photo 2 of 3 · 1 accepted · 1 not saved")
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.context.set_offline(True)
    page.keyboard.press("Digit1")  # lost with the net
    page.context.set_offline(False)
    page.reload()
    expect(page.locator(".place")).to_contain_text("1.jpg · photo 2 of 3 · 1 accepted · 1 not saved")
    assert asked == ["beforeunload"]
    page.keyboard.press("Digit1")
    expect(page.locator("ol.labels li.confirmed")).to_have_count(1)


def test_what_was_meant_for_another_photo_counts_for_nothing(tagger: Tagger, photos: Path) -> None:
    from cnn_rnn.app.tagging_page import Desk

    desk = Desk(tagger, photos, find_images(str(photos)))
    session = desk.begin()[0]

    def press(act: str, photo: object = 0, label: object = None) -> str:
        told: Any = SimpleNamespace(_data={"act": act, "photo": photo, "label": label})
        return str(desk.click(session, told)[2])

    press("confirm", label=1)
    press("accept")
    assert 'data-photo="1" data-turn="3"' in press("accept")  # once more, for the photo that was shown before
    press("reject", label=1)
    for label in (None, "1", 99, -1):
        press("confirm", photo=1, label=label)
    assert [photo.known for photo in session.photos[1:]] == [{}, {}]
    assert [photo.accepted is not None for photo in session.photos] == [True, False, False]
    assert 'data-turn="8"' in press("show", photo=1)  # asking again is no turn
    press("next", photo="of no kind")
    assert session.place == 2


def test_a_name_of_another_page_is_not_answered(serve_page: Serve, photos: Path) -> None:
    address = serve_page(photos)
    for path in ("", "config", "gradio_api/info"):
        assert httpx.get(f"{address}{path}").status_code != 403
        refused = httpx.get(f"{address}{path}", headers={"Host": "evil.example"})
        assert (refused.status_code, "evil.example" in refused.text) == (403, True)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_stands_outside_the_screen_and_buttons_are_large_enough(
    size: dict[str, int], browser: Browser, serve_page: Serve, photos: Path
) -> None:
    page = open_page(browser, serve_page(photos), size)
    expect(page.locator("ol.labels li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    box = page.locator("ol.labels .yes").first.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 36
    told, other = (".touch", ".keys") if size is PHONE else (".keys", ".touch")
    expect(page.locator(told)).to_contain_text("what is green or blue")
    expect(page.locator(other)).to_be_hidden()
    page.locator("ol.labels .yes").first.click()
    expect(page.locator("ol.labels .score").first).to_have_text("100 %")
    lines = "Array.from(document.querySelectorAll('.score'), one => one.getClientRects()[0].height)"
    assert len(set(page.evaluate(lines))) == 1  # none takes two lines
    if folder := os.environ.get("CNN_RNN_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"app-{size['width']}.png", full_page=True)
