"""What the labels that are known of a photo say of its others: counts of both together, and votes of photos alike.

Both are taken without the photo itself, so that how much they count can be fitted on photos that are answered.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .ridge import Floats
from .votes import AnswerMatrix, closeness, shares

# Those of `cnn_rnn.cooccurrence` and `cnn_rnn.neighbours`, which need torch.
DRAWN = 5.0
NEARER_BY_LABEL = 3.0

ToldStates = NDArray[np.int8]


def prior(answers: AnswerMatrix, frequencies: Floats, known: ToldStates, own: AnswerMatrix | None = None) -> Floats:
    """Sum (Q, C) over the labels known of each photo of log p(l|k) / p(l), as `CooccurrencePrior` has it.

    What is ruled out says log p(l|not k) / p(l).

    Args:
        answers: (N, C) of all photos.
        frequencies: (C) of the labels.
        known: (Q, C) of 1 confirmed, -1 ruled out, 0 open.
        own: Answers (Q, C) of the same photos where they are among the N, so that they are not counted.
    """
    total = np.zeros(known.shape, np.float32)
    shown, asked = (answers > 0).astype(np.float32), (answers >= 0).astype(np.float32)
    for sign, there in ((1, answers > 0), (-1, answers == 0)):
        told = np.flatnonzero((known == sign).any(axis=0))
        if not len(told):
            continue
        with_it = there[:, told].T.astype(np.float32)
        both, looked = with_it @ shown, with_it @ asked
        for row, label in enumerate(told):
            photos = np.flatnonzero(known[:, label] == sign)
            beside, of = both[row][None], looked[row][None]
            if own is not None:
                beside, of = beside - (own[photos] > 0), of - (own[photos] >= 0)
            ratio = np.log((beside + DRAWN * frequencies) / (of + DRAWN) / frequencies)
            ratio[:, label] = 0
            total[photos] += ratio
    return total


def votes_given(
    cosines: Floats,
    answers: AnswerMatrix,
    frequencies: Floats,
    known: ToldStates,
    places: NDArray[np.intp] | None = None,
) -> Floats:
    """Log odds (Q, C) among photos that look alike, of which those count more that show what is confirmed.

    Args:
        cosines: (Q, N) to all photos.
        answers: (N, C).
        frequencies: (C).
        known: (Q, C) of 1 confirmed; what is ruled out changes nothing here.
        places: Of the same photos (Q) where they are among the N, so that they have no vote.
    """
    shown, asked = (answers > 0).astype(np.float32), (answers >= 0).astype(np.float32)
    if_unknown = np.log1p(frequencies * math.expm1(NEARER_BY_LABEL))
    shared = np.where(asked > 0, NEARER_BY_LABEL * shown, if_unknown).astype(np.float32)
    weights = closeness(cosines) * np.exp((known > 0).astype(np.float32) @ shared.T)
    if places is not None:
        weights[np.arange(len(places)), places] = 0
    return log_odds(shares(weights @ shown, weights @ asked, frequencies))


def log_odds(probabilities: Floats) -> Floats:
    """Log odds, finite also for what is certain."""
    clipped = np.clip(probabilities, 1e-4, 1 - 1e-4)
    found: Floats = np.log(clipped / (1 - clipped))
    return found
