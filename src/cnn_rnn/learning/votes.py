"""What the photos that look alike show: every photo votes for its labels, the more the more it is like this one.

The same idea as `NeighbourMemory`, without its whitening: there, of few photos, it would be one of noise. So a vote is
a number for every pair of photos that no third one changes, and a new photo adds its own.
"""

import numpy as np
from numpy.typing import NDArray

from .ridge import Floats

VOTE_TEMPERATURE = 0.07  # of the cosines
FREQUENCY_VOTES = 0.2  # votes of a photo that is the same, which every label's frequency has
NEVER_ASKED = -1  # what nobody said of a label on a photo, where 1 is there and 0 is not

AnswerMatrix = NDArray[np.int8]


class Votes:
    """The votes that every photo has from all the others.

    Args:
        features: (N, D) of length 1, of photos that are there from the start.
        answers: (N, C) of 1, 0 and -1.
    """

    def __init__(self, features: Floats, answers: AnswerMatrix) -> None:
        weights = closeness(features @ features.T)
        np.fill_diagonal(weights, 0)  # no photo votes for itself
        self.shown: Floats = weights @ (answers > 0).astype(np.float32)
        self.asked: Floats = weights @ (answers >= 0).astype(np.float32)

    def add_labels(self, labels: int) -> None:
        """Give labels more, on which nobody has a vote yet."""
        self.shown, self.asked = (np.pad(table, ((0, 0), (0, labels))) for table in (self.shown, self.asked))

    def add(self, photo: Floats, features: Floats, answers: AnswerMatrix) -> None:
        """Take a photo (D) of which nothing is known in, after the others (N, D) and their answers (N, C)."""
        weights = closeness(features @ photo)
        self.shown = np.vstack([self.shown, weights @ (answers > 0)]).astype(np.float32)
        self.asked = np.vstack([self.asked, weights @ (answers >= 0)]).astype(np.float32)

    def answer(self, place: int, features: Floats, before: AnswerMatrix, now: AnswerMatrix) -> None:
        """Change the answers (C) of the photo at a place."""
        weights = closeness(features @ features[place])
        weights[place] = 0
        for table, old, new in ((self.shown, before > 0, now > 0), (self.asked, before >= 0, now >= 0)):
            changed = np.flatnonzero(old != new)
            table[:, changed] += np.outer(weights, new[changed].astype(np.float32) - old[changed])

    def remove(self, place: int) -> None:
        """Let the photo at a place go, of which nothing is known any more."""
        self.shown, self.asked = (np.delete(table, place, axis=0) for table in (self.shown, self.asked))


def closeness(cosines: Floats) -> Floats:
    """How much a photo's vote counts, 1 for the same photo."""
    weights: Floats = np.exp((cosines - 1) / np.float32(VOTE_TEMPERATURE))
    return weights


def shares(shown: Floats, asked: Floats, frequencies: Floats) -> Floats:
    """Shares of the votes, mixed with the frequencies, which alone count where nobody votes."""
    found: Floats = (np.maximum(shown, 0) + FREQUENCY_VOTES * frequencies) / (np.maximum(asked, 0) + FREQUENCY_VOTES)
    return found
