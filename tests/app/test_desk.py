"""The page without a browser: what comes from one is checked, and nothing that a person decided is lost."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tests.commands_by_name import main_of

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'cnn-rnn[app]'")

from cnn_rnn.app.photo_session import PhotoSession
from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.app.saved_labels import read_saved
from cnn_rnn.app.tagging_page import Desk, typed_label
from cnn_rnn.app.views import readable
from cnn_rnn.prediction.input_kinds import find_images


def desk_of(tagger: Tagger, photos: Path) -> tuple[Desk, PhotoSession]:
    """A page of a folder, and a person's session."""
    desk = Desk(tagger, photos, find_images(str(photos)))
    return desk, desk.begin("tab")[0]


def test_labels_whose_folder_is_away_stay_and_are_handed_out(tagger: Tagger, photos: Path) -> None:
    desk, session = desk_of(tagger, photos)
    for _ in range(2):
        desk.accept(session)
    away = photos.with_name("away")
    photos.rename(away)
    told, file, *_ = desk.save(session)
    assert told.startswith(f"Not saved: {photos} is not there any more")
    assert (photos.exists(), session.unsaved) == (False, 2)
    assert read_saved(Path(file["value"] if isinstance(file, dict) else file.value["path"]).parent).labels.keys() == {
        "0.jpg",
        "1.jpg",
    }
    away.rename(photos)
    assert desk.save(session)[0].startswith("Saved the labels of 2 photos")
    assert session.unsaved == 0


def test_a_name_that_is_no_text_is_shown_and_left_out_with_a_word(tagger: Tagger, photos: Path) -> None:
    odd = photos / os.fsdecode(b"caf\xe9.jpg")
    Image.new("RGB", (50, 40), "red").save(photos / "x.jpg")
    os.rename(photos / "x.jpg", odd)  # noqa: PTH104
    desk, session = desk_of(tagger, photos)
    for _ in session.photos:
        desk.accept(session)
    shown = desk.show(session)
    for html in shown[1:]:
        html.encode()
    assert "caf\\udce9.jpg" in shown[1]
    told = desk.save(session)[0]
    assert "Saved the labels of 3 photos" in told
    assert "1 left out: caf\\udce9.jpg, its name is not UTF-8" in told
    assert session.unsaved == 1


def test_a_file_that_is_broken_by_hand_is_told_to_whoever_opens_the_page(tagger: Tagger, photos: Path) -> None:
    desk, _ = desk_of(tagger, photos)
    (photos / "metadata.jsonl").write_text("[1\n")
    session, photo, _ = desk.begin("another tab")
    assert "line 1 is not JSON" in photo
    assert session.photos == []
    (photos / "metadata.jsonl").unlink()
    assert len(desk.begin("another tab")[0].photos) == 3


def test_a_photo_of_two_rows_is_told(tagger: Tagger, photos: Path) -> None:
    (photos / "metadata.jsonl").write_text('{"file_name": "0.jpg", "labels": []}\n' * 2)
    desk, session = desk_of(tagger, photos)
    assert "several rows of metadata.jsonl are of this photo" in desk.show(session)[1]
    desk.accept(session)
    assert "0.jpg, several rows" in desk.save(session)[0]


HOSTILE: list[Any] = [None, True, 1e9, -1, "x", [], [1], {}, {"act": []}, {"act": {}}, {"act": "confirm"}]


@pytest.mark.parametrize("sent", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_browser_sends_decides_nothing_that_nobody_meant(sent: Any, tagger: Tagger, photos: Path) -> None:
    desk, session = desk_of(tagger, photos)
    events = [sent, {"act": "confirm", "photo": sent, "label": 1}, {"act": "confirm", "photo": 0, "label": sent}]
    for event in [*events, {"act": sent, "photo": 0, "label": 1}]:
        told: Any = SimpleNamespace(_data=event)
        desk.click(session, told)
    desk.add_label(session, sent if not isinstance(sent, str) else None)
    desk.drop(session, sent)
    desk.begin(sent)
    assert session.photos[0].known == {}
    assert [photo.name for photo in session.photos] == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize("label", ["a\0b", "a\x1b[31m", "a\ud83d", "a\ufffe", "x" * 101], ids=range(5))
def test_a_label_that_nobody_can_mean_is_refused_with_a_word(label: str, tagger: Tagger, photos: Path) -> None:
    desk, session = desk_of(tagger, photos)
    shown = desk.add_label(session, label)[1]
    assert 'role="alert"' in shown
    assert session.photos[0].known == {}
    desk.add_label(session, "  großer\n Bär \u200d")
    assert session.photos[0].known == {"großer Bär \u200d": True}


def test_a_label_in_other_letters_is_the_one_that_is_there(tagger: Tagger, photos: Path) -> None:
    desk, session = desk_of(tagger, photos)
    for typed in ("ONE", "cafe\u0301", "CAF\u00c9", "caf\u00e9 "):
        desk.add_label(session, typed)
    assert session.photos[0].known == {"one": True, "caf\u00e9": True}
    assert typed_label("b", ["B", "\u00c9"]) == "B"
    assert typed_label("dog", ["Dog", "DOG"]) == "dog"  # which of both, nobody knows
    assert typed_label("Dog", ["Dog", "DOG"]) == "Dog"
    assert typed_label(None, ["a"]) == ""


def test_a_text_of_halves_is_readable() -> None:
    assert readable("a\udce9ä") == "a\\udce9ä"


def test_where_nothing_can_be_kept_the_command_says_how_to_go_on(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / ".cnn-rnn").write_text("in the way")
    assert main_of("app")(["--model", str(run), "--input", str(photos), "--engine", "torch"]) == 2
    assert f"{photos}/.cnn-rnn'; with --no_learn nothing is kept there" in capsys.readouterr().err
