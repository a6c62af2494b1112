"""The next question is the open label of which least is known."""

import numpy as np
import pytest

from cnn_rnn.serving.questions import next_question

NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("probabilities", "known", "asked"),
    [
        ([0.9, 0.4, 0.05], [0, 0, 0], "b"),
        ([0.9, 0.4, 0.05], [0, 1, 0], "a"),
        ([0.9, 0.4, 0.05], [-1, 1, 0], "c"),
        ([0.999, 0.001, 0.0], [0, 0, 0], None),
        ([0.5, 0.5, 0.5], [1, -1, 1], None),
    ],
    ids=["in doubt", "not what is known", "not what is ruled out", "all sure", "all known"],
)
def test_it_is_about_the_label_in_doubt(probabilities: list[float], known: list[int], asked: str | None) -> None:
    found = next_question(np.array(probabilities, np.float32), np.array(known), NAMES)
    assert (found and found["label"]) == asked
    assert found is None or found["score"] == pytest.approx(probabilities[NAMES.index(found["label"])])
