"""What was written down is there whatever happens, and what follows from it."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.killed_writers import kill_while_writing

from cnn_rnn.learning.journal import FILE, Journal, Step
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
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"said": {"b.jpg": {"ca')
    other.add(Step({"c.jpg": {"cow": True}}, by="other"))
    assert one.read()
    assert not one.read()
    assert [step.said for step in one.steps] == [ACCEPT.said, {"c.jpg": {"cow": True}}]
    assert [step.said for step in Journal(tmp_path).steps] == [step.said for step in one.steps]
    assert one.last_of("other") == one.steps[1]
    assert one.last_of("nobody") is None


@pytest.mark.parametrize("line", ["[1]", "{}", '{"name": "x", "said": {"a": {"cat": "yes"}}}', "text"])
def test_a_line_that_is_no_step_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(line + "\n")
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
