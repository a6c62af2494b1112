"""Fitted thresholds are the best there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.thresholds import fit_class_thresholds, fit_threshold


@st.composite
def held_out(draw: st.DrawFn) -> tuple[NDArray, NDArray]:
    """Scores (N, C) with ties or none, targets with some left out and a positive in every class."""
    images, labels = draw(st.integers(2, 25)), draw(st.integers(2, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 5, 2**20]))
    scores = (generator.integers(0, levels, (images, labels)) / levels).astype(draw(st.sampled_from(["f4", "f8"])))
    targets = (generator.random((images, labels)) < 0.4).astype(int)
    targets[generator.random((images, labels)) < 0.1] = -1
    targets[0] = 1
    return scores, targets


@given(held_out())
@settings(max_examples=30)
def test_no_class_threshold_gives_a_higher_f1(case: tuple[NDArray, NDArray]) -> None:
    scores, targets = case
    thresholds = fit_class_thresholds(scores, targets, min_positives=1)
    for score, target, fitted in zip(scores.T, targets.T, thresholds, strict=True):
        counted = target >= 0
        reached = f1_score(target[counted], score[counted] >= fitted)
        best = max(f1_score(target[counted], score[counted] >= level) for level in score[counted])
        assert reached == pytest.approx(best, abs=1e-12)


@given(held_out())
def test_no_common_threshold_gives_a_higher_overall_f1(case: tuple[NDArray, NDArray]) -> None:
    scores, targets = case

    def overall(threshold: float) -> float:
        metrics = MultiLabelMetrics(thresholds=threshold)
        metrics.update(scores, targets)
        return float(metrics.compute()["threshold"]["OF1"])

    best = max(overall(float(level)) for level in np.unique(scores)[:40])
    assert overall(fit_threshold(scores, targets)) >= best - 1e-12


def test_threshold_lies_between_scores() -> None:
    scores, targets = np.array([[0.1], [0.2], [0.6], [0.8]]), np.array([[0], [0], [1], [1]])
    assert fit_class_thresholds(scores, targets, min_positives=1)[0] == pytest.approx(0.4)


def test_scores_that_touch_keep_their_sides() -> None:
    low = 0.3
    high = np.nextafter(low, 1)
    assert fit_class_thresholds(np.array([[low], [high]]), np.array([[0], [1]]), min_positives=1)[0] == high


def test_classes_with_few_positives_get_the_common_threshold() -> None:
    generator = np.random.default_rng(0)
    scores, targets = generator.random((50, 2)), generator.integers(0, 2, (50, 2))
    targets[:, 1] = 0
    targets[:3, 1] = 1
    thresholds = fit_class_thresholds(scores, targets, min_positives=5)
    assert thresholds[1] == fit_threshold(scores, targets) != thresholds[0]


def test_masked_entries_are_not_fitted_on() -> None:
    generator = np.random.default_rng(0)
    targets, mask = generator.integers(0, 2, (50, 3)), generator.random((50, 3)) < 0.5
    scores = generator.random((50, 3)) + targets * 0.3
    other = np.where(mask, scores, generator.random((50, 3)))
    for fit in (fit_threshold, fit_class_thresholds):
        np.testing.assert_array_equal(fit(other, targets, mask), fit(scores, targets, mask))


def test_nothing_to_fit_on_is_said() -> None:
    with pytest.raises(ValueError, match="no positives"):
        fit_threshold(np.zeros((3, 2)), np.zeros((3, 2)))
