"""All figures of a multi-label classifier, gathered batch by batch and across processes."""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import chain
from operator import add
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray

from cnn_rnn.label_rules import LabelRules

from .average_precision import Method, check_method, class_average_precision, class_tasks
from .calibration_error import Reliability, class_reliability
from .checked_arrays import Array, check_paths, check_scores, in_threads, row_blocks
from .label_sets import (
    Figures,
    SetCounts,
    TruthCounts,
    class_figures,
    count_sets,
    count_truth,
    join_counts,
    mean,
    pick_adjusted_top_k,
    pick_sets,
    set_figures,
)
from .ranked_rows import RankedRows
from .rankings import ImageRankings, join_rankings, rank_images


class KeptRows(NamedTuple):
    """Rows as they are kept, batch by batch or all together."""

    scores: Array  # (N, C) float32 or float64
    truth: NDArray[np.int8]  # (N, C) 1 present, 0 absent, -1 left out
    paths: NDArray[np.bool_] | None  # (N, C)
    sets: NDArray[np.bool_] | None  # (N, C)


class Measured(NamedTuple):
    """What figures are made of, of some images or of all."""

    truth: TruthCounts
    sets: dict[str, SetCounts | None]  # by the way they are chosen; None where it cannot choose
    rankings: ImageRankings


