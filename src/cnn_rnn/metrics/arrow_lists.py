"""Arrays of numbers as lists of Arrow, and back: rectangles, and the ids that are set in each row."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .checked_arrays import Array


def equal_lists(values: Array) -> pa.Array:
    """A rectangle (N, M) as N lists of M."""
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), pa.float32()))


def trimmed_lists(values: Array, kept: NDArray[np.bool_]) -> pa.Array:
    """The kept entries of each row (N, M) as N lists of ids."""
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values[kept], pa.int32()))


def lists_of_labels(flags: NDArray[np.bool_]) -> pa.Array:
    """The ids of the labels that are set in each row (N, C)."""
    return trimmed_lists(np.broadcast_to(np.arange(flags.shape[1], dtype=np.int32), flags.shape), flags)


def lengths_of(lists: pa.Array) -> NDArray[np.int64]:
    """The length of every list."""
    return np.asarray(np.diff(lists.offsets.to_numpy()).astype(np.int64))


def same_length(lists: pa.Array, name: str) -> int:
    """The length that all lists share."""
    lengths = np.unique(lengths_of(lists))
    if len(lengths) > 1:
        raise ValueError(f"column {name!r} has lists of {lengths[0]} and of {lengths[-1]}: expected one length")
    return int(lengths[0]) if len(lengths) else 0


def rectangle(lists: pa.Array, name: str) -> NDArray[np.float32]:
    """Lists of one length as a rectangle (N, M)."""
    values = lists.flatten()
    if values.null_count:
        raise ValueError(f"column {name!r} has empty cells")
    return np.asarray(values.to_numpy().reshape(len(lists), same_length(lists, name)))


def label_entries(lists: pa.Array, name: str, labels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and label id of every entry of the lists."""
    values = lists.flatten()
    if values.null_count or lists.null_count:
        raise ValueError(f"column {name!r} has empty cells")
    ids = values.to_numpy().astype(np.int64)
    if len(ids) and not 0 <= ids.min() <= ids.max() < labels:
        raise ValueError(f"column {name!r} holds label id {ids.min()} or {ids.max()}: expected 0..{labels - 1}")
    return np.repeat(np.arange(len(lists)), lengths_of(lists)), ids
