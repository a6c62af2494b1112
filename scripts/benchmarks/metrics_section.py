"""Time and memory of the figures beside scikit-learn's, as ratios measured in turns in one run.

`python scripts/benchmarks/metrics_section.py` prints one JSON object; `measure_metrics()` gives it to other scripts.
"""

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from cnn_rnn.metrics import MultiLabelMetrics

Rows = tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_]]


def make_rows(images: int, labels: int, labels_per_image: float, dtype: type = np.float32) -> Rows:
    """Scores (N, C) as a sigmoid gives them, targets and predicted sets, of a data set's size."""
    generator = np.random.default_rng(0)
    targets = (generator.random((images, labels)) < labels_per_image / labels).astype(np.float32)
    logits = generator.normal(size=(images, labels)) + 3 * targets - 3
    scores: NDArray[Any] = (1 / (1 + np.exp(-logits))).astype(dtype)
    return scores, targets, scores > 0.5


def measure_once(rows: Rows) -> dict[str, Any]:
    """All figures of the rows."""
    metrics = MultiLabelMetrics()
    metrics.update(rows[0], rows[1], paths=rows[2])
    return metrics.compute()


def best_seconds(tasks: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The least time of each task; they run in turns, so that a busy machine slows all alike."""
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(turns):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def peak_bytes(rows: Rows, batch: int) -> int:
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


def measure_metrics(turns: int = 7) -> dict[str, Any]:
    """Seconds, ratios and memory at the sizes of COCO 2014 val and the NUS-WIDE test part."""
    result: dict[str, Any] = {}
    sizes = {
        "coco_float32": (40_504, 80, 2.9, np.float32),
        "coco_float64": (40_504, 80, 2.9, np.float64),
        "nus_wide_float32": (107_859, 81, 1.9, np.float32),
    }
    for name, (images, labels, labels_per_image, dtype) in sizes.items():
        rows = make_rows(images, labels, labels_per_image, dtype)
        scores, targets = rows[:2]
        seconds = best_seconds(
            {
                "all_figures_seconds": partial(measure_once, rows),
                "sklearn_average_precision_seconds": partial(average_precision_score, targets, scores, average=None),
            },
            turns,
        )
        own, reference = seconds.values()
        peaks = {f"peak_memory_{name}": peak_bytes(rows, batch) for name, batch in (("batches", 64), ("whole", images))}
        result[name] = {
            **seconds,
            "time_ratio": own / reference,
            **{f"{key}_per_score_matrix": peak / scores.nbytes for key, peak in peaks.items()},
        }
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7, help="how often each task runs; the best time counts")
    json.dump(measure_metrics(parser.parse_args().turns), sys.stdout, indent=2)
    sys.stdout.write("\n")
