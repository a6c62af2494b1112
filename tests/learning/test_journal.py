"""What was written down is there whatever happens, and what follows from it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.killed_writers import kill_while_writing

from cnn_rnn.foundation.opened_folder import FolderGoneError
from cnn_rnn.learning.journal import STEPS_FILE, Journal, Step
from cnn_rnn.learning.known_photos import KnownPhotos

ACCEPT = Step({"a.jpg": {"cat": True, "dog": True}}, {"a.jpg": True})


def write_for_ever(folder: Path, told: Any) -> None:
    """Write one step more each time, and tell each that is written."""
    journal = Journal(folder)
    for number in range(10**6):
        journal.add(Step({f"{os.getpid()}-{number}.jpg": {"x": True}}))
        told.send(number)


def test_whatever_kills_a_page_nothing_said_is_lost_and_the_next_page_goes_on(tmp_path: Path) -> None:
    expected: set[str] = set()
    for kill in range(20):
        pid, last = kill_while_writing(write_for_ever, tmp_path, 0.003 * kill)
        expected |= {f"{pid}-{number}.jpg" for number in range(last + 1)}
        assert expected <= KnownPhotos.follow(Journal(tmp_path).steps).photos.keys()


def test_two_pages_read_what_the_other_wrote_and_a_line_that_was_cut_off_counts_for_nothing(tmp_path: Path) -> None:
    one, other = Journal(tmp_path), Journal(tmp_path)
    one.add(ACCEPT)
    with (tmp_path / STEPS_FILE).open("ab") as file:
        file.write(b'{"said": {"b.jpg": {"ca')
    other.add(Step({"c.jpg": {"cow": True}}, by="other"))
    assert one.read()
    assert not one.read()
    assert [step.said for step in one.steps] == [ACCEPT.said, {"c.jpg": {"cow": True}}]
    assert [step.said for step in Journal(tmp_path).steps] == [step.said for step in one.steps]
    assert one.last_of("other") == one.steps[1]
    assert one.last_of("nobody") is None


def test_wherever_a_line_is_cut_off_it_counts_for_nothing_and_the_next_one_counts(tmp_path: Path) -> None:
    line = Step({"a.jpg": {"cat": True}, "b.jpg": {}}, {"a.jpg": True}, by="me").line().encode()
    for cut in range(len(line)):
        for end in (b"", bytes(9)):  # as a power cut leaves it
            (tmp_path / STEPS_FILE).write_bytes(ACCEPT.line().encode() + line[:cut] + end)
            Journal(tmp_path).add(Step({"c.jpg": {"cow": True}}))
            whole = cut == len(line) - 1
            assert [[*step.said] for step in Journal(tmp_path).steps] == [
                ["a.jpg"],
                *([["a.jpg", "b.jpg"]] if whole else []),
                ["c.jpg"],
            ]


def test_of_a_step_that_the_disk_does_not_take_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.add(ACCEPT)
    before = (tmp_path / STEPS_FILE).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("cnn_rnn.learning.journal.os.fsync", full)
        with pytest.raises(OSError, match=r"could not write .*steps\.jsonl: No space"):
            journal.add(Step({"b.jpg": {"cow": True}}))
    assert ((tmp_path / STEPS_FILE).read_bytes(), journal.steps) == (before, [ACCEPT])
    journal.add(Step({"c.jpg": {"cow": True}}))
    assert [[*step.said] for step in Journal(tmp_path).steps] == [["a.jpg"], ["c.jpg"]]


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_step_is_written_into_another_folder_that_lies_there_by_now(tmp_path: Path) -> None:
    folder, away = tmp_path / ".cnn-rnn", tmp_path / "away"
    journal = Journal(folder)
    journal.add(ACCEPT)
    folder.rename(away)
    with pytest.raises(FolderGoneError, match="is not there any more"):
        journal.add(Step({"b.jpg": {}}))
    other = Journal(folder)
    other.add(Step({"theirs.jpg": {}}))
    assert not journal.read()
    with pytest.raises(FolderGoneError, match="is not the folder that was opened"):
        journal.add(Step({"b.jpg": {}}))
    (folder / STEPS_FILE).unlink()
    with pytest.raises(OSError, match="is shorter than it was"):
        other.add(Step({"c.jpg": {}}))
    assert (journal.steps, Journal(away).steps) == ([ACCEPT], [ACCEPT])


def test_what_another_wrote_that_is_no_step_is_told_each_time_and_counts_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / STEPS_FILE).write_text(ACCEPT.line() + '{"name": "1", "weight": 3}\n')
    for _ in range(2):
        with pytest.raises(ValueError, match=r"line 2: .*'weight' is new: a later version wrote it"):
            journal.read()
    (tmp_path / STEPS_FILE).write_text(ACCEPT.line() + Step({"b.jpg": {}}, name="1").line())
    assert journal.read()
    assert [[*step.said] for step in journal.steps] == [["a.jpg"], ["b.jpg"]]


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        "{}",
        '{"name": "x", "said": {"a": {"cat": "yes"}}}',
        "text",
        '{"name": "x", "said": {"a": [["cat", true]]}}',
        '{"name": "x", "actions": 1e400}',
        '{"name": "x", "renamed": ["cat"]}',
        '{"name": "x", "name": "y"}',
    ],
)
def test_a_line_that_is_no_step_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / STEPS_FILE).write_text(line + "\n")
    with pytest.raises(ValueError, match=r"steps\.jsonl, line 1: expected a step"):
        Journal(tmp_path)


def test_a_step_taken_back_was_never_taken() -> None:
    first = Step({"a.jpg": {"cat": True}})
    back = Step(takes_back=ACCEPT.name, actions=0)
    again = KnownPhotos.follow([first, ACCEPT, back])
    assert again == KnownPhotos.follow([first])
    assert again.answers("a.jpg") == {"cat": True}


def test_what_is_not_named_on_an_accepted_photo_is_not_there_and_later_labels_are_unknown() -> None:
    known = KnownPhotos.follow([ACCEPT, Step({"b.jpg": {"cow": True}}, {"b.jpg": True})], ["horse"])
    assert known.answers("a.jpg") == {"horse": False, "cat": True, "dog": True}
    assert known.answers("b.jpg") == {"horse": False, "cat": False, "dog": False, "cow": True}


def test_a_label_is_renamed_and_merged_on_all_photos_and_back() -> None:
    steps = [ACCEPT, Step({"b.jpg": {"kitten": True}}, {"b.jpg": True}), Step({"c.jpg": {}}, {"c.jpg": True})]
    renamed = Step(renamed=("dog", "hound"))
    known = KnownPhotos.follow([*steps, renamed])
    assert known.answers("a.jpg") == {"cat": True, "hound": True}
    merged = Step(renamed=("kitten", "cat"))
    known = KnownPhotos.follow([*steps, renamed, merged])
    assert known.label_names == ["cat", "hound"]
    assert known.answers("a.jpg") == {"cat": True, "hound": True}
    assert known.answers("b.jpg") == {"cat": True, "hound": False}
    assert known.answers("c.jpg") == {"cat": False, "hound": False}
    back = [Step(takes_back=step.name, actions=0) for step in (merged, renamed)]
    assert KnownPhotos.follow([*steps, renamed, merged, *back]) == KnownPhotos.follow(steps)


def test_actions_and_what_was_right_at_once_are_counted() -> None:
    steps = [ACCEPT, Step({"b.jpg": {"cat": False}}, {"b.jpg": False}), Step({"b.jpg": {"dog": True}}, {"b.jpg": True})]
    known = KnownPhotos.follow(steps)
    assert (known.actions, known.order, known.right_at_once) == (3, ["a.jpg", "b.jpg"], 0.0)
    assert KnownPhotos.follow(steps[:1]).right_at_once == 1.0
    assert KnownPhotos.follow([]).right_at_once is None
