"""Fitted thresholds are the best there are, and fitted probabilities the likeliest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.metrics import f1_score

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.calibration import fit_class_thresholds, fit_platt, fit_temperature, fit_threshold


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
    for fit in (fit_threshold, fit_class_thresholds, fit_platt, fit_temperature):
        np.testing.assert_array_equal(fit(other, targets, mask), fit(scores, targets, mask))


def smoothed_loss(scale: float, shift: float, logits: NDArray, targets: NDArray) -> float:
    """The mean cross-entropy against Platt's smoothed targets."""
    positives, negatives = targets.sum(), (1 - targets).sum()
    goal = np.where(targets == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    scaled = scale * logits + shift
    return float(np.mean(np.logaddexp(0, scaled) - goal * scaled))


@pytest.mark.parametrize("seed", range(5))
def test_platt_and_temperature_find_the_minimum_that_scipy_finds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true_logits = generator.normal(-1, 2, (400, 5))
    targets = (generator.random((400, 5)) < 1 / (1 + np.exp(-true_logits))).astype(int)
    logits = 3 * true_logits + 1
    scale, shift = fit_platt(logits, targets)
    best = minimize(lambda w: smoothed_loss(w[0], w[1], logits, targets), [1, 0], method="BFGS")
    assert smoothed_loss(scale, shift, logits, targets) <= best.fun + 1e-9
    assert (scale, shift) == pytest.approx((1 / 3, -1 / 3), abs=0.2)
    temperature = fit_temperature(true_logits * 3, targets)
    assert temperature == pytest.approx(3, rel=0.15)
    best = minimize(lambda w: smoothed_loss(w[0], 0, true_logits * 3, targets), [1], method="BFGS")
    assert smoothed_loss(1 / temperature, 0, true_logits * 3, targets) <= best.fun + 1e-9


def test_separable_data_have_a_finite_temperature() -> None:
    temperature = fit_temperature(np.array([[-1.0, 1.0]] * 50), np.array([[0, 1]] * 50))
    assert 0.01 < temperature < 1


def test_nothing_to_fit_on_is_said() -> None:
    with pytest.raises(ValueError, match="no positives"):
        fit_threshold(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="0 present and 6 absent"):
        fit_temperature(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="does not mean presence"):
        fit_temperature(np.array([[1.0, -1.0]]), np.array([[0, 1]]))
