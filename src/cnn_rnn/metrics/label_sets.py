"""Predicted sets against true sets: precision, recall and F1 by class, over all, and by image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cnn_rnn.decisions import best_sizes

from .checked_arrays import Array, count_by_column, count_by_row, in_threads, row_blocks

Figures = dict[str, Any]

# How much a label's frequency is held against it where means over labels are to gain. On two held-out parts of the
# training photos of Corel5k C-F1 hardly moves from 0.3 to 0.7, for a plain head as for head and neighbours.
ADJUSTMENT = 0.5
LEAST, MOST = 1e-12, 1 - 1e-7  # probabilities are clipped to these before their log odds


@dataclass(frozen=True)
class TruthCounts:
    """What there is to find."""

    positives: NDArray[np.int64]  # (C,)
    counted: NDArray[np.int64]  # (C,) images that are not left out
    image_positives: NDArray[np.int64]  # (N,)
    image_counted: NDArray[np.int64]  # (N,) labels that are not left out


@dataclass(frozen=True)
class SetCounts:
    """What predicted sets hold: all that their figures are made of."""

    truth: TruthCounts
    hits: NDArray[np.int64]  # (C,) images where the label is predicted and present
    predicted: NDArray[np.int64]  # (C,)
    image_hits: NDArray[np.int64]  # (N,)
    image_predicted: NDArray[np.int64]  # (N,)


def count_truth(truth: NDArray[np.int8]) -> TruthCounts:
    """The counts of a truth (N, C) of 1 present, 0 absent, -1 left out."""
    by_class, by_image = _count_pairs(truth, lambda rows: (truth[rows] == 1, truth[rows] >= 0))
    return TruthCounts(*by_class, *by_image)


def count_sets(picked: NDArray[np.bool_], truth: NDArray[np.int8], truth_counts: TruthCounts) -> SetCounts:
    """The counts of predicted sets (N, C); what the truth leaves out counts nowhere."""
    by_class, by_image = _count_pairs(
        truth, lambda rows: (picked[rows] & (truth[rows] == 1), picked[rows] & (truth[rows] >= 0))
    )
    return SetCounts(truth_counts, *by_class, *by_image)


def _count_pairs(
    truth: Array, flags: Callable[[slice], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two kinds of flags (N, C) counted by class (2, C) and by image (2, N), a block of rows at a time."""
    by_image = np.zeros((2, truth.shape[0]), np.int64)

    def count(rows: slice) -> NDArray[np.int64]:
        parts = flags(rows)
        for counts, part in zip(by_image, parts, strict=True):
            counts[rows] = count_by_row(part)
        return np.stack([count_by_column(part) for part in parts])

    nothing = np.zeros((2, truth.shape[1]), np.int64)
    return sum(in_threads(count, row_blocks(*truth.shape)), nothing), by_image


def pick_by_threshold(scores: Array, thresholds: float | ArrayLike) -> NDArray[np.bool_]:
    """The labels (N, C) whose score is at or above its threshold, one for all or one a label (C,)."""
    exact = np.asarray(thresholds, np.float64)
    rounded = exact.astype(scores.dtype)
    # the least number of the scores' own type that is not below the threshold: the comparison stays exact
    least = np.where(rounded < exact, np.nextafter(rounded, np.inf, dtype=scores.dtype), rounded).astype(scores.dtype)
    return np.asarray(scores >= least)


def pick_top_k(scores: Array, truth: NDArray[np.int8], k: int) -> NDArray[np.bool_]:
    """The k labels (N, C) of each image with the highest scores, or all where there are fewer.

    A label that is left out takes no place. Of equal scores the lower label id goes first.
    """
    images, labels = scores.shape
    if k >= labels:
        return truth >= 0
    picked = np.zeros((images, labels), bool)

    def pick(rows: slice) -> None:
        counted = truth[rows] >= 0
        block = scores[rows] if counted.all() else np.where(counted, scores[rows], -np.inf)
        last = np.partition(block, labels - k, axis=1)[:, labels - k]
        picked[rows] = _pick_first(block, last, np.full(len(block), k)) & counted

    in_threads(pick, row_blocks(images, labels))
    return picked


