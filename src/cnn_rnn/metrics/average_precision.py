"""Average precision: how well a class's scores put its images first."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Literal, TypeVar, get_args, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .checked_arrays import Array, check_scores, in_threads

Method = Literal["area", "11point"]
COLUMNS_AT_ONCE = 8  # that are copied out of the matrix together: one by one each would read all of it

Result = TypeVar("Result")


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
    (parts,) = in_threads(class_tasks(partial(class_average_precision, method=method), checked, truth))
    result = np.array(list(chain.from_iterable(parts)), np.float64)
    return torch.from_numpy(result) if isinstance(scores, torch.Tensor) else result


def check_method(method: str) -> None:
    """Nothing, or a ValueError for an unknown definition of average precision."""
    if method not in get_args(Method):
        raise ValueError(f"average precision {method!r} is unknown: expected one of {', '.join(get_args(Method))}")


def class_tasks(
    work: Callable[[Array, Array], Result], scores: Array, truth: NDArray[np.int8]
) -> list[Callable[[], list[Result]]]:
    """Tasks that give what `work` makes of some classes' scores each, as `sorted_classes` gives them, in order."""

    def some(first: int) -> list[Result]:
        columns = slice(first, first + COLUMNS_AT_ONCE)
        return [work(*each) for each in sorted_classes(scores[:, columns], truth[:, columns])]

    return [partial(some, first) for first in range(0, scores.shape[1], COLUMNS_AT_ONCE)]


def sorted_classes(scores: Array, truth: NDArray[np.int8]) -> Iterator[tuple[Array, Array]]:
    """For every class its scores that count, and those of its positives, both ascending.

    Sorting values instead of indices is what makes this fast; all figures of a class follow from these two arrays,
    which do not depend on the order of the rows.
    """
    for first in range(0, scores.shape[1], COLUMNS_AT_ONCE):
        columns = slice(first, first + COLUMNS_AT_ONCE)
        block = np.array(scores[:, columns].T, order="C")  # a copy, held a block at a time: it is sorted in place
        states = np.ascontiguousarray(truth[:, columns].T)
        for column, state in zip(block, states, strict=True):
            positives = np.sort(column[state == 1])
            left_out = state < 0
            skipped = int(np.count_nonzero(left_out))
            if skipped:
                column[left_out] = -np.inf  # below every finite score
            column.sort()
            yield column[skipped:], positives


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
