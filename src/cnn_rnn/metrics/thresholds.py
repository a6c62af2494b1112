"""Thresholds fitted on held-out data: pure functions of scores, targets and mask.

Never give them the split that is reported on.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .average_precision import precision_at_positives, sorted_classes
from .checked_arrays import Array, check_scores

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