def _pick_first(block: Array, last: Array, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of each image the `sizes` (N,) greatest of its scores (N, C), the least of which is `last` (N,).

    Of equal scores the lower label id goes first.
    """
    picked = block >= last[:, None]
    crowded = np.flatnonzero(count_by_row(picked) > sizes)
    if len(crowded):
        above, tied = block[crowded] > last[crowded, None], block[crowded] == last[crowded, None]
        free = sizes[crowded, None] - above.sum(axis=1, keepdims=True)
        picked[crowded] = above | (tied & (tied.cumsum(axis=1) <= free))
    return picked


def pick_adjusted_top_k(
    scores: Array, truth: NDArray[np.int8], k: int, label_counts: ArrayLike
) -> NDArray[np.bool_] | None:
    """The k labels (N, C) of each image with the highest log odds less half the log of the label's frequency.

    Means over labels, such as C-F1 and N+, count a rare label as much as a frequent one, so a set chosen for them must
    too (logit adjustment: Menon et al., ICLR 2021). None where the scores are no probabilities.

    Args:
        scores: Probabilities (N, C).
        truth: (N, C) 1 present, 0 absent, -1 left out: takes no place.
        k: Labels to choose.
        label_counts: Training images (C) that show each label.
    """
    if scores.size and not 0 <= scores.min() <= scores.max() <= 1:
        return None
    likely = np.clip(scores.astype(np.float64), LEAST, MOST)
    held_against = ADJUSTMENT * np.log(np.asarray(label_counts, np.float64) + 0.5)
    return pick_top_k(np.log(likely) - np.log1p(-likely) - held_against, truth, k)


def pick_by_expectation(scores: Array, truth: NDArray[np.int8]) -> NDArray[np.bool_] | None:
    """The labels (N, C) with the greatest expected F1 of each image; None where the scores are no probabilities.

    A label that is left out is taken for absent.
    """
    images, labels = scores.shape
    picked = np.zeros((images, labels), bool)
    for rows in row_blocks(images, labels):
        block = np.where(truth[rows] >= 0, scores[rows], 0)
        if block.size and not 0 <= block.min() <= block.max() <= 1:
            return None
        ascending = np.sort(block, axis=1)
        sizes = best_sizes(torch.from_numpy(ascending).flip(1)).numpy()
        # Where nothing is picked, the last is beyond them all.
        bounds = np.append(ascending, np.full((len(block), 1), np.inf, block.dtype), axis=1)
        picked[rows] = _pick_first(block, bounds[np.arange(len(block)), labels - sizes], sizes) & (block > 0)
    return picked


def divide(numerator: Array, denominator: Array) -> NDArray[np.float64]:
    """The quotients, and 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=np.asarray(denominator) != 0)


def class_figures(counts: SetCounts) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 of each class (C,); a class that is never predicted has precision 0."""
    return {
        "precision": divide(counts.hits, counts.predicted),
        "recall": divide(counts.hits, counts.truth.positives),
        "F1": divide(2 * counts.hits, counts.predicted + counts.truth.positives),
    }


def set_figures(counts: SetCounts, min_positives: int = 1) -> Figures:
    """The figures of predicted sets, as fractions; None where nothing counts.

    Class means are over the classes with at least `min_positives` positives; overall figures over every entry that
    counts, so a false alarm for a class without positives lowers OP. Image means are over the images with at least
    one label that counts. 0/0 is 0, as in scikit-learn: a class never predicted has precision 0, an image without
    labels and without predictions has F1 0 (and is an exact match).
    """
    truth = counts.truth
    kept, images = truth.positives >= max(min_positives, 1), truth.image_counted > 0
    wrong = counts.image_predicted + truth.image_positives - 2 * counts.image_hits
    by_class = {name: values[kept] for name, values in class_figures(counts).items()}
    class_precision, class_recall = mean(by_class["precision"]), mean(by_class["recall"])
    hits, predicted, positives = int(counts.hits.sum()), int(counts.predicted.sum()), int(truth.positives.sum())
    example_f1 = divide(2 * counts.image_hits, counts.image_predicted + truth.image_positives)
    return {
        "CP": class_precision,
        "CR": class_recall,
        "CF1": harmonic_mean(class_precision, class_recall),
        "mean_class_F1": mean(by_class["F1"]),
        "OP": _ratio(hits, predicted) if positives else None,
        "OR": _ratio(hits, positives) if positives else None,
        "OF1": _ratio(2 * hits, predicted + positives) if positives else None,
        "example_F1": mean(example_f1[images]),
        "hamming_loss": _ratio(int(wrong.sum()), int(truth.image_counted.sum())) if images.any() else None,
        "exact_match": float((wrong[images] == 0).mean()) if images.any() else None,
        "N_plus": int(np.count_nonzero(counts.hits)),
        "predicted": predicted,
    }


def mean(values: Array) -> float | None:
    """The mean, None of nothing; summed in sorted order, so that the order of the values does not matter."""
    return float(np.sort(values).mean()) if len(values) else None


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """The harmonic mean of two fractions, 0 where both are 0."""
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first + second else 0.0


def _ratio(numerator: int, denominator: int) -> float:
    """The quotient, 0 where the denominator is 0."""
    return numerator / denominator if denominator else 0.0
