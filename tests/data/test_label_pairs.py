"""Counts of labels that are shown together."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List

from cnn_rnn.data import label_matrix, label_pair_counts, schema


def test_pairs_are_counted_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [[0, 2], [], [2], [0, 1, 2], [1], [0, 2]]
    rows = Dataset.from_dict(
        {"labels": sets}, features=Features({"labels": List(ClassLabel(names=["cat", "dog", "sofa", "never"]))})
    )
    monkeypatch.setattr(schema, "ROWS_AT_ONCE", 4)
    counts = label_pair_counts(rows)
    for first in range(4):
        for second in range(4):
            assert counts[first, second] == sum(first in own and second in own for own in sets)
    assert (counts.diagonal() == np.asarray(label_matrix(rows)).sum(axis=0)).all()