class MultiLabelMetrics:
    """The paper's tables and more from scores, targets and predicted paths.

    A left-out entry has no influence on any figure. Every figure is the same, bit for bit, whatever the order of the
    rows, the size of the batches or the number of processes.

    Args:
        labels: names in the order of the columns; the column numbers where None.
        top_k: labels predicted for each image in the `top_k` figures.
        thresholds: one for all labels or one per label (C,); a score at or above it predicts the label.
        average_precision_method: `"area"` or `"11point"`, see :func:`average_precision`.
        map_k: the depth of the image-wise MAP@k.
        calibration_bins: the bins of the expected calibration error.
        min_positives: a class with fewer positives takes no part in means over classes (and is named).
        label_counts: training images of each label (C), for the `adjusted_top_k` figures; none of these where None.
        rules: rules between labels, which the sets chosen here obey; None for none.
    """

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        *,
        top_k: int = 3,
        thresholds: float | ArrayLike = 0.5,
        average_precision_method: Method = "area",
        map_k: int = 10,
        calibration_bins: int = 15,
        min_positives: int = 1,
        label_counts: ArrayLike | None = None,
        rules: LabelRules | None = None,
    ) -> None:
        check_method(average_precision_method)
        self.top_k = top_k
        self.map_k = map_k
        self.calibration_bins = calibration_bins
        self.min_positives = min_positives
        for name in ("top_k", "map_k", "calibration_bins", "min_positives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")
        self.labels = None if labels is None else [str(label) for label in labels]
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise ValueError("two labels have the same name: expected one name a column")
        self.thresholds = _check_thresholds(thresholds)
        self.average_precision_method = average_precision_method
        self.label_counts = None if label_counts is None else _check_counts(label_counts)
        self.rules = rules
        self._batches: list[KeptRows] = []

    def update(
        self,
        scores: ArrayLike | torch.Tensor,
        targets: ArrayLike | torch.Tensor,
        mask: ArrayLike | torch.Tensor | None = None,
        paths: ArrayLike | torch.Tensor | None = None,
        sets: ArrayLike | torch.Tensor | None = None,
    ) -> None:
        """Take in one batch.

        Args:
            scores: (B, C) label scores; probabilities where the thresholds and the calibration error are to be of use.
            targets: (B, C) 1 present, 0 absent, negative left out.
            mask: (B, C) bool, False leaves the entry out.
            paths: (B, C) 0/1, the labels on the predicted path; with every batch or with none.
            sets: (B, C) 0/1, the best whole set; likewise.
        """
        checked, truth = check_scores(scores, targets, mask)
        given = [None if one is None else check_paths(one, checked.shape) for one in (paths, sets)]
        self._take(KeptRows(checked.copy(), truth, *given))

    def merge(self, other: Self) -> None:
        """Take in all that another accumulator of the same settings holds."""
        theirs = other.settings()
        for name, mine in self.settings().items():
            if mine != theirs[name]:
                raise ValueError(f"accumulators of different {name} cannot be merged: {mine} and {theirs[name]}")
        if len(other):
            self._take(other.rows())

    def gather(self) -> None:
        """Take in the rows of all processes, in each of them; every process must call it, even one that saw no row.

        Without torch.distributed nothing happens. Rows that a sampler repeats to fill the last batch must be gone
        before: accelerate's `gather_for_metrics` drops them.
        """
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return
        by_rank: list[KeptRows | None] = [None] * dist.get_world_size()
        dist.all_gather_object(by_rank, self.rows() if len(self) else None)
        kinds = [one and (one.scores.shape[1], one.paths is not None, one.sets is not None) for one in by_rank]
        if len(set(kinds) - {None}) > 1:
            raise ValueError(f"processes differ (labels, paths and sets by rank): {kinds}")
        self._batches = [one for one in by_rank if one is not None]

    def __len__(self) -> int:
        return sum(len(batch.scores) for batch in self._batches)

    def rows(self) -> KeptRows:
        """All rows taken in so far.

        Raises:
            ValueError: there are none.
        """
        if not len(self):
            raise ValueError("no rows to measure: call update with at least one batch first")
        if len(self._batches) > 1:
            parts: list[list[Any]] = [list(part) for part in zip(*self._batches, strict=True)]
            self._batches = []
            joined: list[Any] = []
            for part in parts:  # each kind is let go before the next is joined: never two copies of all
                joined.append(None if part[0] is None else np.concatenate(part))
                part.clear()
            self._batches = [KeptRows(*joined)]
        return self._batches[0]

    def compute(self) -> Figures:
        """All figures as fractions 0..1 in a plain dict ready for JSON; None stands where a figure is not defined.

        - `mAP`, the mean over the classes with at least `min_positives`, and `average_precision_method`;
        - `path` and `set` (None where none came), `threshold`, `expected_f1`, `top_k` and `adjusted_top_k` (None
          without label counts; see :func:`pick_adjusted_top_k`): see :func:`set_figures`;
        - `ranking`: `MAP_at_k` with its `k`, over the images with labels, `ranking_loss`, `coverage_error`;
        - `calibration`: `ECE` with its `bins`, None where a score leaves 0..1;
        - `per_class` by label: `AP`, `positives`, `counted` images; `precision`, `recall`, `F1` and
          `predicted` images by each of these sets;
        - `counts`: what went in, what was left out, and the `classes_without_positives` and
          `classes_left_out_of_means`, which no mean over classes includes.
        """
        scores, truth, paths, sets = self.rows()
        names = self.labels or [str(label) for label in range(scores.shape[1])]

        def judge(counted: Array, positives: Array) -> tuple[float | None, Reliability | None]:
            precision = class_average_precision(counted, positives, self.average_precision_method)
            return precision if len(positives) else None, class_reliability(counted, positives, self.calibration_bins)

        # Images by row and classes by column at once: either alone leaves threads waiting for Python.
        measured, judged = in_threads(
            self._image_tasks(scores, truth, {"path": paths, "set": sets}), class_tasks(judge, scores, truth)
        )
        truth_counts, counts, rankings = _join(measured)
        average_precisions, reliabilities = zip(*chain.from_iterable(judged), strict=True)
        blocks: Figures = {
            name: None if count is None else set_figures(count, truth_counts, self.min_positives)
            for name, count in counts.items()
        }
        blocks["threshold"]["thresholds"] = self.thresholds.tolist()
        blocks["top_k"]["k"] = self.top_k
        few = truth_counts.positives < self.min_positives
        kept = [value for value, skip in zip(average_precisions, few, strict=True) if value is not None and not skip]
        return {
            "mAP": mean(np.array(kept)),
            "average_precision_method": self.average_precision_method,
            **blocks,
            "ranking": self._ranking_figures(rankings),
            "calibration": {"ECE": _expected_error(reliabilities), "bins": self.calibration_bins},
            "per_class": _per_class(names, average_precisions, truth_counts, counts),
            "counts": _count_rows(names, truth_counts, self.min_positives),
        }

    def _image_tasks(
        self, scores: Array, truth: NDArray[np.int8], given: dict[str, NDArray[np.bool_] | None]
    ) -> list[Callable[[], Measured]]:
        """Tasks that measure some images each, in order."""

        def measure(rows: slice) -> Measured:
            ranked = RankedRows.of(scores[rows], truth[rows])
            picks = {
                **{name: None if sets is None else sets[rows] for name, sets in given.items()},
                **pick_sets(ranked, self.thresholds, self.top_k, self.rules),
                "adjusted_top_k": (
                    None
                    if self.label_counts is None
                    else pick_adjusted_top_k(ranked, self.top_k, self.label_counts, self.rules)
                ),
            }
            counts = {name: None if one is None else count_sets(one, ranked) for name, one in picks.items()}
            return Measured(count_truth(ranked), counts, rank_images(ranked, self.map_k))

        return [partial(measure, rows) for rows in row_blocks(*scores.shape)]

    def _take(self, batch: KeptRows) -> None:
        """Keep a checked batch that agrees with the ones before."""
        width = batch.scores.shape[1]
        expected = {
            "label names": None if self.labels is None else len(self.labels),
            "thresholds": self.thresholds.size if self.thresholds.ndim else None,
            "label counts": None if self.label_counts is None else len(self.label_counts),
            "columns in the batches before": self._batches[0].scores.shape[1] if self._batches else None,
        }
        for name, number in expected.items():
            if number is not None and number != width:
                raise ValueError(f"scores have {width} columns, but there are {number} {name}")
        for name in ("paths", "sets"):
            if self._batches and (getattr(batch, name) is None) != (getattr(self._batches[0], name) is None):
                raise ValueError(f"some batches came with {name} and some without: expected {name} with all or none")
        self._batches.append(batch)

    def settings(self) -> dict[str, Any]:
        """What two accumulators must agree on to be merged."""
        return {
            "labels": self.labels,
            "top_k": self.top_k,
            "thresholds": self.thresholds.tolist(),
            "average_precision_method": self.average_precision_method,
            "map_k": self.map_k,
            "calibration_bins": self.calibration_bins,
            "min_positives": self.min_positives,
            "label_counts": None if self.label_counts is None else self.label_counts.tolist(),
            "rules": None if self.rules is None else [self.rules.implied.tolist(), self.rules.members.tolist()],
        }

    def _ranking_figures(self, rankings: ImageRankings) -> Figures:
        """The image-wise ranking figures."""
        precision, loss, coverage = (mean(values[~np.isnan(values)]) for values in rankings)
        return {"MAP_at_k": precision, "k": self.map_k, "ranking_loss": loss, "coverage_error": coverage}


