"""Labels that several pages save into one folder."""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from tests.killed_writers import kill_while_writing

from cnn_rnn.app.saved_labels import TWICE, DecidedLabels, photo_name, read_saved, write_saved
from cnn_rnn.foundation.opened_folder import FolderGoneError, place_of

SAVED = 40


def save_labels(folder: Path, page: str) -> None:
    """What one page does."""
    for number in range(SAVED):
        write_saved(folder, {f"{page}{number}.jpg": [page]})


def test_pages_of_two_processes_lose_none_of_each_others_labels(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")  # whose copies end where they fail, and never go on with the tests
    pages = [fork.Process(target=save_labels, args=(tmp_path, page)) for page in "ab"]
    for page in pages:
        page.start()
    for page in pages:
        page.join()
    assert [page.exitcode for page in pages] == [0, 0]
    assert read_saved(tmp_path).labels == {f"{page}{number}.jpg": [page] for page in "ab" for number in range(SAVED)}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows that stand in a folder's file."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_bytes().decode().split("\n") if line]


def save_for_ever(folder: Path, told: Any) -> None:
    """Save one photo more each time, and tell each that is saved."""
    for number in range(10**6):
        write_saved(folder, {f"{number}.jpg": ["a"]})
        told.send(number)


def test_whatever_kills_a_page_that_saves_the_file_holds_all_that_was_saved(tmp_path: Path) -> None:
    for kill in range(20):
        folder = tmp_path / str(kill)
        folder.mkdir()
        _, last = kill_while_writing(save_for_ever, folder, 0.003 * kill)
        assert {f"{number}.jpg" for number in range(last + 1)} <= read_saved(folder).labels.keys()


def test_no_folder_is_made_and_none_is_taken_for_the_one_that_was_opened(tmp_path: Path) -> None:
    folder, away = tmp_path / "photos", tmp_path / "away"
    folder.mkdir()
    opened = place_of(folder)
    folder.rename(away)
    with pytest.raises(FolderGoneError, match="is not there any more"):
        write_saved(folder, {"a.jpg": ["x"]}, opened)
    assert not folder.exists()
    folder.mkdir()  # as the place lies bare where a disk was
    with pytest.raises(FolderGoneError, match="is not the folder that was opened"):
        write_saved(folder, {"a.jpg": ["x"]}, opened)
    assert list(folder.iterdir()) == []
    folder.rmdir()
    away.rename(folder)
    assert write_saved(folder, {"a.jpg": ["x"]}, opened) == {}
    assert rows_of(folder) == [{"file_name": "a.jpg", "labels": ["x"]}]


def test_what_is_decided_replaces_what_any_column_said(tmp_path: Path) -> None:
    there = {"file_name": "./a.jpg", "labels": ["old"], "not_labels": ["cat", "wolf"], "unknown": ["dog", "cow", "x"]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(there) + "\n")
    write_saved(tmp_path, {"a.jpg": DecidedLabels(["cat", "dog"], ["old", "cow"])})
    assert rows_of(tmp_path) == [
        there | {"labels": ["cat", "dog"], "not_labels": ["wolf", "old", "cow"], "unknown": ["x"]},
    ]


def test_what_was_hard_to_see_is_decided_too_and_a_flag_of_the_photo_stays(tmp_path: Path) -> None:
    rows = [
        {"file_name": "a.jpg", "labels": ["cat"], "difficult": ["dog", "fox", "owl"]},
        {"file_name": "b.jpg", "labels": [], "difficult": 1, "unknown": False},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    write_saved(tmp_path, {"a.jpg": DecidedLabels(["cat", "dog"], ["fox"]), "b.jpg": DecidedLabels(["dog"])})
    saved = rows_of(tmp_path)
    assert saved[0] == {"file_name": "a.jpg", "labels": ["cat", "dog"], "difficult": ["owl"]}
    assert saved[1] == {"file_name": "b.jpg", "labels": ["dog"], "difficult": 1, "unknown": False}


def test_two_rows_of_a_photo_are_told_and_kept(tmp_path: Path) -> None:
    lines = [{"file_name": "a.jpg", "labels": ["x"]}, {"file_name": "./a.jpg", "labels": ["y"]}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert write_saved(tmp_path, {"a.jpg": ["z"], "b.jpg": ["z"]}) == {"a.jpg": TWICE}
    assert rows_of(tmp_path) == [*lines, {"file_name": "b.jpg", "labels": ["z"]}]


@pytest.mark.parametrize("name", ["./a.jpg", "x/../a.jpg", "{folder}/a.jpg", ".\\a.jpg"])
def test_a_photo_has_one_name(tmp_path: Path, name: str) -> None:
    assert photo_name(tmp_path, name.format(folder=tmp_path)) == "a.jpg"


def test_names_with_any_sign_are_saved_again_and_again_and_those_that_are_no_text_are_told(tmp_path: Path) -> None:
    names = ["holiday\x85 rome.jpg", "a\u2028b.jpg", "c\x0bd.jpg", "e\rf.jpg"]
    for name in names:
        assert write_saved(tmp_path, {name: ["x"]}) == {}
    assert read_saved(tmp_path).labels == {name: ["x"] for name in names}
    left = write_saved(tmp_path, {os.fsdecode(b"caf\xe9.jpg"): ["x"], "g.jpg": ["x"]})
    assert list(left) == ["caf\udce9.jpg"]
    assert read_saved(tmp_path).labels.keys() == {*names, "g.jpg"}


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_bytes("{}".encode("utf-16"))
    with pytest.raises(ValueError, match=r"metadata\.jsonl is not UTF-8"):
        read_saved(tmp_path)
