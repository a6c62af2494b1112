"""Sets of labels that obey rules: by a ranking, and by the greatest expected F1 among all that do; by numpy alone."""

import heapq
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from .expected_f1 import MOST_CANDIDATES, chosen_by_expected_f1
from .label_rules import LabelRules

MOST_BRANCHES = 2000  # of the search for one image; nothing near it was seen where scores obey the rules
SET_ROUNDING = 1e-12  # expectations that differ by less are equal

Scores = NDArray[np.float64]
Sets = NDArray[np.bool_]


def pick_closed(rules: LabelRules, scores: Scores, wanted: Sets, most: int | None = None) -> Sets:
    """The labels (N, C) that are wanted, and what these imply; of labels that exclude each other the best one.

    An image's labels are gone through from the best score down, and each is taken that excludes none taken before: the
    closed set with the best label, among these the one with the second best, and so on.

    Args:
        rules: Rules between labels.
        scores: Of each label (N, C).
        wanted: The labels (N, C) of which the set is made.
        most: How many labels are taken at the most; None for no limit.
    """
    scores, chosen = rules.close_upward(scores), rules.close_upward(wanted)
    positions = np.argsort(rules.downward(np.arange(rules.num_labels)), kind="stable")  # what is implied comes first
    order = positions[np.argsort(-scores[:, positions], axis=1, kind="stable")]
    if most is not None:
        ranked = np.take_along_axis(chosen, order, axis=1)
        np.put_along_axis(chosen, order, ranked & (np.cumsum(ranked, axis=1) <= most), axis=1)
    limit = rules.num_labels if most is None else most
    for image in np.flatnonzero(rules.conflicts(chosen)):
        ranking = order[image]
        open_labels = rules.close_upward(wanted[image : image + 1])[0]
        chosen[image] = _first_closed(rules, [int(label) for label in ranking if open_labels[label]], limit)
    return chosen


def _first_closed(rules: LabelRules, ranking: list[int], most: int) -> Sets:
    """The set (C,) of at most so many labels, taken in the order of a ranking as far as none excludes another."""
    chosen = np.zeros(rules.num_labels, bool)
    taken: dict[int, int] = {}
    count = 0
    for label in ranking:
        own = rules.sides.get(label, {})
        if count < most and all(taken.get(group, member) == member for group, member in own.items()):
            chosen[label] = True
            taken.update(own)
            count += 1
    return chosen


def obeying(rules: LabelRules | None, probabilities: Mapping[str, float], wanted: Collection[str]) -> set[str]:
    """The labels, by name, that are wanted, and what these imply, as `pick_closed` has it.

    Args:
        rules: Rules between labels; None where all may be together.
        probabilities: By label; those that no rule knows are a person's own, and what is not among them is not there.
        wanted: The labels of which the set is made.
    """
    if rules is None:
        return set(wanted)
    scores = np.array([[probabilities.get(name, 0.0) for name in rules.names]])
    there = np.array([[name in wanted for name in rules.names]])
    chosen = pick_closed(rules, scores, there)[0]
    ruled = {name for name, taken in zip(rules.names, chosen, strict=True) if taken and name in probabilities}
    return ruled | {name for name in wanted if name not in rules.ids}


def pick_closed_by_expected_f1(rules: LabelRules, probabilities: Scores) -> Sets:
    """The closed sets (N, C) with the greatest expected F1, as `pick_by_expected_f1` has it, among closed ones alone.

    Where no label is more probable than what it implies, the k most probable are closed but for labels that exclude
    each other. Of two of these one is left out, with all that implies it, and either way is followed from the most
    promising on, until the best set has none.

    Args:
        rules: Rules between labels.
        probabilities: Of each label (N, C), 0..1.
    """
    probabilities = rules.close_upward(np.asarray(probabilities, np.float64))
    positions = np.argsort(rules.downward(np.arange(rules.num_labels)), kind="stable")
    chosen = np.zeros(probabilities.shape, bool)
    # Of equal probabilities the first is taken first, and that must be what is implied.
    chosen[:, positions] = chosen_by_expected_f1(probabilities[:, positions])
    for image in np.flatnonzero(rules.conflicts(chosen)):
        ranking = positions[np.argsort(-probabilities[image, positions], kind="stable")]
        chosen[image] = _best_closed(rules, probabilities[image], ranking[:MOST_CANDIDATES])
    return chosen


def _best_closed(rules: LabelRules, probabilities: Scores, ranking: NDArray[np.int64]) -> Sets:
    """The closed set (C,) with the greatest expected F1, of labels in falling order of probability."""
    ranking = ranking[probabilities[ranking] > 0]
    gains, nothing = _gains(probabilities[ranking])
    places = {int(label): place for place, label in enumerate(ranking)}

    def best_of(open_places: Sets) -> tuple[float, list[int]]:
        """The expected F1 of the best set of labels at the open places, and that set, if nothing excluded another."""
        there = np.flatnonzero(open_places)
        values = np.concatenate([[nothing], gains[:, there].cumsum(axis=1).diagonal()])
        size = int((values >= values.max() - SET_ROUNDING).argmax())
        return float(values[size]), there[:size].tolist()

    first = np.ones(len(ranking), bool)
    value, found = best_of(first)
    # The most promising branch first: the first one without a conflict is then the best of all.
    waiting = [(-value, 0, found, first)]
    for branch in range(1, MOST_BRANCHES):
        _, _, found, open_places = heapq.heappop(waiting)
        pair = _excluding_pair(rules, [int(ranking[place]) for place in found])
        if pair is None:
            break
        for number, out in enumerate(pair):
            left = open_places.copy()
            left[[places[one] for one in (out, *rules.below_of(out)) if one in places]] = False
            value, best = best_of(left)
            heapq.heappush(waiting, (-value, 2 * branch + number, best, left))
    return _first_closed(rules, [int(ranking[place]) for place in found], rules.num_labels)


def _gains(probabilities: Scores) -> tuple[Scores, float]:
    """What each label adds to the expected F1 of a set of each size (K, M), and the expected F1 of the empty set.

    Of k labels the expected F1 is the sum over each of them of p E[2 / (k + 1 + S)], with S the number of the image's
    other labels; see `decisions.best_sizes`, whose integral it is, here label by label.
    """
    number = len(probabilities)
    nodes, weights = np.polynomial.legendre.leggauss(number + 1)
    nodes, weights = nodes / 2 + 0.5, weights / 2
    factors = 1 - (1 - nodes[:, None]) * probabilities  # (Q, M)
    # E[t^S] of the labels beside each (Q, M); no factor is 0, as the rule has no node at 0.
    others = factors.prod(axis=1)[:, None] / factors
    powers = nodes ** np.arange(1, number + 1)[:, None]  # (K, Q)
    gains = 2 * (powers * weights) @ (others * probabilities)
    return gains, float((1 - probabilities).prod())


def _excluding_pair(rules: LabelRules, labels: list[int]) -> tuple[int, int] | None:
    """The two members of a group that are among labels, or are implied by them; None where no group has two."""
    taken: dict[int, int] = {}
    for label in labels:
        for group, member in rules.sides.get(label, {}).items():
            if taken.setdefault(group, member) != member:
                return taken[group], member
    return None
