"""Time and memory of all figures beside scikit-learn's average precision alone.

The floor is the time that numpy's own sort of every label's scores takes, shared by all cores: nothing ranks for less.
"""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from row import Part, Row
from sklearn.metrics import average_precision_score
from turns import Turns

from cnn_rnn.metrics import MultiLabelMetrics

Generated = tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True)
class Size:
    """A data set's size, what is wanted of it, and the key of its ratio."""

    images: int
    labels: int
    labels_per_image: float
    dtype: type
    wanted: str = ""
    key: str = ""


SIZES = {
    "coco_float32": Size(40_504, 80, 2.9, np.float32, "<= 0.2", "metrics_over_sklearn_float32"),
    "coco_float64": Size(40_504, 80, 2.9, np.float64, "<= 0.25", "metrics_over_sklearn_float64"),
    "nus_wide_float32": Size(107_859, 81, 1.9, np.float32),
}


def make_rows(images: int, labels: int, labels_per_image: float, dtype: type = np.float32) -> Generated:
    """Scores (N, C) as a sigmoid gives them, targets and predicted sets, of a data set's size."""
    generator = np.random.default_rng(0)
    targets = (generator.random((images, labels)) < labels_per_image / labels).astype(np.float32)
    logits = generator.normal(size=(images, labels)) + 3 * targets - 3
    scores: NDArray[Any] = (1 / (1 + np.exp(-logits))).astype(dtype)
    return scores, targets, scores > 0.5


def measure_once(rows: Generated) -> dict[str, Any]:
    """All figures of the rows."""
    metrics = MultiLabelMetrics()
    metrics.update(rows[0], rows[1], paths=rows[2])
    return metrics.compute()


def peak_bytes(rows: Generated, batch: int) -> int:
    """The most memory held at once while the rows are taken in by batches and measured, beyond the rows themselves."""
    scores, targets, paths = rows
    tracemalloc.start()
    try:
        metrics = MultiLabelMetrics()
        for start in range(0, len(scores), batch):
            part = slice(start, start + batch)
            metrics.update(scores[part], targets[part], paths=paths[part])
        metrics.compute()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    return {
        name: Part(partial(measure_size, name=name, size=size), (size.key,) if size.key else ())
        for name, size in SIZES.items()
    }


def measure_size(_: Path, name: str, size: Size) -> Iterator[Row]:
    """Seconds and memory at the size of one data set."""
    rows = make_rows(size.images, size.labels, size.labels_per_image, size.dtype)
    scores, targets = rows[:2]
    columns = np.ascontiguousarray(scores.T)
    times = Turns.take(
        {
            "all figures": partial(measure_once, rows),
            "scikit-learn": partial(average_precision_score, targets, scores, average=None),
            "sort": partial(np.sort, columns, axis=1),
        },
        turns=7,
    )
    own, reference = times["all figures"], times["scikit-learn"]
    floor = times["sort"].least / torch.get_num_threads() / reference.least
    median = own.median / reference.median
    what = f"all figures, {name}, {size.images:,} x {size.labels}"
    yield Row(what, own.least, "s; sklearn's AP alone", reference.least, size.wanted, size.key, median, floor)
    if not size.key:
        yield Row(f"{what}, in all", own.least, "s", wanted="<= 2")
    peak = max(peak_bytes(rows, batch) for batch in (64, size.images))
    yield Row(f"peak memory, {name}", peak / scores.nbytes, "score matrices", wanted="<= 3")
