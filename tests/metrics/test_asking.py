"""Questions until the set is right: one by one by hand, and for independent labels the fewest on average."""

from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cnn_rnn.metrics.asking import ORDERS, asked_table, count_questions, questions_figures
from cnn_rnn.metrics.conditioning import ScoreFunction


def always(probabilities: list[float]) -> ScoreFunction:
    """A model that expects the same of every image, whatever is known."""
    return lambda known, _: np.tile(np.array(probabilities, np.float32), (len(known), 1))


def fixed(ranks: NDArray[np.float64], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """An order that does not look at the probabilities."""
    return np.tile(ranks, (len(probabilities), 1))


def test_they_are_counted_until_what_is_likelier_than_not_is_true() -> None:
    score = always([0.9, 0.6, 0.3, 0.1])
    truth = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1], [1, -1, 1, -1]], np.int8)
    # in doubt: 1, 2, 0, 3; by probability: 0, 1, 2, 3; label 1 of the last image is nobody's question
    assert count_questions(score, truth, ORDERS["telling"]).tolist() == [0, 1, 2, 4, 1]
    assert count_questions(score, truth, ORDERS["probable"]).tolist() == [0, 2, 3, 4, 2]
    finished: list[int] = []
    count_questions(score, truth, ORDERS["telling"], finished.append)
    assert sum(finished) == len(truth)


def test_what_is_known_changes_what_is_asked_next() -> None:
    def score(known: NDArray[np.int8], _: NDArray[np.int64]) -> NDArray[np.float32]:
        likely = np.tile(np.array([0.5, 0.1, 0.2], np.float32), (len(known), 1))
        likely[known[:, 0] > 0, 1] = 0.9  # the second label comes with the first
        return likely

    truth = np.array([[1, 1, 0], [0, 0, 1]], np.int8)
    assert count_questions(score, truth, ORDERS["telling"]).tolist() == [0 + 1, 2]


def test_of_independent_labels_no_fixed_order_needs_fewer() -> None:
    probabilities = [0.8, 0.45, 0.3, 0.05]
    truth = np.array(list(product((0, 1), repeat=4)), np.int8)
    chances = np.where(truth, probabilities, 1 - np.array(probabilities)).prod(axis=1)
    means = {name: chances @ count_questions(always(probabilities), truth, order) for name, order in ORDERS.items()}
    for seed in range(12):
        ranks = np.random.default_rng(seed).permutation(4).astype(float)
        other = count_questions(always(probabilities), truth, partial(fixed, ranks))
        assert means["telling"] <= chances @ other + 1e-9
    assert means["telling"] < means["probable"]


def test_the_table_says_each_row_and_order() -> None:
    figures = questions_figures(np.array([0, 1, 5]))
    assert figures == {"mean": 2.0, "median": 1.0, "right_at_once": 1 / 3}
    assert questions_figures(np.zeros(0, np.int64))["mean"] is None
    text = asked_table({"model": {"telling": figures, "probable": figures}}).text()
    assert "model, telling first" in text
    assert "33.3" in text
