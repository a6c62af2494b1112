"""The scores of some images, sorted once for all who ask which of their labels come first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import Array, in_threads, row_blocks

Ranked = TypeVar("Ranked")


@dataclass(frozen=True)
class RankedRows:
    """Some images with the scores of each in order."""

    scores: Array  # (B, C), -inf where left out
    truth: NDArray[np.int8]  # (B, C) 1 present, 0 absent, -1 left out
    counted: NDArray[np.int64]  # (B,) labels that are not left out
    ascending: Array  # (B, C) the scores of each image, rising
    present_images: NDArray[np.int64]  # (P,) of every true label its image, rising, and its id
    present_labels: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Array, truth: NDArray[np.int8]) -> Self:
        """The images with these scores and this truth, (B, C) each."""
        labels, left_out = truth.shape[1], truth < 0
        counted = np.full(len(truth), labels)
        if left_out.any():
            counted -= np.count_nonzero(left_out, axis=1)
            scores = np.where(left_out, -np.inf, scores).astype(scores.dtype, copy=False)
        present = np.divmod(np.flatnonzero(truth == 1), labels)
        return cls(scores, truth, counted, np.sort(scores, axis=1), *present)

    def are_probabilities(self) -> bool:
        """Whether all scores that count lie in 0..1."""
        some = np.flatnonzero(self.counted)
        lowest = self.ascending[some, self.scores.shape[1] - self.counted[some]]
        return bool((lowest >= 0).all() and (self.ascending[some, -1] <= 1).all())

    def first(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The labels (B, C) with the `sizes` (B,) greatest scores of each image, of equal scores the lower label id."""
        labels = self.scores.shape[1]
        # Where nothing is picked, the last is beyond them all; where everything is, what follows is below them all.
        infinite = np.full((len(sizes), 1), np.inf, self.scores.dtype)
        bounds = np.concatenate([-infinite, self.ascending, infinite], axis=1)
        images = np.arange(len(sizes))
        last, following = bounds[images, labels + 1 - sizes], bounds[images, labels - sizes]
        picked: NDArray[np.bool_] = self.scores >= last[:, None]
        tied = np.flatnonzero((last == following) & (sizes > 0))
        if len(tied):
            above, equal = self.scores[tied] > last[tied, None], self.scores[tied] == last[tied, None]
            free = sizes[tied, None] - above.sum(axis=1, keepdims=True)
            picked[tied] = above | (equal & (equal.cumsum(axis=1) <= free))
        return picked


def each_ranked(work: Callable[[RankedRows], Ranked], scores: Array, truth: NDArray[np.int8]) -> list[Ranked]:
    """What `work` makes of all images, some at a time, by all threads."""

    def some(rows: slice) -> Ranked:
        return work(RankedRows.of(scores[rows], truth[rows]))

    (found,) = in_threads([partial(some, rows) for rows in row_blocks(*scores.shape)])
    return found
