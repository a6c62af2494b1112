"""Learns labels while a person labels: on frozen features, after every photo, in milliseconds.

Ridge regression, neighbours' votes and how frequent a label is, and where it starts from a model that model's logits,
are weighed by one logistic regression on what each says of photos that it has not seen.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .given_known import log_odds, prior, votes_given
from .ridge import Exact, Floats, Ridge, unit_length
from .stacking import fit_stack
from .votes import NEVER_ASKED, AnswerMatrix, Votes, closeness, shares

# Photos that a label's frequency is drawn towards, and how many of them show it.
IMAGINED, IMAGINED_SHOWN = 3.0, 0.3
WEIGHED = ("bias", "frequency", "ridge", "neighbours", "start")
PARTS = (*WEIGHED, "known", "choice")  # what can be left out, to see what it gives
# What the sources count for while nothing is answered.
FIRST_OF_OWN = (0.0, 1.0, 2.0, 0.3, 0.0)
FIRST_OF_START = (0.0, 0.0, 0.0, 0.0, 1.0)
STRENGTH = (10.0, 10.0, 10.0, 10.0, 10.0)
STRENGTH_OF_START = (30.0, 30.0, 30.0, 30.0, 30.0)
FIXED = 1e9
MOST_ASKED_AGAIN = 200  # photos on which what is known is tried, for how much it counts
STRENGTH_OF_KNOWN = 10.0
MANY_AT_ONCE = 16  # photos from which on all is computed anew


@dataclass(frozen=True)
class Seen:
    """A photo as a frozen model sees it.

    Attributes:
        features: Of the image (D).
        logits: What the model says (S) of the labels it knows; empty without any.
        certainties: How many of the features, the last of them, a classifier says of its classes. They are for the
            model's own head: learnt from, they cost actions a photo.
    """

    features: Floats
    logits: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    certainties: int = field(kw_only=True)  # without a default, so that nobody forgets them

    @property
    def vector(self) -> Floats:
        """The features that photos are compared by, and labels learnt from, as `unit_length` has them."""
        return unit_length(self.features[: len(self.features) - self.certainties])


@dataclass(frozen=True)
class _Fit:
    """What was learnt from the answers of now.

    Attributes:
        frequencies: Of the labels (C).
        weights: Of the ridge regression (D, C).
        of_own: Of the sources (K) for labels that the start does not know, `of_start` for its own.
        known: How much prior and votes count (2) given what is known.
        trusted: Start labels (S) on which what was learnt says the answers worse than the start alone, which is
            therefore left alone with them.
        logits: Of every answered photo (N, C), without itself.
        brier: Mean squared difference of these probabilities and the answers.
    """

    frequencies: Floats
    weights: Floats
    of_own: Exact
    of_start: Exact
    known: Exact
    trusted: NDArray[np.bool_]
    logits: Exact
    brier: float


class Learner:
    """Labels learnt from answered photos; what is said does not depend on the order in which they came.

    Args:
        start_labels: Labels that the model knows whose logits come with every photo; none to start from nothing.
        without: Parts that are left out, of `PARTS`, to see what each gives.
    """

    def __init__(self, start_labels: Sequence[str] = (), without: Collection[str] = ()) -> None:
        self.start_labels = list(start_labels)
        self.without = frozenset(without)
        self.label_names: list[str] = list(start_labels)
        self.photos: dict[str, int] = {}
        self._ids = {name: index for index, name in enumerate(self.label_names)}
        self._features: Floats = np.zeros((0, 0), np.float32)
        self._logits: Floats = np.zeros((0, len(start_labels)), np.float32)
        self._answers: AnswerMatrix = np.zeros((0, len(start_labels)), np.int8)
        self._ridge: Ridge | None = None
        self._votes: Votes | None = None
        self._fitted: _Fit | None = None

    def tell(self, photo: str, seen: Seen, answers: Mapping[str, bool]) -> None:
        """Learn all that is known of a photo, in place of what was told of it before; nothing forgets it.

        Args:
            photo: Its name, or whatever tells it from others.
            seen: What the frozen model sees.
            answers: Labels that are there (True) or not (False); of all others nothing is known.
        """
        self.tell_all({photo: (seen, answers)})

    def tell_all(self, told: Mapping[str, tuple[Seen, Mapping[str, bool]]]) -> None:
        """Learn all that is known of several photos, as `tell` does, in one go where they are many."""
        self._hear({label for _, answers in told.values() for label in answers})
        self._fitted = None
        anew = len(told) > MANY_AT_ONCE or self._ridge is None
        if anew:
            self._ridge = self._votes = None
        for photo, (seen, answers) in told.items():
            if not answers:
                self._forget(photo)
                continue
            if photo not in self.photos:
                self._take_in(photo, seen)
            row = np.full(len(self.label_names), NEVER_ASKED, np.int8)
            for label, there in answers.items():
                row[self._ids[label]] = there
            place = self.photos[photo]
            if self._votes is not None:
                self._votes.answer(place, self._features, self._answers[place], row)
            self._answers[place] = row
        if anew and self.photos:
            self._ridge = Ridge(self._features)
            self._votes = Votes(self._features, self._answers)

    def expect(
        self, seen: Seen, known: Mapping[str, bool] | None = None, photo: str = "", given: Floats | None = None
    ) -> dict[str, float]:
        """Probability of every label on a photo, given what is known of it, by name.

        Args:
            seen: What the frozen model sees.
            known: Labels of it that are confirmed (True) or ruled out (False).
            photo: Its name, so that what was told of it says nothing of itself.
            given: The model's logits (S) given what is known; those of `seen` where None.
        """
        told = np.zeros((1, len(self.label_names)), np.int8)
        own = {label: there for label, there in (known or {}).items() if label in self._ids}
        for label, there in own.items():
            told[0, self._ids[label]] = 1 if there else -1
        logits = self._logits_of(seen, told, photo, given)
        probabilities = 1 / (1 + np.exp(-logits))
        found = dict(zip(self.label_names, probabilities.tolist(), strict=True))
        return found | {label: float(there) for label, there in (known or {}).items()}

    def learnt(self) -> dict[str, Any]:
        """What was learnt from: photos, answers, labels with their counts, and how much each source counts."""
        fitted = self._fit() if self.photos else None
        counts = (self._answers > 0).sum(axis=0).tolist()
        return {
            "photos": len(self.photos),
            "answers": int((self._answers != NEVER_ASKED).sum()),
            "labels": {name: count for name, count in zip(self.label_names, counts, strict=True) if count},
            "start_labels": len(self.start_labels),
            "left_to_the_start": []
            if fitted is None
            else [name for name, alone in zip(self.start_labels, fitted.trusted, strict=True) if alone],
            "weights": None
            if fitted is None
            else {
                "own": dict(zip(WEIGHED, fitted.of_own.tolist(), strict=True)),
                "start": dict(zip(WEIGHED, fitted.of_start.tolist(), strict=True)),
                "known": dict(zip(("prior", "neighbours"), fitted.known.tolist(), strict=True)),
            },
            "brier": None if fitted is None else fitted.brier,
        }

    def refit(self) -> None:
        """Learn from the answers of now, if that was not done; `expect` does it where it is due."""
        if self.photos:
            self._fit()

    def _hear(self, labels: set[str]) -> None:
        """Give labels that are new a place, about which nothing is known on the photos before."""
        new = sorted(labels - self._ids.keys())
        if not new:
            return
        for label in new:
            self._ids[label] = len(self.label_names)
            self.label_names.append(label)
        self._answers = np.pad(self._answers, ((0, 0), (0, len(new))), constant_values=NEVER_ASKED)
        if self._votes is not None:
            self._votes.add_labels(len(new))

    def _take_in(self, photo: str, seen: Seen) -> None:
        """Make a place for a photo of which nothing is known yet."""
        vector = seen.vector
        if not self.photos:
            self._features = np.zeros((0, len(vector)), np.float32)
        if self._ridge is not None and self._votes is not None:
            self._ridge.add(vector, self._features)
            self._votes.add(vector, self._features, self._answers)
        self.photos[photo] = len(self._features)
        self._features = np.vstack([self._features, vector])
        self._logits = np.vstack([self._logits, seen.logits])
        self._answers = np.vstack([self._answers, np.full(len(self.label_names), NEVER_ASKED, np.int8)])

    def _forget(self, photo: str) -> None:
        """Let a photo go, if it is there."""
        place = self.photos.pop(photo, None)
        if place is None:
            return
        if self._ridge is not None and self._votes is not None:
            self._votes.answer(
                place, self._features, self._answers[place], np.full_like(self._answers[place], NEVER_ASKED)
            )
            self._votes.remove(place)
            self._ridge.remove(place, self._features)
        self._features, self._logits = (np.delete(table, place, axis=0) for table in (self._features, self._logits))
        self._answers = np.delete(self._answers, place, axis=0)
        self.photos = {name: index - (index > place) for name, index in self.photos.items()}

    def _fit(self) -> _Fit:
        """What is learnt from the answers of now."""
        if self._fitted is not None:
            return self._fitted
        assert self._ridge is not None
        assert self._votes is not None
        answers = self._answers
        asked, shown = answers != NEVER_ASKED, answers > 0
        frequencies = frequencies_of(len(answers), shown.sum(axis=0))
        targets = np.where(asked, shown - frequencies, 0).astype(np.float32)
        weights, unseen = self._ridge.solve(self._features, targets)
        # (N, C) as they would be without the photo itself: no source may have seen what it is judged on.
        others = frequencies_of(len(answers) - 1, shown.sum(axis=0) - shown)
        voted = shares(self._votes.shown, self._votes.asked, others)
        inputs = self._inputs(unseen, voted, others, self._logits)
        start = np.arange(len(self.label_names)) < len(self.start_labels)
        heard = start | (shown.sum(axis=0) - shown > 0)  # without the photo its only one, a label would not be there
        weighed = []
        logits = np.zeros(answers.shape)
        for own, first, strength in (
            (~start, FIRST_OF_OWN, STRENGTH),
            (start, FIRST_OF_START, STRENGTH_OF_START),
        ):
            cells = asked & own & heard
            used = np.array([name not in self.without for name in WEIGHED])
            drawn = np.where(used, strength, FIXED)  # a source that is left out keeps the weight 0
            stack = fit_stack(inputs[cells], shown[cells].astype(np.float64), np.array(first) * used, drawn)
            logits[:, own] = inputs[:, own] @ stack
            weighed.append(stack)
        trusted = self._choose(logits[:, start], asked[:, start], shown[:, start])
        logits[:, : len(trusted)][:, trusted] = self._logits[:, trusted]
        probabilities = 1 / (1 + np.exp(-logits))
        brier = float(((probabilities - shown)[asked] ** 2).mean())
        known = self._fit_known(logits, voted)
        self._fitted = _Fit(frequencies, weights, weighed[0], weighed[1], known, trusted, logits, brier)
        return self._fitted

    def _choose(self, learnt: Exact, asked: NDArray[np.bool_], shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The start labels (S) whose answers the start alone makes more likely than what was learnt without each."""
        if "choice" in self.without:
            return np.zeros(learnt.shape[1], bool)

        def loss(logits: NDArray[Any]) -> Exact:
            found: Exact = np.where(asked, np.logaddexp(0, np.where(shown, -logits, logits)), 0).sum(axis=0)
            return found

        worse: NDArray[np.bool_] = loss(learnt) > loss(self._logits.astype(np.float64))
        return worse

    def _fit_known(self, logits: Exact, voted: Floats) -> Exact:
        """How much prior and votes count given what is known, fitted where a part of what was said wrong is put right.

        A person tells what the page has wrong; labels told at random would say more of the others.
        """
        if "known" in self.without:
            return np.zeros(2)
        names = sorted(self.photos, key=lambda name: (zlib.crc32(name.encode()), name))[:MOST_ASKED_AGAIN]
        places = np.array([self.photos[name] for name in names])
        answers = self._answers[places]
        wrong = (answers != NEVER_ASKED) & ((logits[places] >= 0) != (answers > 0))
        known = np.zeros(answers.shape, np.int8)
        for row, name in enumerate(names):
            mended = sorted(np.flatnonzero(wrong[row]), key=self.label_names.__getitem__)
            # Drawn by the photo's name: the same whatever the order in which photos came.
            draw = np.random.default_rng(zlib.crc32(name.encode()))
            told = draw.permutation(len(mended))[: draw.integers(len(mended) + 1)]
            for label in (mended[place] for place in told):
                known[row, label] = 1 if answers[row, label] > 0 else -1
        frequencies = frequencies_of(len(self.photos), (self._answers > 0).sum(axis=0))
        of_prior = prior(self._answers, frequencies, known, answers)
        cosines = self._features[places] @ self._features.T
        moved = votes_given(cosines, self._answers, frequencies, known, places) - log_odds(voted[places])
        cells = (known == 0) & (answers != NEVER_ASKED) & (known != 0).any(axis=1)[:, None]
        inputs = np.stack([logits[places][cells], of_prior[cells], moved[cells]], axis=-1).astype(np.float64)
        shown = (answers[cells] > 0).astype(np.float64)
        strength = np.array([FIXED, STRENGTH_OF_KNOWN, STRENGTH_OF_KNOWN])
        return fit_stack(inputs, shown, np.array([1.0, 0, 0]), strength)[1:]

    def _inputs(self, ridge: Floats, voted: Floats, frequencies: Floats, logits: Floats) -> Exact:
        """What every source says (N, C, K)."""
        of_start = np.zeros(ridge.shape, np.float32)
        of_start[:, : logits.shape[1]] = logits
        scaled = ridge / np.sqrt(frequencies * (1 - frequencies))
        parts = [np.ones_like(ridge), np.broadcast_to(log_odds(frequencies), ridge.shape), scaled]
        return np.stack([*parts, log_odds(voted), of_start], axis=-1).astype(np.float64)

    def _logits_of(self, seen: Seen, known: NDArray[np.int8], photo: str, given: Floats | None) -> Exact:
        """Logits (C) of a photo given what is known (1, C)."""
        if not self.photos:
            never = np.zeros(len(self.label_names) - len(self.start_labels))
            return np.concatenate(
                [seen.logits if given is None else given, log_odds(frequencies_of(0, never))], dtype=np.float64
            )
        fitted = self._fit()
        vector = seen.vector
        place = self.photos.get(photo)
        cosines = (self._features @ vector)[None]
        weights = closeness(cosines)
        if place is not None:
            weights[0, place] = 0
        voted = shares(weights @ (self._answers > 0), weights @ (self._answers >= 0), fitted.frequencies)
        start = len(self.start_labels)
        if place is None:
            inputs = self._inputs((vector @ fitted.weights)[None], voted, fitted.frequencies, seen.logits[None])[0]
            logits = np.concatenate([inputs[:start] @ fitted.of_start, inputs[start:] @ fitted.of_own])
            logits[:start][fitted.trusted] = seen.logits[fitted.trusted]
        else:
            # What it would say had the photo never been told.
            logits = fitted.logits[place].copy()
        if given is not None:
            logits[:start] += np.where(fitted.trusted, 1, fitted.of_start[-1]) * (given - seen.logits)
        if (known != 0).any():
            own = None if place is None else self._answers[place][None]
            places = None if place is None else np.array([place])
            of_prior = prior(self._answers, fitted.frequencies, known, own)[0]
            moved = votes_given(cosines, self._answers, fitted.frequencies, known, places)[0] - log_odds(voted)[0]
            moving = fitted.known[0] * of_prior + fitted.known[1] * moved
            moving[:start][fitted.trusted] = 0
            logits = logits + moving
        return logits


def frequencies_of(photos: int, shown: NDArray[Any]) -> Floats:
    """How frequent labels are that so many of the photos show; where nobody was asked they are hardly there."""
    found: Floats = ((shown + IMAGINED_SHOWN) / (photos + IMAGINED)).astype(np.float32)
    return found
