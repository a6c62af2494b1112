"""A folder that several persons label: nothing is lost, nothing is a fact that nobody said."""

import importlib.util
import json
import shutil
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from cnn_rnn.data import UnreadableImageError
from cnn_rnn.learning.album import Album
from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.learning.journal import Step
from cnn_rnn.learning.learner import Seen
from cnn_rnn.learning.simulated_person import label_photo
from cnn_rnn.prediction import SavedModel

SCRIPT = Path(__file__).parents[2] / "scripts/benchmarks/tagging.py"
LABELS = {"0.jpg": ["red"], "1.jpg": ["red"], "2.jpg": ["green"], "3.jpg": ["red"], "4.jpg": [], "5.jpg": ["green"]}


def test_a_person_goes_through_and_another_page_goes_on_where_it_ended(eyes: Eyes, photos: dict[str, Path]) -> None:
    folder = photos["0.jpg"].parent
    album = Album(eyes, photos, folder)
    done = [label_photo(album, name, LABELS[name]) for name in list(LABELS)[:5]]
    assert done[0].actions == 4  # typed, and accepted
    assert sum(one.actions for one in done) == album.known.actions
    assert [one.right for one in done] == [album.known.photos[name].right for name in album.known.order]
    again = Album(eyes, photos, folder)
    ended = threading.Event()
    again.look_around(ended)
    assert again.looked_at == len(photos)
    assert again.known == album.known
    assert again.expect("5.jpg") == pytest.approx(album.expect("5.jpg"), abs=1e-4)
    assert again.known_of("5.jpg") == {}  # what is expected is no fact
    assert again.learner.learnt()["photos"] == 5


def test_two_pages_lose_nothing_of_each_other_and_each_takes_its_own_steps_back(
    eyes: Eyes, photos: dict[str, Path]
) -> None:
    folder = photos["0.jpg"].parent
    one, other = Album(eyes, photos, folder), Album(eyes, photos, folder)
    one.step(Step({"0.jpg": {"red": True}}, by="one"))
    other.step(Step({"0.jpg": {"dark": True}}, {"0.jpg": True}, by="other"))
    one.follow()
    assert one.known_of("0.jpg") == {"red": True, "dark": True}
    assert one.take_back("one") is not None
    assert one.take_back("one") is None
    other.follow()
    assert other.known == one.known
    assert one.known_of("0.jpg") == {"dark": True}


def test_a_label_that_is_renamed_is_learnt_under_its_new_name(eyes: Eyes, photos: dict[str, Path]) -> None:
    album = Album(eyes, photos)
    for name in list(photos)[:4]:
        label_photo(album, name, LABELS[name])
    before = album.expect("4.jpg")
    album.step(Step(renamed=("red", "crimson"), by="me"))
    after = album.expect("4.jpg")
    assert {name.replace("crimson", "red"): value for name, value in after.items()} == pytest.approx(before, abs=1e-4)
    album.take_back("me")
    assert album.expect("4.jpg") == pytest.approx(before, abs=1e-4)


def test_labels_of_before_are_learnt_and_the_first_step_of_a_photo_keeps_them(
    eyes: Eyes, photos: dict[str, Path]
) -> None:
    folder = photos["0.jpg"].parent
    saved = {"0.jpg": ["red", "old"], "2.jpg": ["green"], "away.jpg": ["red"]}
    album = Album(eyes, photos, folder)
    album.read_rows(saved, time.time())
    album.step(Step({"0.jpg": {"old": False}}))
    again = Album(eyes, photos, folder)
    again.read_rows(saved, time.time() + 9)  # written anew as it was: nobody has changed a row
    assert again.known == album.known
    assert again.known_of("0.jpg") == {"red": True, "old": False}
    assert again.is_accepted("2.jpg")
    assert (again.known.order, again.known.actions) == ([], 1)  # what a file says was never suggested, and cost nothing


