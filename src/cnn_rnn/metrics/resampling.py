"""How sure a figure is: its interval over images, and a paired test of two predictions for the same images.

Two things part the figure of some images from that of endlessly many from the same source:

- chance, whose size, the standard error, follows from what each image adds to the figure;
- bias: an average precision from few positives is too high on average, because the first image found counts itself, and
  a precision is too low where it is 0 because a rare class was not predicted once.

A bootstrap mixes them up where classes have a handful of positives: it draws an image twice and leaves classes out.
"""

from collections.abc import Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from cnn_rnn.label_rules import LabelRules

from . import influence
from .average_precision import Method, average_precision, check_method
from .checked_arrays import Array, check_paths, check_scores
from .influence import Estimate
from .intervals import find_interval
from .label_sets import divide, join_picks, pick_sets
from .ranked_rows import each_ranked
from .rankings import join_rankings, rank_images
from .stored_predictions import StoredPredictions

SET_FIGURES = ("CP", "CR", "CF1", "OP", "OR", "OF1", "example_F1", "exact_match")
SAMPLES_AT_ONCE = 100  # samples that are measured together
# By so many times what half the images have it higher is the mean average precision of all too high: about 2 in
# simulations with the label frequencies of Corel5k, VOC and COCO (scripts/benchmarks/interval_coverage.py).
DRIFTS_LEFT = 2


def bootstrap_intervals(
    scores: ArrayLike | torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    paths: ArrayLike | torch.Tensor | None = None,
    sets: ArrayLike | torch.Tensor | None = None,
    *,
    samples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    **settings: Any,
) -> dict[str, Any]:
    """For each headline figure its `value`, `standard_error`, and the `low` and `high` end of its interval.

    With the probability `level` the interval holds the figure of endlessly many images from the same source; means over
    classes are then over the classes measured here, those with `min_positives` positives. Where more than chance parts
    the value from that figure, classes are too rare for an interval: `low` and `high` are None, and `reason` says why.
    The standard error holds all the same: so much does the value vary from one set of as many images to another.

    Figures are named like `"mAP"`, `"path.CF1"`, `"top_k.OF1"`, `"ranking.MAP_at_k"`; all of it is ready for JSON.

    Args:
        scores: (N, C).
        targets: (N, C) 1 present, 0 absent, negative left out.
        paths: (N, C) 0/1, the labels on the predicted path.
        sets: (N, C) 0/1, the best whole set.
        samples: How many half sets are drawn, in pairs that share no image.
        seed: Where the draws start; the same seed gives the same intervals.
        level: How often an interval holds what it is for.
        settings: `top_k`, `thresholds`, `average_precision_method`, `map_k`, `min_positives`, `rules` as
            :class:`MultiLabelMetrics` takes them.
    """
    checked, truth = check_scores(scores, targets)
    if not len(checked):
        raise ValueError("no images to draw from")
    given = {"path": paths, "set": sets}
    checked_sets = {name: None if one is None else check_paths(one, checked.shape) for name, one in given.items()}
    estimates = _estimate(checked, truth, checked_sets, _draw_halves(len(truth), samples, seed), **settings)
    return {
        "level": level,
        "samples": samples,
        "seed": seed,
        "figures": {
            name: {"value": _number(estimate.value), "standard_error": _number(estimate.standard_error)}
            | find_interval(estimate, level)
            for name, estimate in estimates.items()
        },
    }


def compare_paired(
    first: StoredPredictions,
    second: StoredPredictions,
    *,
    thresholds: tuple[float | ArrayLike, float | ArrayLike] = (0.5, 0.5),
    rules: tuple[LabelRules | None, LabelRules | None] = (None, None),
    samples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    **settings: Any,
) -> dict[str, Any]:
    """For each headline figure `first`, `second`, their `difference`, its `standard_error`, interval and `p_value`.

    The difference is second less first, image by image; its interval is as those of :func:`bootstrap_intervals`, and
    exists more often, because most of the bias is the same in both. The p-value is two-sided: how often, if neither
    were better, so great a difference would come by chance; 1 where the two predict the same. Where only one of the
    two walks paths, `predicted_set` compares its paths with the other's sets by threshold.

    Args:
        first: Predictions, such as the baseline's.
        second: Predictions for the same images and labels, in any order of the images.
        thresholds: Those of the first and those of the second, each one for all labels or one per label.
        rules: Those between labels that the sets of the first, and of the second, obey.
        samples: How many half sets are drawn, in pairs that share no image.
        seed: Where the draws start.
        level: How often an interval holds what it is for.
        settings: The others, as for :func:`bootstrap_intervals`.

    Raises:
        ValueError: the images, the labels or the truth differ.
    """
    order = _match_images(first, second)
    halves = _draw_halves(len(first.image_ids), samples, seed)
    settings_of = [settings | {"thresholds": each, "rules": own} for each, own in zip(thresholds, rules, strict=True)]
    second = second.select(order)
    one, other = (
        _estimate(each.scores, first.truth, {"path": each.path_sets, "set": each.sets}, halves, **own)
        for each, own in zip((first, second), settings_of, strict=True)
    )
    if ("path.CF1" in one) != ("path.CF1" in other):
        for estimates in (one, other):
            own_set = "path" if "path.CF1" in estimates else "threshold"
            estimates |= {f"predicted_set.{figure}": estimates[f"{own_set}.{figure}"] for figure in SET_FIGURES}
    figures = {}
    for name in [name for name in one if name in other]:
        difference = other[name] - one[name]
        error = difference.standard_error
        chance = 2 * NormalDist().cdf(-abs(difference.value) / error) if error > 0 else float(difference.value == 0)
        figures[name] = {
            "first": _number(one[name].value),
            "second": _number(other[name].value),
            "difference": _number(difference.value),
            "standard_error": _number(error),
            **find_interval(difference, level, share=False),
            "p_value": None if np.isnan(difference.value) or np.isnan(error) else chance,
        }
    return {"level": level, "samples": samples, "seed": seed, "images": len(order), "figures": figures}