def _join(parts: Sequence[Measured]) -> Measured:
    """What all images have from what some have each, in order; None where the sets of one part are."""
    sets: dict[str, SetCounts | None] = {}
    for name in parts[0].sets:
        counts = [count for part in parts if (count := part.sets[name]) is not None]
        sets[name] = join_counts(counts) if len(counts) == len(parts) else None
    return Measured(join_counts([part.truth for part in parts]), sets, join_rankings([part.rankings for part in parts]))


def _check_thresholds(thresholds: ArrayLike) -> NDArray[np.float64]:
    """One threshold () or one per label (C,)."""
    try:
        checked = np.asarray(thresholds, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"thresholds {thresholds!r}: expected one number or one per label (C,)") from error
    if checked.ndim > 1 or np.isnan(checked).any():
        raise ValueError("thresholds: expected one number or one per label (C,), none of them NaN")
    return checked


def _check_counts(label_counts: ArrayLike) -> NDArray[np.float64]:
    """A number of images for each label (C,)."""
    checked = np.asarray(label_counts, np.float64)
    if checked.ndim != 1 or not (np.isfinite(checked) & (checked >= 0)).all():
        raise ValueError("label_counts: expected a number of training images, 0 or more, for each label (C,)")
    return checked


def _expected_error(reliabilities: Sequence[Reliability | None]) -> float | None:
    """The calibration error over all labels, None where one of them has no probabilities."""
    known = [reliability for reliability in reliabilities if reliability is not None]
    return reduce(add, known).expected_error() if known and len(known) == len(reliabilities) else None


def _per_class(
    names: list[str],
    average_precisions: Sequence[float | None],
    truth: TruthCounts,
    counts: dict[str, SetCounts | None],
) -> Figures:
    """The figures of every class; None where a class has no positives to define them."""
    counted, positives = truth.counted, truth.positives
    figures = {name: (count, class_figures(count, truth)) for name, count in counts.items() if count is not None}
    return {
        label: {
            "AP": average_precisions[index],
            "positives": int(positives[index]),
            "counted": int(counted[index]),
            **{
                name: {
                    **{key: float(values[index]) if positives[index] else None for key, values in by_class.items()},
                    "predicted": int(count.predicted[index]),
                }
                for name, (count, by_class) in figures.items()
            },
        }
        for index, label in enumerate(names)
    }


def _count_rows(names: list[str], truth: TruthCounts, min_positives: int) -> Figures:
    """What the rows hold, and what of it takes no part."""
    images, labels = len(truth.image_counted), len(names)
    without_labels = (truth.image_counted > 0) & (truth.image_positives == 0)
    return {
        "images": images,
        "labels": labels,
        "positives": int(truth.positives.sum()),
        "left_out": images * labels - int(truth.counted.sum()),
        "images_without_labels": int(np.count_nonzero(without_labels)),
        "images_left_out": int(np.count_nonzero(truth.image_counted == 0)),
        "classes_without_positives": [label for label, count in zip(names, truth.positives, strict=True) if not count],
        "min_positives": min_positives,
        "classes_left_out_of_means": [
            label for label, count in zip(names, truth.positives, strict=True) if count < min_positives
        ],
    }