def test_a_row_that_was_changed_by_hand_counts_where_it_is_later_and_either_is_told(
    eyes: Eyes, photos: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = photos["0.jpg"].parent
    album = Album(eyes, photos, folder)
    for name in ("0.jpg", "1.jpg"):
        album.step(Step({name: {"red": True, "dark": False}}, {name: True}))
    rows = {"0.jpg": ["red"], "1.jpg": ["red"]}
    album.read_rows(rows, time.time() + 1)  # as the page saves them
    album.step(Step({"1.jpg": {"red": False}}, {"1.jpg": True}))
    assert not caplog.text
    changed = {"0.jpg": ["dark", "green"], "1.jpg": ["red", "green"]}
    album.read_rows({"1.jpg": changed["1.jpg"]}, time.time() - 60)
    assert album.known_of("1.jpg") == {"red": False, "dark": False}
    assert "rows of 1.jpg: older than what the page was told" in caplog.text
    album.read_rows(changed, time.time() + 60)
    again = Album(eyes, photos, folder)
    assert again.known == album.known
    assert again.known_of("0.jpg") == {"dark": True, "green": True}
    assert again.is_accepted("0.jpg")
    assert again.known_of("1.jpg") == {"red": False, "dark": False}  # seen once, it is no news
    assert "rows of 0.jpg: changed by hand, which counts" in caplog.text
    again.take_back("")  # of the page's own steps
    assert again.known_of("0.jpg") == {"dark": True, "green": True}


def test_the_next_photo_is_one_that_nobody_accepted(eyes: Eyes, photos: dict[str, Path]) -> None:
    album = Album(eyes, photos)
    album.look_around(threading.Event())
    for name in ("1.jpg", "3.jpg"):
        label_photo(album, name, LABELS[name])
    assert album.next_photo("0.jpg", "folder") == "2.jpg"
    assert album.next_photo("5.jpg", "folder") == "0.jpg"
    assert album.next_photo("1.jpg", "alike") in {"0.jpg", "2.jpg"}
    assert album.next_photo("1.jpg", "uncertain") in photos.keys() - {"1.jpg", "3.jpg"}
    sure = album.as_sure_as("0.jpg")
    assert not sure.keys() & {"0.jpg", "1.jpg", "3.jpg"}
    album.step(Step({name: dict.fromkeys(labels, True) for name, labels in sure.items()}, dict.fromkeys(sure, True)))
    assert all(album.is_accepted(name) for name in sure)
    album.take_back("")
    assert not any(album.is_accepted(name) for name in sure)


def test_a_photo_that_cannot_be_read_is_told_and_passed_over(eyes: Eyes, photos: dict[str, Path]) -> None:
    photos["3.jpg"].write_text("no photo")
    album = Album(eyes, photos)
    album.look_around(threading.Event())
    assert list(album.unreadable) == ["3.jpg"]
    assert album.next_photo("2.jpg", "folder") == "4.jpg"
    with pytest.raises(UnreadableImageError, match=r"3\.jpg"):
        album.see("3.jpg")


def test_a_start_says_what_its_model_says_also_given_what_is_known(saved: SavedModel, photos: dict[str, Path]) -> None:
    album = Album(Eyes(saved), photos)
    first = album.expect("0.jpg")
    assert list(first) == saved.model.config.label_names
    known = {next(iter(first)): True}
    given = album.eyes.given(album.see("0.jpg"), known)
    assert given is not None
    expected = dict(zip(first, (1 / (1 + np.exp(-given))).tolist(), strict=True)) | {next(iter(first)): 1.0}
    assert album.expect("0.jpg", known) == pytest.approx(expected, abs=1e-5)


def load_script() -> ModuleType:
    """The simulation."""
    spec = importlib.util.spec_from_file_location("simulation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_simulation_prints_its_figures(
    photos: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, eyes: Eyes
) -> None:
    tagging = load_script()
    folder = photos["0.jpg"].parent
    monkeypatch.setattr(tagging.Eyes, "load", lambda _: eyes)
    assert tagging.main([str(folder)]) == 2
    assert "holds no labels" in capsys.readouterr().err
    rows = (json.dumps({"file_name": name, "labels": labels}) + "\n" for name, labels in LABELS.items())
    (folder / "metadata.jsonl").write_text("".join(rows))
    shutil.move(folder, folder.parent / "train")
    for order in ("chance", "uncertain", "alike"):
        assert tagging.main([str(folder.parent), "--order", order]) == 0
        figures = json.loads(capsys.readouterr().out)
        assert figures["photos"] == len(LABELS)
        assert figures["actions_a_photo"] == pytest.approx(figures["first_50"])
        assert 1 <= figures["actions_a_photo"] <= 7
        assert len(figures["refit_seconds"]) == 2


def test_a_photo_of_which_the_model_sees_no_finite_numbers_is_passed_over_with_a_word(
    eyes: Eyes, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    album = Album(eyes, photos)
    monkeypatch.setattr(eyes, "look", lambda _: Seen(np.full(4, np.nan, np.float32), certainties=0))
    with pytest.raises(UnreadableImageError, match="no finite numbers"):
        album.see("0.jpg")
    album.look_around(threading.Event())  # and goes on to the others
    assert album.unreadable.keys() == photos.keys()


def test_photos_on_a_drive_that_was_away_are_read_again(eyes: Eyes, photos: dict[str, Path]) -> None:
    album = Album(eyes, photos)
    album.see("3.jpg")
    away = photos["3.jpg"].rename(photos["3.jpg"].with_suffix(".away"))
    album.see("3.jpg")  # what was seen goes on counting
    assert album.is_unreadable("3.jpg")
    assert album.looked_at == 1
    away.rename(photos["3.jpg"])
    assert not album.is_unreadable("3.jpg")
    assert not album.unreadable


def test_a_photo_that_is_replaced_under_its_name_is_seen_and_learnt_anew(eyes: Eyes, photos: dict[str, Path]) -> None:
    folder = photos["0.jpg"].parent
    album = Album(eyes, photos, folder)
    for name in list(photos)[:4]:
        label_photo(album, name, LABELS[name])
    before = album.see("0.jpg").features
    Image.linear_gradient("L").convert("RGB").save(photos["0.jpg"])
    album.see("5.jpg")
    assert not np.array_equal(album.see("0.jpg").features, before)
    again = Album(eyes, photos, folder)
    again.look_around(threading.Event())
    assert album.expect("5.jpg") == pytest.approx(again.expect("5.jpg"), abs=1e-4)
    photos["0.jpg"].write_bytes(b"no photo")
    album.see("0.jpg")  # as it was seen last
    assert list(album.unreadable) == ["0.jpg"]
    Image.new("RGB", (9, 9)).save(photos["0.jpg"])
    album.see("0.jpg")
    assert not album.unreadable
