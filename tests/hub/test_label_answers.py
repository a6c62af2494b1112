"""The next question is about the open label whose answer tells most of the whole set."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cnn_rnn.label_answers import most_telling


@pytest.mark.parametrize(
    ("probabilities", "known", "asked"),
    [
        ([0.9, 0.4, 0.05], None, 1),
        ([0.9, 0.4, 0.05], [0, 1, 0], 0),
        ([0.9, 0.4, 0.05], [-1, 1, 0], 2),
        ([0.999, 0.001, 0.0], [0, 0, 0], None),
        ([0.5, 0.5, 0.5], [1, -1, 1], None),
    ],
    ids=["in doubt", "not what is known", "not what is ruled out", "all sure", "all known"],
)
def test_it_is_about_the_label_in_doubt(probabilities: list[float], known: list[int] | None, asked: int | None) -> None:
    assert most_telling(np.array(probabilities, np.float32), None if known is None else np.array(known)) == asked


def entropy(probabilities: NDArray[np.float64]) -> float:
    """In natural units."""
    some = probabilities[probabilities > 0]
    return float(-(some * np.log(some)).sum())


@pytest.mark.parametrize("seed", range(20))
def test_no_other_answer_lets_the_entropy_of_the_set_fall_as_far(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = 5
    sets = (np.arange(1 << labels)[:, None] >> np.arange(labels) & 1).astype(bool)
    joint = generator.dirichlet(np.full(len(sets), 0.1))  # of labels that depend on each other
    falls = []
    for label in range(labels):
        left = 0.0
        for answer in (True, False):
            there = sets[:, label] == answer
            share = joint[there].sum()
            left += share * entropy(joint[there] / share) if share else 0.0
        falls.append(entropy(joint) - left)
    asked = most_telling(joint @ sets)
    assert asked is not None
    assert falls[asked] == pytest.approx(max(falls))
