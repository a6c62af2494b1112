"""Predicted sets against true sets: precision, recall and F1 by class, over all, and by image."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnn_rnn.closed_sets import pick_closed, pick_closed_by_expected_f1
from cnn_rnn.expected_f1 import best_sizes
from cnn_rnn.label_rules import LabelRules

from .checked_arrays import Array, count_flags
from .ranked_rows import RankedRows

Figures = dict[str, Any]

# Share of the log of a label's frequency that is subtracted from its score, for better means over labels. On two
# held-out parts of Corel5k's training photos C-F1 hardly moves from 0.3 to 0.7, with neighbours and without.
ADJUSTMENT = 0.5
LEAST, MOST = 1e-12, 1 - 1e-7  # probabilities are clipped to these before their log odds


class TruthCounts(NamedTuple):
    """What there is to find."""

    positives: NDArray[np.int64]  # (C,)
    counted: NDArray[np.int64]  # (C,) images that are not left out
    image_positives: NDArray[np.int64]  # (N,)
    image_counted: NDArray[np.int64]  # (N,) labels that are not left out


class SetCounts(NamedTuple):
    """What predicted sets hold: with the truth's counts, all that their figures are made of."""

    hits: NDArray[np.int64]  # (C,) images where the label is predicted and present
    predicted: NDArray[np.int64]  # (C,)
    image_hits: NDArray[np.int64]  # (N,)
    image_predicted: NDArray[np.int64]  # (N,)


CountKind = TypeVar("CountKind", TruthCounts, SetCounts)


def count_truth(rows: RankedRows) -> TruthCounts:
    """The counts of what is true of some images."""
    images, labels = rows.truth.shape
    everything = bool((rows.counted == labels).all())
    counted = np.full(labels, images) if everything else count_flags(rows.truth >= 0)[1]
    positives, image_positives = (
        np.bincount(rows.present_labels, minlength=labels),
        np.bincount(rows.present_images, minlength=images),
    )
    return TruthCounts(positives, counted, image_positives, rows.counted)


def count_sets(picked: NDArray[np.bool_], rows: RankedRows) -> SetCounts:
    """The counts of some images' predicted sets (B, C); what the truth leaves out counts nowhere."""
    images, labels = picked.shape
    hit = picked[rows.present_images, rows.present_labels]
    hits = np.bincount(rows.present_labels[hit], minlength=labels)
    image_hits = np.bincount(rows.present_images[hit], minlength=images)
    everything = bool((rows.counted == labels).all())
    image_predicted, predicted = count_flags(picked if everything else picked & (rows.truth >= 0))
    return SetCounts(hits, predicted, image_hits, image_predicted)


def join_counts(parts: Sequence[CountKind]) -> CountKind:
    """The counts of all images from those of some each, in order: of labels their sum, of images all in a row."""
    kind = type(parts[0])
    fields = zip(kind._fields, zip(*parts, strict=True), strict=True)
    return kind(*(np.concatenate(one) if name.startswith("image_") else np.sum(one, axis=0) for name, one in fields))


def pick_by_threshold(scores: Array, thresholds: float | ArrayLike) -> NDArray[np.bool_]:
    """The labels (N, C) whose score is at or above its threshold, one for all or one per label (C,)."""
    exact = np.asarray(thresholds, np.float64)
    rounded = exact.astype(scores.dtype)
    # the least number of the scores' own type that is not below the threshold: the comparison stays exact
    least = np.where(rounded < exact, np.nextafter(rounded, np.inf, dtype=scores.dtype), rounded).astype(scores.dtype)
    return np.asarray(scores >= least)


def obey(
    picked: NDArray[np.bool_], scores: Array, rules: LabelRules | None, most: int | None = None
) -> NDArray[np.bool_]:
    """Picked labels (N, C) as sets that obey rules, by the ranking of scores (N, C); as they are where there are none.

    Args:
        picked: The labels.
        scores: Of each label, -inf where it is left out.
        rules: Rules between labels.
        most: Labels of a set; then the ranking alone counts, not what was picked of it.
    """
    if rules is None:
        return picked
    return pick_closed(rules, scores, picked if most is None else scores > -np.inf, most)


def pick_top_k(rows: RankedRows, k: int) -> NDArray[np.bool_]:
    """The k labels (N, C) of each image with the highest scores, or all where there are fewer.

    A label that is left out takes no place. Of equal scores the lower label id goes first.
    """
    return rows.first(np.minimum(rows.counted, k))


