"""How sure a figure is: bootstrap intervals over images, and a paired test of two predictions for the same images."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from .average_precision import Method, check_method
from .checked_arrays import Array, check_paths, check_scores
from .label_sets import divide, join_picks, pick_by_expectation, pick_by_threshold, pick_top_k
from .ranked_rows import each_ranked
from .rankings import join_rankings, rank_images
from .stored_predictions import StoredPredictions

SET_FIGURES = ("CP", "CR", "CF1", "OP", "OR", "OF1")
SAMPLES_AT_ONCE = 100  # samples that are measured together
Samples = dict[
    str, NDArray[np.float64]
]  # by figure, its value on the images as they are, then on every sample (1 + R,)


def bootstrap_intervals(
    scores: ArrayLike | torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    paths: ArrayLike | torch.Tensor | None = None,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    **settings: Any,
) -> dict[str, Any]:
    """For each headline figure its `value` and the `low` and `high` end of its interval; ready for JSON.

    Images are drawn with replacement, as many as there are; the interval holds the middle share of the figure's values.
    A class without positives in a sample takes no part in that sample's class means. Figures are named like
    `"mAP"`, `"path.CF1"`, `"top_k.OF1"`, `"ranking.MAP_at_k"`.

    Args:
        scores: (N, C).
        targets: (N, C) 1 present, 0 absent, negative left out.
        paths: (N, C) 0/1, the labels on the predicted path.
        samples: How many samples are drawn.
        seed: Where the draws start; the same seed gives the same intervals.
        level: The share of samples that the interval holds.
        settings: `top_k`, `thresholds`, `average_precision_method`, `map_k`, `min_positives` as
            :class:`MultiLabelMetrics` takes them.
    """
    checked, truth, sets = _check(scores, targets, paths)
    drawn = _resample(checked, truth, sets, _draw(len(truth), samples, seed), **settings)
    return {
        "level": level,
        "samples": samples,
        "seed": seed,
        "figures": {
            name: {"value": _number(values[0])} | _interval(values[1:], level) for name, values in drawn.items()
        },
    }


def compare_paired(
    first: StoredPredictions,
    second: StoredPredictions,
    *,
    thresholds: tuple[float | ArrayLike, float | ArrayLike] = (0.5, 0.5),
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    **settings: Any,
) -> dict[str, Any]:
    """For each headline figure `first`, `second`, their `difference`, its interval and `p_value`.

    The difference is second less first. Both are measured on the same samples of images. The p-value is two-sided: how
    often, if neither were better, a bootstrap difference would lie so far on one side of 0; it is never less than
    `2 / (samples + 1)`. Where only one of the two walks paths, `predicted_set` compares its paths with the other's
    sets by threshold.

    Args:
        first: Predictions, such as the baseline's.
        second: Predictions for the same images and labels, in any order of the images.
        thresholds: Those of the first and those of the second, each one for all labels or one a label.
        samples: How many samples are drawn.
        seed: Where the draws start.
        level: The share of samples that the interval holds.
        settings: The others, as for :func:`bootstrap_intervals`.

    Raises:
        ValueError: the images, the labels or the truth differ.
    """
    order = _match_images(first, second)
    weights = _draw(len(first.image_ids), samples, seed)
    sets = second.path_sets
    one = _resample(first.scores, first.truth, first.path_sets, weights, thresholds=thresholds[0], **settings)
    sets = None if sets is None else sets[order]
    other = _resample(second.scores[order], first.truth, sets, weights, thresholds=thresholds[1], **settings)
    if ("path.CF1" in one) != ("path.CF1" in other):
        for drawn in (one, other):
            own_set = "path" if "path.CF1" in drawn else "threshold"
            drawn |= {f"predicted_set.{figure}": drawn[f"{own_set}.{figure}"] for figure in SET_FIGURES}
    figures = {}
    for name in [name for name in one if name in other]:
        difference = other[name] - one[name]
        defined = difference[1:][~np.isnan(difference[1:])]
        side = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0)) + 1
        figures[name] = {
            "first": _number(one[name][0]),
            "second": _number(other[name][0]),
            "difference": _number(difference[0]),
            **_interval(difference[1:], level),
            "p_value": min(1.0, 2 * side / (len(defined) + 1)) if len(defined) else None,
        }
    return {"level": level, "samples": samples, "seed": seed, "images": len(order), "figures": figures}


def _match_images(first: StoredPredictions, second: StoredPredictions) -> NDArray[np.int64]:
    """For each image of the first its row in the second."""
    if first.label_names != second.label_names:
        raise ValueError("the two predictions have different label names: only the same labels can be compared")
    rows = {image_id: row for row, image_id in enumerate(second.image_ids)}
    missing = [image_id for image_id in first.image_ids if image_id not in rows]
    if missing or len(rows) != len(first.image_ids):
        extra = sorted(rows.keys() - set(first.image_ids))
        raise ValueError(
            f"the two predictions are not of the same images: {len(missing)} only in the first ({missing[:3]}), "
            f"{len(extra)} only in the second ({extra[:3]})"
        )
    order = np.array([rows[image_id] for image_id in first.image_ids], np.int64)
    different = np.flatnonzero((second.truth[order] != first.truth).any(axis=1))
    if len(different):
        raise ValueError(
            f"the truth differs for {len(different)} images, such as {first.image_ids[different[0]]!r}: expected "
            "predictions for the same labels of the same images"
        )
    return order


def _check(
    scores: ArrayLike | torch.Tensor, targets: ArrayLike | torch.Tensor, paths: ArrayLike | torch.Tensor | None
) -> tuple[Array, NDArray[np.int8], NDArray[np.bool_] | None]:
    """The checked arrays."""
    checked, truth = check_scores(scores, targets)
    if not len(checked):
        raise ValueError("no images to draw from")
    return checked, truth, None if paths is None else check_paths(paths, checked.shape)


def _draw(images: int, samples: int, seed: int) -> list[NDArray[np.uint8]]:
    """How often each sample holds each image (N, 1 + R), in blocks; the first column is the images as they are."""
    generator = np.random.default_rng(seed)
    columns = [np.ones(images, np.uint8)]
    for _ in range(samples):
        counts = np.bincount(generator.integers(0, images, images), minlength=images)
        columns.append(
            np.minimum(counts, 255).astype(np.uint8)
        )  # 255 draws of one image: less likely than any accident
    starts = range(0, len(columns), SAMPLES_AT_ONCE)
    return [np.ascontiguousarray(np.stack(columns[start : start + SAMPLES_AT_ONCE], axis=1)) for start in starts]


def _resample(
    scores: Array,
    truth: NDArray[np.int8],
    paths: NDArray[np.bool_] | None,
    weights: list[NDArray[np.uint8]],
    *,
    top_k: int = 3,
    thresholds: float | ArrayLike = 0.5,
    average_precision_method: Method = "area",
    map_k: int = 10,
    min_positives: int = 1,
) -> Samples:
    """The headline figures on every sample."""
    check_method(average_precision_method)
    kept = np.count_nonzero(truth == 1, axis=0) >= max(min_positives, 1)
    picks = {
        "path": paths,
        "threshold": pick_by_threshold(scores, thresholds),
        "expected_f1": join_picks(each_ranked(pick_by_expectation, scores, truth)),
        "top_k": join_picks(each_ranked(partial(pick_top_k, k=top_k), scores, truth)),
    }
    result: Samples = {"mAP": _mean_average_precision(scores, truth, kept, weights, average_precision_method)}
    for name, picked in picks.items():
        if picked is not None:
            figures = _set_figures(picked, truth, kept, weights)
            result |= {f"{name}.{figure}": values for figure, values in figures.items()}
    average = join_rankings(each_ranked(partial(rank_images, k=map_k), scores, truth)).average_precision_at_k
    defined = ~np.isnan(average)
    sums = [(np.nan_to_num(average) @ block, defined @ block.astype(np.float64)) for block in weights]
    result["ranking.MAP_at_k"] = np.concatenate([_quotient(total, count) for total, count in sums])
    return result


def _set_figures(
    picked: NDArray[np.bool_], truth: NDArray[np.int8], kept: NDArray[np.bool_], weights: list[NDArray[np.uint8]]
) -> Samples:
    """C-P ... O-F1 of predicted sets on every sample."""
    present = truth == 1
    parts = [part.astype(np.float32) for part in (picked & present, picked & (truth >= 0), present)]
    # one product of matrices counts all samples at once; sums of whole numbers below 2**24 are exact in float32
    hits, predicted, positives = (
        np.concatenate([block.T.astype(np.float32) @ part for block in weights]).astype(np.float64) for part in parts
    )
    used = kept & (positives > 0)
    classes = used.sum(axis=1)
    class_precision = _quotient((divide(hits, predicted) * used).sum(axis=1), classes)
    class_recall = _quotient((divide(hits, positives) * used).sum(axis=1), classes)
    all_hits, all_predicted, all_positives = hits.sum(axis=1), predicted.sum(axis=1), positives.sum(axis=1)
    defined = np.where(all_positives > 0, 1, np.nan)
    return {
        "CP": class_precision,
        "CR": class_recall,
        "CF1": divide(2 * class_precision * class_recall, class_precision + class_recall)
        * np.where(classes > 0, 1, np.nan),
        "OP": divide(all_hits, all_predicted) * defined,
        "OR": divide(all_hits, all_positives) * defined,
        "OF1": divide(2 * all_hits, all_predicted + all_positives) * defined,
    }


def _mean_average_precision(
    scores: Array,
    truth: NDArray[np.int8],
    kept: NDArray[np.bool_],
    weights: list[NDArray[np.uint8]],
    method: Method,
) -> NDArray[np.float64]:
    """The mAP on every sample."""
    samples = sum(block.shape[1] for block in weights)
    total, classes = np.zeros(samples), np.zeros(samples)
    for label in tqdm(np.flatnonzero(kept), desc="bootstrap", unit="class", leave=False, disable=None):
        counted = np.flatnonzero(truth[:, label] >= 0)
        order = counted[np.argsort(-scores[counted, label], kind="stable")]
        present = truth[order, label] == 1
        # Precision changes at positives alone, so rows between two of them are summed once for all samples:
        # groups of rows, each of which ends where a threshold at a positive's score would cut.
        descending = scores[order, label]
        levels = np.unique(descending[present])
        ends = len(order) - np.searchsorted(descending[::-1], levels[::-1])
        starts = np.concatenate([[0], ends[:-1]])
        positives = order[present]
        positive_starts = np.searchsorted(np.flatnonzero(present), starts)
        values = [
            _sampled_average_precision(
                np.add.reduceat(block[order[: ends[-1]]], starts, axis=0, dtype=np.int64),
                np.add.reduceat(block[positives], positive_starts, axis=0, dtype=np.int64),
                method,
            )
            for block in weights
        ]
        average = np.concatenate(values)
        total += np.nan_to_num(average)
        classes += ~np.isnan(average)
    return _quotient(total, classes)


def _sampled_average_precision(
    entries: NDArray[np.int64], positives: NDArray[np.int64], method: Method
) -> NDArray[np.float64]:
    """The average precision (R,) from entries and positives (J, R) in groups of falling score; NaN of no positives."""
    hits = positives.cumsum(axis=0)
    precision = divide(hits, entries.cumsum(axis=0))
    all_positives = hits[-1]
    if method == "area":
        return _quotient((positives * precision).sum(axis=0), all_positives)
    # the 11-point form takes at each recall the best precision at that recall or beyond
    best_beyond = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    total = np.zeros(hits.shape[1])
    for recall in range(11):
        first = (10 * hits >= recall * all_positives).argmax(axis=0)
        total += np.take_along_axis(best_beyond, first[None], axis=0)[0]
    return np.where(all_positives > 0, total / 11, np.nan)


def _quotient(numerator: Array, denominator: Array) -> NDArray[np.float64]:
    """The quotients, NaN where the denominator is 0."""
    return np.where(denominator > 0, divide(numerator, denominator), np.nan)


def _interval(values: NDArray[np.float64], level: float) -> dict[str, float | None]:
    """The ends between which the middle share of the values lies."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return {"low": None, "high": None}
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}


def _number(value: float) -> float | None:
    """The value, None for NaN."""
    return None if np.isnan(value) else float(value)