def estimate_runs(
    runs: Sequence[StoredPredictions], *, samples: int = 200, seed: int = 0, **settings: Any
) -> dict[str, Estimate]:
    """The headline figures by name, means over runs on the same images, such as those of several seeds.

    What chance they have is that of the images: other seeds would differ besides.

    Args:
        runs: Predictions of each, with its own thresholds and rules.
        samples: How many half sets are drawn, in pairs that share no image.
        seed: Where the draws start.
        settings: The others, as for :func:`bootstrap_intervals`.

    Raises:
        ValueError: the images, the labels or the truth differ.
    """
    halves, each = _draw_halves(len(runs[0].image_ids), samples, seed), []
    for one in runs:
        run = one.select(_match_images(runs[0], one))
        own = settings | {"thresholds": run.info.get("thresholds") or 0.5, "rules": run.rules}
        given = {"path": run.path_sets, "set": run.sets}
        each.append(_estimate(run.scores, run.truth, given, halves, **own))
    return {name: Estimate.mean([one[name] for one in each]) for name in each[0] if all(name in one for one in each)}


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


def _draw_halves(images: int, samples: int, seed: int) -> list[NDArray[np.uint8]]:
    """The images that each half set holds (N, R), 0 or 1, in blocks; after each comes the other half.

    Where one half is lucky, the other is not: a few pairs tell what is left without chance.
    """
    generator = np.random.default_rng(seed)
    columns = []
    for _ in range((samples + 1) // 2):
        half = np.zeros(images, np.uint8)
        half[generator.permutation(images)[: images // 2]] = 1
        columns += [half, 1 - half]
    starts = range(0, len(columns), SAMPLES_AT_ONCE)
    return [np.ascontiguousarray(np.stack(columns[start : start + SAMPLES_AT_ONCE], axis=1)) for start in starts]


def _estimate(
    scores: Array,
    truth: NDArray[np.int8],
    given: dict[str, NDArray[np.bool_] | None],
    halves: list[NDArray[np.uint8]],
    *,
    top_k: int = 3,
    thresholds: float | ArrayLike = 0.5,
    average_precision_method: Method = "area",
    map_k: int = 10,
    min_positives: int = 1,
    rules: LabelRules | None = None,
) -> dict[str, Estimate]:
    """The headline figures by name; sets that are `given` (N, C) stand under their names."""
    check_method(average_precision_method)
    kept = np.count_nonzero(truth == 1, axis=0) >= max(min_positives, 1)
    parts = each_ranked(partial(pick_sets, thresholds=thresholds, k=top_k, rules=rules), scores, truth)
    picks = given | {way: join_picks([part[way] for part in parts]) for way in parts[0]}
    method = average_precision_method
    values = average_precision(scores, truth, method=method)
    measured = np.where(kept, values, np.nan)
    drift = _half_set_drift(scores, truth, measured, halves, method=method, least=min_positives / 2)
    bias = DRIFTS_LEFT * drift
    result = {"mAP": influence.mean_average_precision(scores, truth, kept, values, bias)}
    for name, picked in picks.items():
        if picked is not None:
            figures = influence.set_estimates(picked, truth, kept)
            result |= {f"{name}.{figure}": estimate for figure, estimate in figures.items()}
    average = join_rankings(each_ranked(partial(rank_images, k=map_k), scores, truth)).average_precision_at_k
    result["ranking.MAP_at_k"] = influence.image_mean(np.nan_to_num(average), ~np.isnan(average))
    return result


def _half_set_drift(
    scores: Array,
    truth: NDArray[np.int8],
    values: NDArray[np.float64],
    halves: list[NDArray[np.uint8]],
    *,
    method: Method,
    least: float = 0.5,
) -> float:
    """How much higher half sets have the mean of the average precisions (C,), those that are NaN left out.

    A class with fewer positives in a half set than `least` takes no part in its mean: those that are measured are the
    ones of which more than their share was drawn, there as in the whole.
    """
    samples = sum(half.shape[1] for half in halves)
    total, classes = np.zeros(samples), np.zeros(samples)
    for label in tqdm(np.flatnonzero(~np.isnan(values)), desc="intervals", unit="class", leave=False, disable=None):
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
        average = np.concatenate(
            [
                _sampled_average_precision(
                    np.add.reduceat(half[order[: ends[-1]]], starts, axis=0, dtype=np.int64),
                    np.add.reduceat(half[positives], positive_starts, axis=0, dtype=np.int64),
                    method,
                )
                for half in halves
            ]
        )
        used = np.concatenate([half[positives].sum(axis=0) for half in halves]) >= least
        total += np.where(used, average - values[label], 0)
        classes += used
    some = classes > 0
    return float((total[some] / classes[some]).mean()) if some.any() else 0.0


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


def _number(value: float) -> float | None:
    """The value, None for NaN."""
    return None if np.isnan(value) else float(value)