def pick_adjusted_top_k(
    rows: RankedRows, k: int, label_counts: ArrayLike, rules: LabelRules | None = None
) -> NDArray[np.bool_] | None:
    """The k labels (N, C) of each image with the highest log odds less half the log of the label's frequency.

    Means over labels, such as C-F1 and N+, count a rare label as much as a frequent one, so a set chosen for them must
    too (logit adjustment: Menon et al., ICLR 2021). None where the scores are no probabilities.

    Args:
        rows: Images with their probabilities.
        k: Labels to choose.
        label_counts: Training images (C) that show each label.
        rules: Rules between labels that the sets obey.
    """
    if not rows.are_probabilities():
        return None
    likely = np.clip(rows.scores.astype(np.float64), LEAST, MOST)
    held_against = ADJUSTMENT * np.log(np.asarray(label_counts, np.float64) + 0.5)
    adjusted = RankedRows.of(np.log(likely) - np.log1p(-likely) - held_against, rows.truth)
    return obey(pick_top_k(adjusted, k), adjusted.scores, rules, k)


def pick_by_expectation(rows: RankedRows, rules: LabelRules | None = None) -> NDArray[np.bool_] | None:
    """The labels (N, C) with the greatest expected F1 of each image; None where the scores are no probabilities.

    A label that is left out is taken for absent; with rules, the best among the sets that obey them.
    """
    if not rows.are_probabilities():
        return None
    if rules is not None:
        return pick_closed_by_expected_f1(rules, np.maximum(rows.scores, 0))
    return rows.first(best_sizes(np.maximum(rows.ascending, 0)))


def pick_sets(
    rows: RankedRows, thresholds: float | ArrayLike, k: int, rules: LabelRules | None = None
) -> dict[str, NDArray[np.bool_] | None]:
    """The sets (N, C) that scores alone choose, by way: threshold, expected F1 and the best k; all obey the rules."""
    return {
        "threshold": obey(pick_by_threshold(rows.scores, thresholds), rows.scores, rules),
        "expected_f1": pick_by_expectation(rows, rules),
        "top_k": obey(pick_top_k(rows, k), rows.scores, rules, k),
    }


def join_picks(parts: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """The sets of all images from those of some each, in order; None where one of them is."""
    sets = [part for part in parts if part is not None]
    return np.concatenate(sets) if len(sets) == len(parts) else None


def divide(numerator: Array, denominator: Array) -> NDArray[np.float64]:
    """The quotients, and 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=np.asarray(denominator) != 0)


def class_figures(counts: SetCounts, truth: TruthCounts) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 of each class (C,); a class that is never predicted has precision 0."""
    return {
        "precision": divide(counts.hits, counts.predicted),
        "recall": divide(counts.hits, truth.positives),
        "F1": divide(2 * counts.hits, counts.predicted + truth.positives),
    }


def set_figures(counts: SetCounts, truth: TruthCounts, min_positives: int = 1) -> Figures:
    """The figures of predicted sets, as fractions; None where nothing counts.

    Class means are over the classes with at least `min_positives` positives; overall figures over every entry that
    counts, so a false alarm for a class without positives lowers OP. Image means are over the images with at least
    one label that counts. 0/0 is 0, as in scikit-learn: a class never predicted has precision 0, an image without
    labels and without predictions has F1 0 (and is an exact match).
    """
    kept, images = truth.positives >= max(min_positives, 1), truth.image_counted > 0
    wrong = counts.image_predicted + truth.image_positives - 2 * counts.image_hits
    by_class = {name: values[kept] for name, values in class_figures(counts, truth).items()}
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
    """The mean, None of nothing; summed in whole numbers of 2^-60, so that the order of the values does not matter."""
    if not len(values):
        return None
    coarse = np.rint(values * 2.0**30)
    fine = np.rint((values * 2.0**30 - coarse) * 2.0**30)
    total = (int(coarse.astype(np.int64).sum()) << 30) + int(fine.astype(np.int64).sum())
    return total / (len(values) << 60)


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """The harmonic mean of two fractions, 0 where both are 0."""
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first + second else 0.0


def _ratio(numerator: int, denominator: int) -> float:
    """The quotient, 0 where the denominator is 0."""
    return numerator / denominator if denominator else 0.0
