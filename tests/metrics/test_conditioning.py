"""What known labels are worth, on models that are known in full."""

import numpy as np
import pytest

from cnn_rnn.metrics.conditioning import ToldLabels, count_looks, looks_figures, reveal, told_figures

GENERATOR = np.random.default_rng(0)
TRUTH = (GENERATOR.random((60, 7)) < 0.4).astype(np.int8)
NAMES = [f"label {index}" for index in range(7)]
IDS = [f"{index}.jpg" for index in range(60)]


def test_what_is_revealed_is_true_and_as_much_as_was_asked_for() -> None:
    for count in range(5):
        known = reveal(IDS, NAMES, TRUTH, count)
        assert (TRUTH[known == 1] == 1).all()
        assert (known.sum(axis=1) == np.minimum(count, TRUTH.sum(axis=1))).all()
        more = reveal(IDS, NAMES, TRUTH, count + 1)
        assert (more >= known).all()  # one more label, not others


def test_what_is_revealed_depends_on_the_image_and_its_labels_alone() -> None:
    known = reveal(IDS, NAMES, TRUTH, 1)
    order = GENERATOR.permutation(60)
    assert (reveal([IDS[row] for row in order], NAMES, TRUTH[order], 1) == known[order]).all()
    columns = GENERATOR.permutation(7)
    shuffled = reveal(IDS, [NAMES[label] for label in columns], TRUTH[:, columns], 1)
    assert (shuffled == known[:, columns]).all()
    assert len({tuple(row) for row in known}) > 5  # not always the first of its labels


def test_a_model_that_knows_all_once_told_one_is_worth_what_it_says() -> None:
    guess = GENERATOR.random(TRUTH.shape)

    def score(known: ToldLabels, rows: np.ndarray) -> np.ndarray:
        told = (known == 1).any(axis=1, keepdims=True)
        return np.where(told, TRUTH[rows], guess[rows])

    known = reveal(IDS, NAMES, TRUTH, 1)
    figures = told_figures(score, TRUTH, known, 1)
    assert figures["images"] == (TRUTH.sum(axis=1) >= 1).sum()
    assert {key: figures["told"][key] for key in ("mAP", "CF1", "OF1", "exact_match")} == dict.fromkeys(
        ("mAP", "CF1", "OF1", "exact_match"), 1.0
    )
    assert figures["untold"]["mAP"] < 0.8
    assert set(told_figures(score, TRUTH, reveal(IDS, NAMES, TRUTH, 0), 0)) == {"images", "untold"}


def test_what_is_known_counts_nowhere() -> None:
    known = reveal(IDS, NAMES, TRUTH, 2)
    right, wrong = TRUTH.astype(float), np.where(known == 1, 0.0, TRUTH)
    assert told_figures(lambda _, rows: right[rows], TRUTH, known, 2) == told_figures(
        lambda _, rows: wrong[rows], TRUTH, known, 2
    )


def test_looks_are_the_place_of_the_last_true_label_where_nothing_is_learnt() -> None:
    scores = GENERATOR.random(TRUTH.shape)
    places = (-scores).argsort(axis=1).argsort(axis=1) + 1
    expected = (places * TRUTH).max(axis=1)
    finished: list[int] = []
    looks = count_looks(lambda _, rows: scores[rows], TRUTH, finished.append)
    assert (looks == expected).all()
    assert sum(finished) == (TRUTH.sum(axis=1) > 0).sum()
    figures = looks_figures(looks)
    assert figures["mean"] == pytest.approx(expected[expected > 0].mean())
    assert looks_figures(looks[:0]) == {"mean": None, "median": None, "images": 0}


def test_a_model_that_hears_the_answers_needs_fewer_looks() -> None:
    """Label 6 keeps company with label 0, and the model learns so when it hears of 0."""
    truth = np.zeros((5, 7), np.int8)
    truth[:, [0, 6]] = 1
    fixed = np.linspace(0.9, 0.1, 7)[None].repeat(5, axis=0)

    def hears(known: ToldLabels, rows: np.ndarray) -> np.ndarray:
        scores = fixed[rows].copy()
        scores[known[:, 0] == 1, 6] = 0.95
        return scores

    assert count_looks(lambda _, rows: fixed[rows], truth).tolist() == [7] * 5
    assert count_looks(hears, truth).tolist() == [2] * 5


def test_what_is_left_out_is_never_suggested() -> None:
    truth = np.array([[1, -1, 0]], np.int8)
    assert count_looks(lambda _, rows: np.array([[0.1, 0.9, 0.5]])[rows], truth).tolist() == [2]
