"""Figures with what each image adds to them, from which follows how far a figure varies from set to set.

The infinitesimal jackknife (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 22.5): a figure's
derivative by the weight of each image; the sum of their squares is the figure's variance. For a class of few positives
that is too little, so that what they add is taken farther from their mean by sqrt(n / (n - 1)), as in any estimate of a
variance, and classes of one positive stand in for each other (collapsed strata: Wolter, Introduction to Variance
Estimation, 2007, section 2.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import Array
from .label_sets import divide


@dataclass(frozen=True)
class Estimate:
    """A figure, NaN where it is not defined."""

    value: float
    influence: NDArray[np.float64]  # (N,) the derivative of the figure by the weight of each image
    bias: float = 0.0  # how much too high it is on average
    trials: int | None = None  # images, where each is a success or none

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.influence - other.influence, self.bias - other.bias)

    @classmethod
    def mean(cls, figures: Sequence[Self]) -> Self:
        """The mean of figures of the same images."""
        parts = ([one.value for one in figures], [one.influence for one in figures], [one.bias for one in figures])
        value, influence, bias = (np.mean(part, axis=0) for part in parts)
        return cls(float(value), influence, float(bias))

    @property
    def standard_error(self) -> float:
        """The square root of the variance; NaN of a single image or of no figure."""
        images = len(self.influence)
        if images < 2 or np.isnan(self.value):
            return np.nan
        return float(np.sqrt(np.square(self.influence).sum() * images / (images - 1)))


def mean_average_precision(
    scores: Array, truth: NDArray[np.int8], kept: NDArray[np.bool_], values: NDArray[np.float64], bias: float
) -> Estimate:
    """The mean of the average precisions `values` (C,) of the kept classes (C,), each with a positive.

    What an image adds is that of the area under the steps, which the 11-point form follows closely.
    """
    influence = np.zeros(len(scores))
    single_images, single_values = [], []
    for label in np.flatnonzero(kept):
        rows = np.flatnonzero(truth[:, label] >= 0)
        rows = rows[np.argsort(-scores[rows, label], kind="stable")]
        descending, present = scores[rows, label], truth[rows, label] == 1
        ends = len(rows) - np.searchsorted(descending[::-1], descending[present])  # images down to each positive
        precision = np.cumsum(present)[ends - 1] / ends
        positives = len(ends)
        # One image more takes from the precision at every positive that it is not below; a positive one adds as well.
        taken = np.bincount(ends - 1, precision / ends, len(rows))[::-1].cumsum()[::-1]
        added = np.bincount(ends - 1, 1 / ends, len(rows))[::-1].cumsum()[::-1]
        own = -taken
        if positives == 1:
            single_images.append(rows[present][0])
            single_values.append(values[label])
            own[present] = 0
        else:
            own[present] += added[present] + precision - precision.mean()
            own[present] *= np.sqrt(positives / (positives - 1))
        influence[rows] += own / positives
    np.add.at(influence, np.array(single_images, np.int64), _apart(np.array(single_values)))
    return _mean_of(values[kept], influence, bias)


def mean_precision(hits: Array, predicted: Array, present: Array, kept: NDArray[np.bool_]) -> Estimate:
    """The mean of the kept classes' precisions from hits, predictions and positives (N, C).

    A class never predicted counts as 0. More images would find predictions of it, as right as those of the others by
    the best guess: so much is the mean too low.
    """
    counts = predicted[:, kept].sum(axis=0, dtype=np.float64)
    values = divide(hits[:, kept].sum(axis=0, dtype=np.float64), counts)
    single, never = counts == 1, counts == 0
    own = values[single]
    if len(own):
        # A class predicted once might as well not have been, which would make its precision 0. Where predictions come
        # by Poisson's distribution, the variance is this share of the square of the single value.
        rate = len(own) / max(float(np.count_nonzero(never)), 0.5)
        own = own * np.sqrt(1 - own.mean() * (1 + np.expm1(-rate) / rate))
        # with the image of a class that has no other, the class itself would be gone
        only = (values[single] > 0) & (present[:, kept].sum(axis=0, dtype=np.float64)[single] == 1)
        own = np.where(only, values[single] - values.mean(), own)
    bias = values.mean() - values[~never].mean() if not never.all() else 0.0
    return _mean_of_shares(hits, predicted, kept, own, float(bias))


def mean_recall(hits: Array, present: Array, kept: NDArray[np.bool_]) -> Estimate:
    """The mean of the kept classes' recalls from hits and positives (N, C), each with a positive."""
    single = present[:, kept].sum(axis=0, dtype=np.float64) == 1
    return _mean_of_shares(hits, present, kept, _apart(hits[:, kept].sum(axis=0, dtype=np.float64)[single]), 0.0)


