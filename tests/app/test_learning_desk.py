"""The page at work, without a browser: what opening a large folder costs, and rows that are changed by hand."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tests.finished_runs import LABELS, write_run

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'cnn-rnn[app]'")

from cnn_rnn.app import photo_tagger
from cnn_rnn.app.learning_desk import LearningDesk
from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.app.saved_labels import METADATA, read_saved
from cnn_rnn.learning import album as albums
from cnn_rnn.learning.album import Album
from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.input_kinds import find_images

MANY = 20_000


@pytest.fixture
def opened(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], LearningDesk]:
    """The page of a folder, from nothing, on which nothing goes on in the background."""
    monkeypatch.setattr(Album, "look_around", lambda *_: None)

    def opened_on(folder: Path) -> LearningDesk:
        files = find_images(str(folder))
        photos = {file.relative_to(folder).as_posix(): file for file in files}
        return LearningDesk(tagger, folder, files, album=Album(Eyes(tagger.saved, knows=False), photos, folder))

    return opened_on


def press(desk: LearningDesk, session: Any, act: str) -> None:
    """A click on the page."""
    told: Any = SimpleNamespace(_data={"act": act, "photo": session.place, "label": -1})
    desk.click(session, told)


def test_a_folder_of_twenty_thousand_photos_opens_by_reading_the_one_that_is_shown(
    opened: Callable[[Path], LearningDesk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "one.jpg")
    for index in range(MANY):
        os.link(tmp_path / "one.jpg", folder / f"{index:05}.jpg")
    read: list[str] = []

    def counted(decode: Callable[..., Any]) -> Callable[..., Any]:
        def decoded(path: Path, *arguments: Any, **options: Any) -> Any:
            read.append(path.name)
            return decode(path, *arguments, **options)

        return decoded

    for module in (albums, photo_tagger):
        monkeypatch.setattr(module, "decode_image", counted(module.decode_image))
    desk = opened(folder)
    session = desk.begin("me")[0]
    assert f"1 of {MANY:,}" in desk.show(session)[1].replace(str(MANY), f"{MANY:,}")
    assert set(read) == {"00000.jpg"}
    session.go_to("15000.jpg")  # from there on the others are looked at
    desk.show(session)
    assert set(read) <= {"00000.jpg", "15000.jpg"}
    assert len(read) <= 4
    assert desk.album.near == "15000.jpg"


def test_what_was_changed_by_hand_in_the_saved_file_counts_when_the_page_is_opened_or_saves(
    opened: Callable[[Path], LearningDesk], photos: Path
) -> None:
    desk = opened(photos)
    session = desk.begin("me")[0]
    for label in ("red", "green"):
        desk.add_label(session, label)
        press(desk, session, "accept")
    desk.save(session)
    rows = [json.loads(line) for line in (photos / METADATA).read_text().splitlines()]
    rows[0]["labels"] = ["crimson"]

    def write(at: int) -> None:
        (photos / METADATA).write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.utime(photos / METADATA, (at, at))

    write(2**31)
    again = opened(photos)
    assert again.begin("you")[0].photos[0].accepted == ["crimson"]
    rows[0]["labels"] = ["scarlet"]
    write(2**31 + 1)
    desk.add_label(session, "blue")
    press(desk, session, "accept")
    desk.save(session)
    saved = read_saved(photos).labels
    assert saved["0.jpg"] == ["scarlet"]
    assert "blue" in saved["2.jpg"]
    assert session.photos[0].accepted == ["scarlet"]


def test_of_a_model_with_rules_all_that_is_suggested_said_and_learnt_obeys_them(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Album, "look_around", lambda *_: None)
    rules = {"implies": {LABELS[2]: LABELS[1]}, "excludes": [[LABELS[1], LABELS[3]]]}
    run = write_run(tmp_path / "ruled", fusion="path", known_labels="state", label_rules=rules)
    files = find_images(str(photos))
    ruled = Tagger(SavedModel.load(run))
    album = Album(Eyes(ruled.saved), {file.name: file for file in files}, photos)
    desk = LearningDesk(ruled, photos, files, album=album)
    session = desk.begin("me")[0]
    desk.add_label(session, LABELS[3])
    assert "one</" in desk.add_label(session, LABELS[2])[2]  # what cannot be there any more gives way
    assert session.shown.known == {LABELS[2]: True}
    assert {name: album.expect("0.jpg", session.shown.known)[name] for name in LABELS[1:]} == {
        **dict.fromkeys(LABELS[1:3], 1.0),
        LABELS[3]: 0.0,
    }
    press(desk, session, "accept")
    for known in ({LABELS[1]: False}, {LABELS[3]: True}, {}):
        suggested = album.suggest("1.jpg")
        suggested.expected = [LABELS[2], LABELS[1]]
        there = set(suggested.labels(known))
        assert LABELS[2] not in there or LABELS[1] in there
        assert not {LABELS[1], LABELS[3]} <= there
    desk.save(session)
    assert set(read_saved(photos).labels["0.jpg"]) >= {LABELS[1], LABELS[2]}
    assert album.known.answers("0.jpg") | {LABELS[0]: True} == dict(zip(LABELS, [True, True, True, False], strict=True))
    assert Album(album.eyes, album.photos, photos).known == album.known
