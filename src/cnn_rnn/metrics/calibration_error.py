"""Whether a probability of 0.7 comes true 7 times in 10."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import Array


@dataclass(frozen=True)
class Reliability:
    """What falls into each of B equally wide bins of probability, all labels together; a bin holds its lower edge."""

    entries: NDArray[np.int64]  # (B,)
    positives: NDArray[np.int64]  # (B,)
    score_sum: NDArray[np.float64]  # (B,)

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            self.entries + other.entries, self.positives + other.positives, self.score_sum + other.score_sum
        )

    def expected_error(self) -> float | None:
        """The mean over all entries of |mean probability - share of positives| in their bin, None of nothing."""
        total = int(self.entries.sum())
        return math.fsum(np.abs(self.score_sum - self.positives)) / total if total else None


def class_reliability(counted: Array, positives: Array, bins: int) -> Reliability | None:
    """The reliability of one class from its ascending scores; None where they leave 0..1, being no probabilities."""
    if len(counted) and (counted[0] < 0 or counted[-1] > 1):
        return None
    # in the scores' own precision, or a float32 score of 0.1 would lie on the wrong side of the edge 0.1
    inner_edges = (np.arange(1, bins) / bins).astype(counted.dtype)
    edges = np.concatenate([[0], np.searchsorted(counted, inner_edges), [len(counted)]])
    positive_edges = np.concatenate([[0], np.searchsorted(positives, inner_edges), [len(positives)]])
    entries = np.diff(edges)
    score_sum = np.zeros(bins)
    if len(counted):
        filled = entries > 0
        score_sum[filled] = np.add.reduceat(counted, edges[:-1][filled], dtype=np.float64)
    return Reliability(entries, np.diff(positive_edges), score_sum)
