"""How well an image's scores put its labels first: MAP@k, ranking loss, coverage error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_rnn.metrics.inputs import Array, count_by_row, row_blocks


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
    positives = np.count_nonzero(truth == 1, axis=1)
    counted = np.count_nonzero(truth >= 0, axis=1)
    for rows in row_blocks(images, labels * int(positives.max(initial=1))):
        present = truth[rows] == 1
        block = np.where(truth[rows] < 0, -np.inf, scores[rows])
        image, own = np.nonzero(present)  # one line a positive from here on
        others, score = block[image], block[image, own, None]
        at_least = others >= score
        lowest_rank = count_by_row(at_least)
        rank = count_by_row(others > score) + 1
        hits = positives_at_least = count_by_row(at_least & present[image])
        tied = np.flatnonzero(rank != lowest_rank)
        if len(tied):
            earlier = np.arange(labels) <= own[tied, None]
            ahead = (others[tied] > score[tied]) | (at_least[tied] & earlier)
            hits = positives_at_least.copy()
            rank[tied], hits[tied] = count_by_row(ahead), count_by_row(ahead & present[image[tied]])
        length = len(present)
        precision_sum[rows] = np.bincount(image, np.where(rank <= k, hits / rank, 0), length)
        wrong_pairs[rows] = np.bincount(image, lowest_rank - positives_at_least, length)
        np.maximum.at(coverage[rows], image, lowest_rank)
    pairs = positives * (counted - positives)
    nothing = counted == 0
    average = np.full(images, np.nan)
    np.divide(precision_sum, np.minimum(positives, k), out=average, where=positives > 0)
    loss = np.divide(wrong_pairs, pairs, out=np.zeros(images), where=pairs > 0)
    return ImageRankings(average, np.where(nothing, np.nan, loss), np.where(nothing, np.nan, coverage))
