"""Scores and targets of any kind become checked numpy arrays."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

BLOCK_ENTRIES = 1 << 19  # entries of a working block: small enough for the cache, and memory stays flat


def as_array(values: ArrayLike | torch.Tensor) -> Array:
    """The values as a numpy array, on the CPU and without gradients; half precision becomes float32."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype in {torch.float16, torch.bfloat16} else values).numpy()
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def check_scores(
    scores: ArrayLike | torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    mask: ArrayLike | torch.Tensor | None = None,
) -> tuple[Array, NDArray[np.int8]]:
    """Scores (N, C) as float32 or float64, and the truth (N, C): 1 present, 0 absent, -1 left out.

    An entry is left out where its target is negative or its mask is False. A score that is left out may be anything,
    NaN included.

    Raises:
        ValueError: shapes differ, a target is neither 0, 1 nor negative, or a score that counts is not finite.
    """
    checked = as_array(scores)
    if checked.ndim != 2 or checked.dtype.kind not in "fiub":
        raise ValueError(
            f"scores have shape {checked.shape} and type {checked.dtype}: expected numbers of shape (N, C)"
        )
    if checked.dtype.kind != "f" or checked.dtype.itemsize > 8:
        checked = checked.astype(np.float64)
    truth = _check_truth(as_array(targets), checked.shape)
    if mask is not None:
        counts = as_array(mask)
        if counts.shape != truth.shape or counts.dtype != np.bool_:
            raise ValueError(
                f"the mask has shape {counts.shape} and type {counts.dtype}: expected bool of shape {truth.shape}, "
                "True where the entry counts"
            )
        truth[~counts] = -1
    finite = np.isfinite(checked)
    if not finite.all():
        bad = np.argwhere(~finite & (truth >= 0))
        if len(bad):
            row, label = map(int, bad[0])
            raise ValueError(
                f"the score of row {row}, label {label} is {checked[row, label]} ({len(bad)} such in all): expected "
                "finite numbers; look for a diverged model, or clip log probabilities"
            )
    return checked, truth


def _check_truth(targets: Array, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Targets of 1, 0 or less than 0 -> 1, 0, -1."""
    if targets.shape != shape:
        raise ValueError(f"targets have shape {targets.shape}, scores {shape}: expected the same (N, C)")
    present, left_out = targets == 1, targets < 0
    allowed = present | left_out | (targets == 0)
    if not allowed.all():
        row, label = map(int, np.argwhere(~allowed)[0])
        raise ValueError(
            f"the target of row {row}, label {label} is {targets[row, label]}: expected 1 (present), 0 (absent) or a "
            "negative value (left out)"
        )
    truth: NDArray[np.int8] = present.astype(np.int8) - left_out.astype(np.int8)
    return truth


def check_paths(paths: ArrayLike | torch.Tensor, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The predicted sets (N, C) as bool.

    Raises:
        ValueError: they are not 0 or 1 of the scores' shape.
    """
    sets = as_array(paths)
    if sets.shape != shape:
        raise ValueError(
            f"paths have shape {sets.shape}, scores {shape}: expected the predicted sets as 0 or 1 of the same (N, C)"
        )
    picked: NDArray[np.bool_] = sets == 1
    if sets.dtype != np.bool_ and not (picked | (sets == 0)).all():
        raise ValueError("paths hold a value that is neither 0 nor 1: expected a multi-hot (N, C), not label ids")
    return picked


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cover the rows, each of about `BLOCK_ENTRIES` entries."""
    step = max(1, BLOCK_ENTRIES // max(1, columns))
    return (slice(start, start + step) for start in range(0, rows, step))


def in_threads(*kinds: Sequence[Callable[[], Any]]) -> list[list[Any]]:
    """What the tasks of each kind give, in order, by as many threads as torch may use: numpy itself takes one.

    Kinds take turns. Python runs one thread at a time, so tasks of many small operations are best side by side with
    those of few large ones.
    """
    threads = min(torch.get_num_threads(), sum(map(len, kinds)))
    if threads < 2:
        return [[task() for task in tasks] for tasks in kinds]
    results: list[list[Future[Any]]] = [[] for _ in kinds]
    with ThreadPoolExecutor(threads) as pool:
        for turn in zip_longest(*kinds):
            for found, task in zip(results, turn, strict=True):
                if task is not None:
                    found.append(pool.submit(task))
    return [[future.result() for future in found] for found in results]


def count_flags(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many are set in each row and in each column; einsum is the fastest count that starts no threads."""
    numbers = flags.astype(np.int32)
    by_row, by_column = np.einsum("rc->r", numbers), np.einsum("rc->c", numbers)
    return by_row.astype(np.int64), by_column.astype(np.int64)
