"""Thresholds and temperatures fitted on held-out data: pure functions of scores, targets and mask.

Never give them the split that is reported on.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cnn_rnn.metrics.average_precision import precision_at_positives, sorted_classes
from cnn_rnn.metrics.inputs import Array, check_scores

Values = ArrayLike | torch.Tensor


def fit_threshold(scores: Values, targets: Values, mask: Values | None = None) -> float:
    """The one threshold for all labels with the greatest O-F1 of the set it predicts.

    Args:
        scores: (N, C).
        targets: (N, C) 1 present, 0 absent, negative left out.
        mask: (N, C) bool, False leaves the entry out.

    Raises:
        ValueError: no label is present anywhere.
    """
    checked, truth = check_scores(scores, targets, mask)
    threshold = _best_threshold(np.sort(checked[truth >= 0]), np.sort(checked[truth == 1]))
    if threshold is None:
        raise ValueError("no threshold can be fitted: the held-out data have no positives; hold out more images")
    return threshold


def fit_class_thresholds(
    scores: Values, targets: Values, mask: Values | None = None, min_positives: int = 5
) -> NDArray[np.float64]:
    """For each label the threshold (C,) with the greatest F1; the common one for labels with fewer positives.

    A threshold lies halfway between two scores, so that scores which differ a little on new data fall on the same side.
    """
    checked, truth = check_scores(scores, targets, mask)
    common = fit_threshold(checked, truth)
    fitted = [
        _best_threshold(counted, positives) if len(positives) >= min_positives else None
        for counted, positives in sorted_classes(checked, truth)
    ]
    return np.array([common if threshold is None else threshold for threshold in fitted], np.float64)


def _best_threshold(counted: Array, positives: Array) -> float | None:
    """The threshold with the greatest F1 from ascending scores, the highest of equals; None without positives."""
    if not len(positives):
        return None
    hits, precision = precision_at_positives(counted, positives)
    predicted = hits / precision
    f1 = 2 * hits / (predicted + len(positives))
    score = positives[len(f1) - 1 - int(np.argmax(f1[::-1]))]  # the best set always ends with a positive
    next_lower = counted[max(int(np.searchsorted(counted, score)) - 1, 0)]
    halfway = (float(score) + float(next_lower)) / 2
    return halfway if next_lower < halfway else float(score)


def fit_temperature(logits: Values, targets: Values, mask: Values | None = None) -> float:
    """The temperature T > 0 for which ``sigmoid(logits / T)`` has the least cross-entropy, one for all labels.

    Raises:
        ValueError: there are not both present and absent labels, or higher logits do not mean presence.
    """
    checked, truth = check_scores(logits, targets, mask)
    counted = truth >= 0
    scale = _fit_logistic(checked[counted][:, None].astype(np.float64), truth[counted] == 1)[0]
    return float(1 / _positive(scale))


def fit_platt(logits: Values, targets: Values, mask: Values | None = None) -> tuple[float, float]:
    """Scale a > 0 and shift b for which ``sigmoid(a * logits + b)`` has the least cross-entropy, for all labels.

    Raises:
        ValueError: there are not both present and absent labels, or higher logits do not mean presence.
    """
    checked, truth = check_scores(logits, targets, mask)
    flat = checked[truth >= 0].astype(np.float64)
    scale, shift = _fit_logistic(np.stack([flat, np.ones_like(flat)], axis=1), truth[truth >= 0] == 1)
    return _positive(scale), float(shift)


def _positive(scale: float) -> float:
    """The scale, if it is greater than 0."""
    if not scale > 0:
        raise ValueError(f"the fitted scale is {scale:.3g}: on these data a higher logit does not mean presence")
    return float(scale)


def _fit_logistic(features: NDArray[np.float64], present: NDArray[np.bool_], steps: int = 100) -> NDArray[np.float64]:
    """The weights (F,) of a logistic regression on features (P, F), by Newton's method with halved steps.

    Targets are Platt's smoothed ones, which keep the weights finite where a threshold separates the classes.
    """
    positives, negatives = int(present.sum()), int((~present).sum())
    if not positives or not negatives:
        raise ValueError(f"{positives} present and {negatives} absent labels: expected some of both to calibrate on")
    goal = np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(weights: NDArray[np.float64]) -> float:
        logits = features @ weights
        return float(np.mean(np.logaddexp(0, logits) - goal * logits))

    weights = np.zeros(features.shape[1])
    current = loss(weights)
    for _ in range(steps):
        probability = np.exp(-np.logaddexp(0, -(features @ weights)))
        gradient = features.T @ (probability - goal) / len(goal)
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features / len(goal)
        step = np.linalg.lstsq(curvature, gradient)[0]
        size = 1.0
        while (proposed := loss(weights - size * step)) > current and size > 1e-6:
            size /= 2
        if proposed >= current - 1e-15:
            break
        weights, current = weights - size * step, proposed
    return weights
