"""Counts of labels that are shown together."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List

from cnn_rnn.data import count_pairs, label_matrix, label_pair_counts, schema
from cnn_rnn.data.schema import looked_at_counts


def test_pairs_are_counted_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [[0, 2], [], [2], [0, 1, 2], [1], [0, 2]]
    rows = Dataset.from_dict(
        {"labels": sets}, features=Features({"labels": List(ClassLabel(names=["cat", "dog", "sofa", "never"]))})
    )
    monkeypatch.setattr(schema, "ROWS_COUNTED", 4)
    counts = label_pair_counts(rows)
    for first in range(4):
        for second in range(4):
            assert counts[first, second] == sum(first in own and second in own for own in sets)
    assert (counts.diagonal() == np.asarray(label_matrix(rows)).sum(axis=0)).all()


def test_images_on_which_both_of_two_labels_were_looked_at_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = List(ClassLabel(names=["cat", "dog", "sofa"]))
    sets: dict[str, list[list[int]]] = {
        "labels": [[0, 2], [], [2], [0, 1, 2]],
        "difficult": [[], [2], [2], []],  # what is shown was looked at, whatever else is said
        "unknown": [[1], [0, 1], [], []],
    }
    rows = Dataset.from_dict(sets, features=Features(dict.fromkeys(sets, names)))
    monkeypatch.setattr(schema, "ROWS_COUNTED", 3)
    together, both, shown = count_pairs(rows)
    assert isinstance(both, np.ndarray)
    assert (together == label_pair_counts(rows)).all()
    assert shown is not None
    assert both.tolist() == [[3, 2, 3], [2, 2, 2], [3, 2, 3]]
    assert shown.tolist() == [[2, 1, 2], [1, 1, 1], [3, 2, 3]]
    assert looked_at_counts(rows).tolist() == both.diagonal().tolist()
    complete = count_pairs(rows.remove_columns(["difficult", "unknown"]))
    assert complete[1:] == (4, None)
    assert (complete.together == together).all()