def ratio(numerators: Array, denominators: Array, trials: int | None = None) -> Estimate:
    """The sum of the numerators (N,) divided by that of the denominators (N,), 0 for 0/0."""
    total = denominators.sum(dtype=np.float64)
    value = numerators.sum(dtype=np.float64) / total if total else 0.0
    return Estimate(float(value), (numerators - value * denominators) / max(total, 1), trials=trials)


def harmonic_mean_estimate(first: Estimate, second: Estimate) -> Estimate:
    """The harmonic mean of two figures, 0 where both are."""
    total = first.value + second.value
    if not total:
        return Estimate(total, np.zeros(len(first.influence)))
    # the derivatives of 2ab / (a + b), along which influence and bias are handed on
    by_first, by_second = 2 * (second.value / total) ** 2, 2 * (first.value / total) ** 2
    return Estimate(
        2 * first.value * second.value / total,
        by_first * first.influence + by_second * second.influence,
        by_first * first.bias + by_second * second.bias,
    )


def set_estimates(picked: NDArray[np.bool_], truth: NDArray[np.int8], kept: NDArray[np.bool_]) -> dict[str, Estimate]:
    """C-P ... exact match of predicted sets (N, C), by name; class means are over the kept classes (C,)."""
    # float32 holds counts below 2**24 as they are
    parts = (picked & (truth == 1), picked & (truth >= 0), truth == 1)
    hits, predicted, present = (part.astype(np.float32) for part in parts)
    precision = mean_precision(hits, predicted, present, kept)
    recall = mean_recall(hits, present, kept)
    image_hits, image_predicted, image_present = (
        part.sum(axis=1, dtype=np.float64) for part in (hits, predicted, present)
    )
    counted = np.asarray((truth >= 0).any(axis=1))
    exact = (image_hits == image_predicted) & (image_hits == image_present)
    overall = {
        "OP": ratio(image_hits, image_predicted),
        "OR": ratio(image_hits, image_present),
        "OF1": ratio(2 * image_hits, image_predicted + image_present),
    }
    if not image_present.any():  # 0/0 in all of them, which `ratio` takes for 0
        overall = dict.fromkeys(overall, _undefined(len(truth)))
    return {
        "CP": precision,
        "CR": recall,
        "CF1": harmonic_mean_estimate(precision, recall),
        **overall,
        "example_F1": image_mean(divide(2 * image_hits, image_predicted + image_present), counted),
        "exact_match": image_mean(np.asarray(exact & counted), counted, trials=int(counted.sum())),
    }


def image_mean(values: Array, counted: NDArray[np.bool_], trials: int | None = None) -> Estimate:
    """The mean over the images that count; the values (N,) of the others are 0."""
    return ratio(values.astype(np.float64), counted, trials) if counted.any() else _undefined(len(counted))


def _undefined(images: int) -> Estimate:
    """A figure that is not defined."""
    return Estimate(np.nan, np.zeros(images))


def _mean_of_shares(
    hits: Array, units: Array, kept: NDArray[np.bool_], single_influence: NDArray[np.float64], bias: float
) -> Estimate:
    """The mean of the kept classes' hits by units (N, C); the only unit of a class adds what is given for it."""
    counts = units[:, kept].sum(axis=0, dtype=np.float64)
    values = divide(hits[:, kept].sum(axis=0, dtype=np.float64), counts)
    weight = divide(np.sqrt(divide(counts, counts - 1)), counts)
    by_unit = -weight * values
    by_unit[counts == 1] = single_influence
    by_class = np.zeros((2, len(kept)))
    by_class[:, kept] = np.where(counts == 1, 0, weight), by_unit
    return _mean_of(values, hits @ by_class[0] + units @ by_class[1], bias)


def _mean_of(values: NDArray[np.float64], influence: NDArray[np.float64], bias: float) -> Estimate:
    """The mean of the classes' values with what each image adds to their sum."""
    return Estimate(float(values.mean()) if len(values) else np.nan, influence / max(len(values), 1), bias)


def _apart(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the values lie from their mean, or a single one from 0, so that their squares give a variance."""
    count = len(values)
    return (values - values.mean()) * np.sqrt(count / (count - 1)) if count > 1 else values
