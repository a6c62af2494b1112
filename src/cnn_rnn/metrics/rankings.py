"""How well an image's scores put its labels first: MAP@k, ranking loss, coverage error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import Array, count_by_row, in_threads, row_blocks


@dataclass(frozen=True)
class ImageRankings:
    """One figure an image (N,), NaN where it is not defined and the image takes no part in the mean."""

    average_precision_at_k: NDArray[np.float64]
    ranking_loss: NDArray[np.float64]
    coverage: NDArray[np.float64]


def rank_images(scores: Array, truth: NDArray[np.int8], k: int) -> ImageRankings:
    """The ranking figures of every image, over the labels that are not left out.

    - AP@k: over the true labels among the first k, the sum of the precision at their ranks, divided by min(k, true
      labels). Equal scores go by lower label id. NaN for an image without labels.
    - ranking loss: the share of (present, absent) pairs in the wrong order, a tie being wrong; 0 where there is none.
    - coverage: how far down the ranking every present label is met, ties against us; 0 without labels.

    The last two are scikit-learn's definitions; they are NaN where every label is left out.
    """
    images, labels = scores.shape
    precision_sum, wrong_pairs, coverage = np.zeros((3, images))
    positives, counted = np.zeros((2, images), np.int64)

    def rank_rows(rows: slice) -> None:
        states = truth[rows]
        positives[rows], counted[rows] = count_by_row(states == 1), count_by_row(states >= 0)
        everything = bool((counted[rows] == labels).all())
        block = scores[rows] if everything else np.where(states < 0, -np.inf, scores[rows])
        # Only the positives are ranked: they are few, and a full argsort of every row costs several times the rest.
        image, own = np.divmod(np.flatnonzero(states == 1), labels)  # one entry a positive (P,) from here on
        if not len(image):
            return
        lowest_rank, rank = (
            np.sort(image * (labels + 1) + ranks) - image * (labels + 1)  # ascending within each image
            for ranks in _rank_entries(block, image, own)
        )
        # positives met so far within their own image: their running number less those of the images before
        hits = np.arange(1, len(image) + 1) - (np.cumsum(positives[rows]) - positives[rows])[image]
        precision_sum[rows] = np.bincount(image, np.where(rank <= k, hits / rank, 0), len(block))
        # a pair is wrong when the absent label scores as high or higher: of equal positives the last one counts
        last_of_ties = np.append((np.diff(image) > 0) | (np.diff(lowest_rank) > 0), values=True)
        not_lower = hits[last_of_ties][np.cumsum(last_of_ties) - last_of_ties]
        wrong_pairs[rows] = np.bincount(image, lowest_rank - not_lower, len(block))
        coverage[rows][image] = lowest_rank  # of an image's ranks the last, the greatest, stays

    in_threads(rank_rows, row_blocks(images, labels))
    pairs = positives * (counted - positives)
    nothing = counted == 0
    average = np.full(images, np.nan)
    np.divide(precision_sum, np.minimum(positives, k), out=average, where=positives > 0)
    loss = np.divide(wrong_pairs, pairs, out=np.zeros(images), where=pairs > 0)
    return ImageRankings(average, np.where(nothing, np.nan, loss), np.where(nothing, np.nan, coverage))


def _rank_entries(
    scores: Array, image: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ranks (P,) from 1 of the entries (image, own) of scores (B, C): ties against them, and ties by label id."""
    labels = scores.shape[1]
    ascending = np.sort(scores, axis=1).ravel()
    score = scores[image, own]
    # a binary search in every row at once: `below` ends as the number of scores that are less
    below, start = np.zeros(len(score), np.int64), image * labels
    step = 1 << max(labels - 1, 0).bit_length()
    while step := step >> 1:
        ahead = np.minimum(below + step, labels)
        below = np.where(ascending[start + ahead - 1] < score, ahead, below)
    lowest_rank = labels - below
    rank = lowest_rank.copy()
    following = np.minimum(below + 1, labels - 1)
    tied = np.flatnonzero((ascending[start + following] == score) & (lowest_rank > 1))
    for block in row_blocks(len(tied), labels):
        which = tied[block]
        others, value = scores[image[which]], score[which, None]
        rank[which] = count_by_row((others > value) | ((others == value) & (np.arange(labels) <= own[which, None])))
    return lowest_rank, rank
