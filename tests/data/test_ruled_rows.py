"""Rows under rules: what is decided, and what breaks them, counted and named."""

from datasets import ClassLabel, Dataset, Features, Image, List, Value
from tests.hub.random_rules import ANIMALS, NAMES

from cnn_rnn.data import targets
from cnn_rnn.data.labels.ruled_rows import obey_rules, obey_rules_as_read
from cnn_rnn.label_rules import LabelRules

LABELS = List(ClassLabel(names=NAMES))
RULES = LabelRules.of(ANIMALS, NAMES)
assert RULES is not None


def rows_of(**columns: list[list[int]]) -> Dataset:
    count = len(columns["labels"])
    ids = [f"{row}.jpg" for row in range(count)]
    features = Features({"image_id": Value("string")} | dict.fromkeys(columns, LABELS))
    return Dataset.from_dict({"image_id": ids} | columns, features=features)


def test_what_the_rules_decide_is_so_and_what_breaks_them_is_named() -> None:
    assert RULES is not None
    rows = rows_of(labels=[[2], [0, 1], [2, 3], [4], [], [3, 5]], unknown=[[0, 1, 3], [2, 4], [], [0], [], []])
    closed, broken = obey_rules(rows, RULES)
    assert closed["labels"] == [[0, 1, 2], [0, 1], [0], [4], [], []]
    # The poodle of the second photo stays open; of the third and the last, one label too many is there.
    assert closed["unknown"] == [[], [2, 4], [1, 2, 3], [0], [], [0, 3, 5]]
    assert closed["image_id"] == rows["image_id"]
    assert broken.counts() == {
        "poodle without dog": 1,
        "cat without animal": 2,
        "dog beside cat": 1,
        "none beside animal": 1,
    }
    assert "label_rules: 2 photos show cat without animal, which counts as shown: 2.jpg, 5.jpg" in broken.text()
    assert "label_rules: 1 photos show dog beside cat, neither of which counts there: 2.jpg" in broken.text()
    again, nothing = obey_rules(closed, RULES)
    assert again["labels"] == closed["labels"]
    assert not nothing.counts()
    assert not nothing.text()


def test_a_stream_is_closed_as_it_is_read_rows_without_labels_too() -> None:
    assert RULES is not None
    rows = rows_of(labels=[[]] * 8 + [[2]]).add_column("image", [{"bytes": b"", "path": None}] * 9)
    streamed = list(obey_rules_as_read(rows.cast_column("image", Image(decode=False)).to_iterable_dataset(), RULES))
    assert [row["labels"] for row in streamed] == obey_rules(rows, RULES)[0]["labels"][:]
    assert [row["unknown"] for row in streamed] == [[]] * 9


def test_columns_that_nothing_needs_are_not_made_and_difficult_ones_stay() -> None:
    assert RULES is not None
    closed, _ = obey_rules(rows_of(labels=[[2], []]), RULES)
    assert closed.column_names == ["image_id", "labels"]
    closed, _ = obey_rules(rows_of(labels=[[2], []], difficult=[[1, 4], [2]]), RULES)
    assert closed.column_names == ["image_id", "labels", "difficult"]
    assert closed["labels"] == [[0, 1, 2], []]
    assert closed["difficult"] == [[4], []]  # without a dog there is no poodle to be difficult
    assert (targets(closed) >= 0).sum() == 11
