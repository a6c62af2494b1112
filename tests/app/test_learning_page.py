"""The page that learns, in a real browser by keys alone, and what it did against the simulation."""

import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'cnn-rnn[app]'")
pytest.importorskip("playwright", reason="driving the page needs playwright: pip install playwright")

from playwright.sync_api import Browser, Page, expect
from tests.app.test_tagging_page import DESKTOP, PHONE, browser, open_page

from cnn_rnn.app.learning_desk import LearningDesk
from cnn_rnn.app.learning_session import LearningSession
from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.app.saved_labels import read_saved
from cnn_rnn.data import label_names, load_image_folder
from cnn_rnn.data.reading import Reading
from cnn_rnn.learning.album import Album
from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.learning.journal import Step
from cnn_rnn.learning.simulated_person import label_photo
from cnn_rnn.prediction.input_kinds import find_images

assert browser  # a fixture
PHOTOS = 40
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}
Serve = Callable[[], str]
OpenDesk = Callable[[], LearningDesk]


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, list[str]]:
    """Forty photos of two colours each, by name, below `album`."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "album"
    folder.mkdir()
    labels = {}
    for index in range(PHOTOS):
        chosen = [list(COLOURS)[place] for place in draw.choice(4, size=2, p=(0.5, 0.3, 0.15, 0.05))]
        picture = Image.new("RGB", (64, 48), COLOURS[chosen[0]])
        picture.paste(COLOURS[chosen[1]], (0, 24, 64, 48))
        picture.save(folder / f"{index:02}.jpg")
        labels[f"{index:02}.jpg"] = sorted(set(chosen))
    return labels


@pytest.fixture
def open_desk(tagger: Tagger, tmp_path: Path) -> Iterator[OpenDesk]:
    """Opens the page of `album`, from nothing; photos are no longer looked at when the test ends."""
    folder = tmp_path / "album"
    desks: list[LearningDesk] = []

    def opened() -> LearningDesk:
        files = find_images(str(folder))
        photos = {file.relative_to(folder).as_posix(): file for file in files}
        album = Album(Eyes(tagger.saved, knows=False), photos, folder)
        desks.append(LearningDesk(tagger, folder, files, album=album))
        return desks[-1]

    yield opened
    for desk in desks:
        desk.close()


def press(desk: LearningDesk, session: LearningSession, act: str, label: int = -1) -> tuple[Any, ...]:
    """A click on the page."""
    told: Any = SimpleNamespace(_data={"act": act, "photo": session.place, "label": label})
    return desk.click(session, told)


@pytest.fixture
def served(open_desk: OpenDesk) -> Iterator[Serve]:
    """Serves the page of the forty photos, as often as it is asked to; each time as after a kill."""
    from cnn_rnn.app.page_server import serve

    apps: list[Any] = []

    def start() -> str:
        app, address, _ = serve(open_desk(), wait=False)
        apps.append(app)
        return str(address)

    yield start
    for app in apps:
        app.blocks.close(verbose=False)


def label_by_keys(page: Page, labels: list[str]) -> None:
    """What a person does about the photo that is shown: by keys, what is wrong first, then what is missing."""
    rows = page.locator("ol.labels li")
    suggested = page.locator("ol.labels li.expected .name").all_inner_texts()
    for count, wrong in enumerate((label for label in suggested if label not in labels), start=1):
        row = rows.filter(has=page.get_by_text(wrong, exact=True))
        page.keyboard.press(f"Shift+Digit{row.locator('kbd').inner_text()}")
        expect(page.locator("ol.labels li.ruled-out")).to_have_count(count)
    while missing := sorted(set(labels) - set(page.locator("li.expected .name, li.confirmed .name").all_inner_texts())):
        shown = page.locator("ol.labels li.open .name").all_inner_texts()
        taken = next((label for label in shown if label in missing), None)
        before = page.locator("ol.labels li.confirmed").count()
        if taken is None:
            page.keyboard.press("/")
            page.keyboard.type(missing[0])
            page.keyboard.press("Enter")
        else:
            row = rows.filter(has=page.get_by_text(taken, exact=True))
            page.keyboard.press(row.locator("kbd").inner_text())
        expect(page.locator("ol.labels li.confirmed")).to_have_count(before + 1)
        page.keyboard.press("Escape")


@pytest.mark.slow
def test_forty_photos_from_nothing_by_keys_alone_cost_what_the_simulation_says(
    browser: Browser, served: Serve, tagger: Tagger, truth: dict[str, list[str]], tmp_path: Path
) -> None:
    album = Album(Eyes(tagger.saved, knows=False), {name: tmp_path / "album" / name for name in truth})
    expected = sum(label_photo(album, name, labels).actions for name, labels in truth.items())
    page = open_page(browser, served(), DESKTOP)
    for index, (name, labels) in enumerate(truth.items()):
        expect(page.locator(".place")).to_contain_text(name)
        if index == PHOTOS // 2:  # as after a kill
            page = open_page(browser, served(), DESKTOP)
            expect(page.locator(".place")).to_contain_text(name)
        expect(page.locator("#labels [data-turn]")).to_have_attribute("data-photo", str(index))
        label_by_keys(page, labels)
        page.keyboard.press("Enter")
        expect(page.locator(".place")).to_contain_text(f"{index + 1} accepted")
    expect(page.locator(".learnt")).to_contain_text(f"{expected} actions")
    expect(page.locator(".learnt")).to_contain_text("right at once")
    page.keyboard.press("u")
    expect(page.locator(".place")).to_contain_text(f"{PHOTOS - 1} accepted")
    page.keyboard.press("Enter")
    page.keyboard.press("s")  # at once: what was said before is among what is saved
    expect(page.locator("#said")).to_contain_text(f"Saved the labels of {PHOTOS} photos")
    assert {name: sorted(found) for name, found in read_saved(tmp_path / "album").labels.items()} == truth


def test_photos_alike_are_listed_taken_by_one_key_and_taken_back_by_one(
    browser: Browser, served: Serve, truth: dict[str, list[str]]
) -> None:
    page = open_page(browser, served(), DESKTOP)
    for name in list(truth)[:8]:
        expect(page.locator(".place")).to_contain_text(name)
        label_by_keys(page, truth[name])
        page.keyboard.press("Enter")
    expect(page.locator(".learnt")).not_to_contain_text("looked at")
    page.keyboard.press("o")
    page.keyboard.press("o")
    expect(page.locator("[data-act=order]")).to_contain_text("most like this")
    for _ in range(3):
        page.keyboard.press("a")
        expect(page.locator(".listed")).to_be_visible()
        if page.locator(".listed li").count():
            break
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
    count = page.locator(".listed li").count()
    assert count
    assert page.locator(".listed img").count() == count
    if folder := os.environ.get("CNN_RNN_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "listed-1280.png", full_page=True)
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_contain_text(f"{8 + count} accepted")
    page.keyboard.press("u")
    expect(page.locator(".place")).to_contain_text("8 accepted")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_foot_fits_the_screen(
    size: dict[str, int], browser: Browser, served: Serve, truth: dict[str, list[str]]
) -> None:
    page = open_page(browser, served(), size)
    label_by_keys(page, truth["00.jpg"])
    page.keyboard.press("Enter")
    expect(page.locator(".learnt")).to_contain_text("learnt from 1 photos")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    if folder := os.environ.get("CNN_RNN_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"learning-{size['width']}.png", full_page=True)


def test_two_persons_lose_nothing_and_each_takes_its_own_back(open_desk: OpenDesk, truth: dict[str, list[str]]) -> None:
    desk, other = (open_desk() for _ in range(2))  # of two processes
    mine, theirs = desk.begin("mine")[0], other.begin("theirs")[0]
    desk.add_label(mine, "red")
    other.add_label(theirs, "dark")
    press(other, theirs, "accept")
    desk.show(mine)
    assert mine.photos[0].known == {"red": True, "dark": True}
    assert mine.photos[0].accepted == ["red", "dark"]
    press(desk, mine, "undo")
    assert mine.photos[0].known == {"red": True, "dark": True}  # the other has accepted both
    press(other, theirs, "undo")
    desk.show(mine)
    assert (mine.photos[0].known, mine.photos[0].accepted) == ({"dark": True}, None)
    assert "nothing of yours" in press(desk, mine, "undo")[2]
    assert truth


def test_a_label_is_renamed_and_merged_and_back_and_only_where_that_can_be(
    open_desk: OpenDesk, truth: dict[str, list[str]]
) -> None:
    desk = open_desk()
    session = desk.begin("me")[0]
    for label in ("cat", "kitten"):
        desk.add_label(session, label)
        press(desk, session, "accept")
    before = [photo.accepted for photo in session.photos]
    assert before[1] is not None
    assert "kitten" in before[1]
    assert "cat on all photos, joined" in desk.rename(session, "kitten", "cat")[2]
    assert [photo.accepted for photo in session.photos[:2]] == [["cat"], ["cat"]]
    press(desk, session, "undo")
    assert [photo.accepted for photo in session.photos] == before
    assert "taken for kitten, which is there already" in desk.add_label(session, "KITTEN")[2]
    assert session.shown is not None
    assert session.shown.known == {"kitten": True}
    assert "Kitten on all photos" in desk.rename(session, "KITTEN", "Kitten")[2]  # to other letters of its own
    assert desk.choices == ["cat", "Kitten"]
    assert "cat on all photos, joined" in desk.rename(session, "kitten", "Cat")[2]
    for old, new in (("cow", "ox"), ("cat", ""), ("cat", "a\0b"), (None, None)):
        assert 'role="alert"' in desk.rename(session, old, new)[1]
    assert truth


def test_training_reads_what_was_accepted_and_later_labels_are_unknown(
    open_desk: OpenDesk, truth: dict[str, list[str]]
) -> None:
    desk = open_desk()
    session = desk.begin("me")[0]
    assert "Nothing is accepted yet" in press(desk, session, "train")[2]
    for label in ("first", "second", "none"):  # the last is a label where it was typed
        desk.add_label(session, label)
        press(desk, session, "accept")
    desk.album.step(Step({"00.jpg": {"mistyped": False}}, by="me"))  # no photo shows it: no class
    desk.album.step(Step({"gone.jpg": {"first": True}, "../a.jpg": {}}, {"gone.jpg": True, "../a.jpg": True}))
    assert "(2 accepted photos are not there any more, and left out)" in press(desk, session, "train")[2]
    desk.album.take_back("")
    told = press(desk, session, "train")[2]
    command = shlex.split(session.notice.removeprefix("Train on these: "))
    assert "cnn-rnn train" in told
    given = dict(zip(command[4::2], command[5::2], strict=True))
    rows = load_image_folder(
        given["--data.root"], split="train", reading=Reading(image_root=given["--data.image_root"])
    )
    assert label_names(rows) == ["first", "none", "second"]
    assert dict(zip(rows["image_id"], rows["unknown"], strict=True)) == {"00.jpg": [1, 2], "01.jpg": [1], "02.jpg": []}
    assert truth


def test_guesses_are_no_facts_and_whatever_a_browser_sends_is_heeded_only_where_it_may(
    open_desk: OpenDesk, truth: dict[str, list[str]], tmp_path: Path
) -> None:
    desk = open_desk()
    session = desk.begin("me")[0]
    hostile: list[Any] = [None, -1, 99, True, "x", [], {}]
    for sent in hostile:
        for act in ("confirm", "reject", "explain"):
            told: Any = SimpleNamespace(_data={"act": act, "photo": 0, "label": sent})
            desk.click(session, told)
        desk.add_label(session, sent if not isinstance(sent, str) else None)
    for act in ("take", "leave", "undo", "list", "leave", "take", "order"):
        press(desk, session, act)
    assert all(photo.known == {} and photo.accepted is None for photo in session.photos)
    steps = tmp_path / "album" / ".cnn-rnn" / "steps.jsonl"
    assert not steps.exists() or not [line for line in steps.read_text().splitlines() if json.loads(line).get("said")]
    assert truth


def test_what_cannot_be_written_down_is_told_and_counts_for_nothing(
    open_desk: OpenDesk, truth: dict[str, list[str]], tmp_path: Path
) -> None:
    desk = open_desk()
    session = desk.begin("me")[0]
    desk.add_label(session, "red")
    album, away = tmp_path / "album", tmp_path / "away"
    album.rename(away)
    for shown in (press(desk, session, "accept"), desk.add_label(session, "dark"), press(desk, session, "undo")):
        assert "nothing of that counts: " in shown[1]
        assert "is not there any more" in shown[1]
    assert (session.place, session.photos[0].known, session.photos[0].accepted) == (0, {"red": True}, None)
    assert not album.exists()
    away.rename(album)
    press(desk, session, "accept")
    assert session.photos[0].accepted == ["red"]
    with (album / ".cnn-rnn" / "steps.jsonl").open("a") as file:
        file.write("no step\n")
    assert "line 3: expected a step" in desk.show(session)[1]
    assert "line 3: expected a step" in desk.begin("another tab")[1]
    assert truth
