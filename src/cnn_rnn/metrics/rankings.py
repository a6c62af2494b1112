"""How well an image's scores put its labels first: MAP@k, ranking loss, coverage error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import row_blocks
from .ranked_rows import RankedRows


class ImageRankings(NamedTuple):
    """One figure per image (N,), NaN where it is not defined and the image takes no part in the mean."""

    average_precision_at_k: NDArray[np.float64]
    ranking_loss: NDArray[np.float64]
    coverage: NDArray[np.float64]


def rank_images(rows: RankedRows, k: int) -> ImageRankings:
    """The ranking figures of every image, over the labels that are not left out.

    - AP@k: over the true labels among the first k, the sum of the precision at their ranks, divided by min(k, true
      labels). Equal scores go by lower label id. NaN for an image without labels.
    - ranking loss: the share of (present, absent) pairs in the wrong order, a tie being wrong; 0 where there is none.
    - coverage: how far down the ranking every present label is met, ties against us; 0 without labels.

    The last two are scikit-learn's definitions; they are NaN where every label is left out.
    """
    images, labels = rows.scores.shape
    # Only the positives are ranked: they are few, and a full argsort of every row costs several times the rest.
    image = rows.present_images  # one entry a positive (P,) from here on
    positives = np.bincount(image, minlength=images)
    lowest_rank, rank = (
        np.sort(image * (labels + 1) + ranks) - image * (labels + 1)  # ascending within each image
        for ranks in _rank_present(rows)
    )
    # positives met so far within their own image: their running number less those of the images before
    hits = np.arange(1, len(image) + 1) - (np.cumsum(positives) - positives)[image]
    precision_sum = np.bincount(image, np.where(rank <= k, hits / rank, 0), images)
    # a pair is wrong when the absent label scores as high or higher: of equal positives the last one counts
    last_of_ties = np.ones(len(image), bool)
    last_of_ties[:-1] = (np.diff(image) > 0) | (np.diff(lowest_rank) > 0)
    not_lower = hits[last_of_ties][np.cumsum(last_of_ties) - last_of_ties]
    wrong_pairs = np.bincount(image, lowest_rank - not_lower, images)
    coverage = np.zeros(images)
    coverage[image] = lowest_rank  # of an image's ranks the last, the greatest, stays
    pairs = positives * (rows.counted - positives)
    nothing = rows.counted == 0
    average = np.full(images, np.nan)
    np.divide(precision_sum, np.minimum(positives, k), out=average, where=positives > 0)
    loss = np.divide(wrong_pairs, pairs, out=np.zeros(images), where=pairs > 0)
    return ImageRankings(average, np.where(nothing, np.nan, loss), np.where(nothing, np.nan, coverage))


def join_rankings(parts: Sequence[ImageRankings]) -> ImageRankings:
    """The figures of all images from those of some each, in order."""
    return ImageRankings(*map(np.concatenate, zip(*parts, strict=True)))


def _rank_present(rows: RankedRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ranks (P,) from 1 of all true labels among their image's: ties against them, and ties by label id."""
    image, own = rows.present_images, rows.present_labels
    labels = rows.scores.shape[1]
    ascending = rows.ascending.ravel()
    score = rows.scores[image, own]
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
        others, value = rows.scores[image[which]], score[which, None]
        before = (others > value) | ((others == value) & (np.arange(labels) <= own[which, None]))
        rank[which] = np.count_nonzero(before, axis=1)
    return lowest_rank, rank
