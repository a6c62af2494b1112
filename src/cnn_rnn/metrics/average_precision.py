"""Average precision: how well a class's scores put its images first."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .checked_arrays import Array, check_scores

Method = Literal["area", "11point"]
LEAST_TO_SHARE = 1 << 17  # scores below which threads cost more than they save


@overload
def average_precision(
    scores: torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    mask: ArrayLike | torch.Tensor | None = None,
    method: Method = "area",
) -> torch.Tensor: ...
@overload
def average_precision(
    scores: ArrayLike,
    targets: ArrayLike | torch.Tensor,
    mask: ArrayLike | torch.Tensor | None = None,
    method: Method = "area",
) -> NDArray[np.float64]: ...
def average_precision(
    scores: ArrayLike | torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    mask: ArrayLike | torch.Tensor | None = None,
    method: Method = "area",
) -> NDArray[np.float64] | torch.Tensor:
    """The average precision of every class (C,), NaN for a class without positives.

    Equal scores are one threshold, so the order of the rows never matters. Where the scores are a tensor, a tensor
    comes back (float64, on the CPU), else an array.

    Args:
        scores: (N, C), any finite numbers; only their order within a class counts.
        targets: (N, C), 1 present, 0 absent, a negative value leaves the entry out.
        mask: (N, C) bool, False leaves the entry out.
        method: `"area"`, the area under the steps of the precision-recall curve, as scikit-learn defines it; or
            `"11point"`, the mean over recall 0, 0.1, ... 1 of the best precision at that recall or beyond, as VOC
            2007's development kit defines it (recalls are compared as exact fractions: 3 of 10 reaches 0.3).
    """
    check_method(method)
    checked, truth = check_scores(scores, targets, mask)
    result = np.array([class_average_precision(*columns, method=method) for columns in sorted_classes(checked, truth)])
    result = result.astype(np.float64)
    return torch.from_numpy(result) if isinstance(scores, torch.Tensor) else result


def check_method(method: str) -> None:
    """Nothing, or a ValueError for an unknown definition of average precision."""
    if method not in get_args(Method):
        raise ValueError(f"average precision {method!r} is unknown: expected one of {', '.join(get_args(Method))}")


def sorted_classes(scores: Array, truth: NDArray[np.int8], columns_at_once: int = 16) -> Iterator[tuple[Array, Array]]:
    """For every class its scores that count, and those of its positives, both ascending.

    Sorting values instead of indices is what makes this fast; all figures of a class follow from these two arrays,
    which do not depend on the order of the rows.
    """
    for first in range(0, scores.shape[1], columns_at_once):
        block = np.array(scores[:, first : first + columns_at_once].T, order="C")  # a copy: it is sorted in place
        states = np.ascontiguousarray(truth[:, first : first + columns_at_once].T)
        positives = [np.sort(column[state == 1]) for column, state in zip(block, states, strict=True)]
        left_out = states < 0
        if left_out.any():
            block[left_out] = -np.inf  # below every finite score
        _sort_rows(block)
        for column, positive, skipped in zip(block, positives, np.count_nonzero(left_out, axis=1), strict=True):
            yield column[skipped:], positive


def _sort_rows(block: Array) -> None:
    """Sort every row (R, N) in place, in as many threads as torch may use: numpy's own sort takes one."""
    threads = min(torch.get_num_threads(), len(block))
    if threads == 1 or block.size < LEAST_TO_SHARE:
        block.sort(axis=1)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(np.ndarray.sort, block):
            pass


def precision_at_positives(counted: Array, positives: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many positives score at least as much as each positive (P,), and the precision (P,) there."""
    hits = len(positives) - np.searchsorted(positives, positives)
    return hits, hits / (len(counted) - np.searchsorted(counted, positives))


def class_average_precision(counted: Array, positives: Array, method: Method) -> float:
    """The average precision of one class from its ascending scores, NaN without positives."""
    if not len(positives):
        return float("nan")
    hits, precision = precision_at_positives(counted, positives)
    if method == "area":
        return float(precision.mean())
    best_beyond = np.maximum.accumulate(precision)  # ascending scores: what comes before has at least this recall
    reached = [np.flatnonzero(10 * hits >= level * len(positives))[-1] for level in range(11)]
    return float(best_beyond[reached].mean())
