"""Rules between labels: what a label implies, and which labels exclude each other.

A person writes them by name, as `{"implies": {"poodle": "dog", "dog": "animal"}, "excludes": [["dog", "cat"]]}`. A set
of labels obeys them, or is closed, if it holds what its labels imply, and of each group of exclusive ones one at most.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .label_order import positions_of
from .nearest_names import did_you_mean

KINDS = ("implies", "excludes")
MOST_PAIRS = 2**22  # of a label and one that follows from it; a file from elsewhere must not take all memory

LEFT_OUT = -100.0  # the target of a label that counts neither as present nor as absent

Pairs = NDArray[np.int64]


@dataclass(eq=False)
class LabelRules:
    """Rules that contradict neither themselves nor each other, as pairs of ids.

    Attributes:
        names: Names of the labels, by id.
        implied: Each label and one that it implies (2, P), as they were written.
        closure: Each label and one that follows from it (2, Q), in one step or in several.
        members: The group and the label of each place in a group (2, S).
        below: Each such place and a label that is its label or implies it (2, U).
    """

    names: tuple[str, ...]
    implied: Pairs
    closure: Pairs
    members: Pairs
    below: Pairs
    _order: tuple[Any, NDArray[np.int64]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, given: Mapping[str, Any] | None, names: Sequence[str]) -> Self | None:
        """The rules as a person or a config gives them; None where there are none.

        Args:
            given: `implies`, by label one label or a list of them; `excludes`, a list of groups of labels.
            names: Names of the labels there are, by id.

        Raises:
            ValueError: They are no such rules, name a label that there is not, or contradict themselves.
        """
        if not given:
            return None
        ids = {name: index for index, name in enumerate(names)}
        direct, groups = _read_rules(given, ids)
        above: dict[int, set[int]] = {}
        count = 0
        for label in _sorted(direct, names):
            above[label] = {further for one in direct.get(label, ()) for further in (one, *above[one])}
            count += len(above[label])
            _check_pairs(count)
        places = [(group, label) for group, labels in enumerate(groups) for label in labels]
        rules = cls(
            tuple(names),
            _pairs((label, one) for label, implied in direct.items() for one in implied),
            _pairs((label, one) for label, implied in above.items() for one in sorted(implied)),
            _pairs(places),
            _pairs(_below(places, above, names)),
        )
        # Tables are as wide as the label, or the group, with the most rules.
        for pairs, size, _ in rules.tabled:
            _check_pairs(int(np.bincount(pairs[0], minlength=1).max()) * size)
        return rules

    @classmethod
    def of_config(cls, config: Any) -> Self | None:
        """The rules of a model's config, with the order of its paths worked out before any graph is made of it."""
        rules = cls.of(config.label_rules, config.label_names)
        if rules is not None:
            rules.order_of(config.label_order, config.label_counts)
        return rules

    @property
    def num_labels(self) -> int:
        """C."""
        return len(self.names)

    @property
    def tabled(self) -> tuple[tuple[Pairs, int, int], ...]:
        """What the tables are made of: pairs (2, N), and how many ids there are of either kind."""
        labels, places = self.num_labels, self.members.shape[1]
        groups = int(self.members[0].max(initial=-1)) + 1
        return (
            (self.implied, labels, labels),
            (self.members[::-1], labels, groups),
            (self.members, groups, labels),
            (self.below[::-1], labels, places),
        )

    @cached_property
    def tables(self) -> tuple[Pairs | None, ...]:
        """What each label implies (M, C), its groups, the members of each group (M, G), and the places above a label.

        A gap holds the id after the last; None where there is nothing to hold.
        """
        return tuple(_table(*tabled) if tabled[0].size else None for tabled in self.tabled)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids of the labels by name."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def above(self) -> dict[int, list[int]]:
        """What follows from a label, by label; nothing where a label is not among the keys."""
        return _grouped(self.closure)

    @cached_property
    def parents(self) -> dict[int, list[int]]:
        """What a label implies as it was written, by label."""
        return _grouped(self.implied)

    @cached_property
    def groups(self) -> dict[int, list[int]]:
        """The groups that a label itself is a member of, by label."""
        return _grouped(self.members[::-1])

    @cached_property
    def sides(self) -> dict[int, dict[int, int]]:
        """By label, and by group: the member of the group that the label is, or implies."""
        sides: dict[int, dict[int, int]] = {}
        for place, label in self.below.T.tolist():
            group, member = self.members[:, place].tolist()
            sides.setdefault(label, {})[group] = member
        return sides

    @cached_property
    def _below(self) -> dict[int, list[int]]:
        """What implies a label, by label."""
        return _grouped(self.closure[::-1])

    def below_of(self, label: int) -> list[int]:
        """The labels that imply a label, in one step or in several."""
        return self._below.get(label, [])

    def close_upward(self, values: NDArray[Any]) -> NDArray[Any]:
        """Scores or sets (N, C) in which no label has more than what it implies."""
        closed = values.copy()
        below, above = self.closure
        np.maximum.at(closed.T, above, values.T[below])
        return closed

    def conflicts(self, sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a set holds labels that exclude each other (N,), of closed sets (N, C)."""
        groups, members = self.members
        held = np.zeros((int(groups.max(initial=-1)) + 1, len(sets)), np.int64)
        np.add.at(held, groups, sets.T[members])
        return np.asarray((held > 1).any(axis=0))

    def order_of(self, label_order: str, label_counts: Sequence[int] | None) -> NDArray[np.int64]:
        """Position (C,) of every label on a path: as `positions_of` gives it, but after all that the label implies.

        Worked out once, as models ask for it at every step, and in a graph that is exported it cannot be.
        """
        asked = (label_order, label_counts)
        if self._order is None or self._order[0] != asked:
            self._order = asked, self.downward(positions_of(label_order, label_counts, self.num_labels))
        return self._order[1]

    def downward(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Position (C,) of every label in an order like that of `ranks` (C,), but after all that it implies."""
        children = _grouped(self.implied[::-1])
        missing = np.bincount(self.implied[0], minlength=self.num_labels).tolist()
        ready = [(int(ranks[label]), label) for label, count in enumerate(missing) if not count]
        heapq.heapify(ready)
        positions = np.zeros_like(ranks)
        for position in range(self.num_labels):
            _, label = heapq.heappop(ready)
            positions[label] = position
            for child in children.get(label, ()):
                missing[child] -= 1
                if not missing[child]:
                    heapq.heappush(ready, (int(ranks[child]), child))
        return positions

    def chain(self, label: int) -> list[int]:
        """The labels from the widest down to this one, each implied by the next; of several implied ones the first."""
        chain = [label]
        while chain[-1] in self.parents:
            chain.append(self.parents[chain[-1]][0])
        return chain[::-1]


def rules_among(rules: LabelRules, names: Collection[str]) -> dict[str, Any]:
    """What a person would write of the rules where these labels alone are left: what is implied over one that went too.

    A label that goes takes its places in groups with it.
    """
    implies: dict[str, list[str]] = {}
    for label in rules.parents:
        ahead, found = list(rules.parents[label]), []
        while ahead:
            one = ahead.pop(0)
            if rules.names[one] in names:
                found.append(rules.names[one])
            else:
                ahead += rules.parents.get(one, [])
        if rules.names[label] in names and found:
            implies[rules.names[label]] = list(dict.fromkeys(found))
    groups = _grouped(rules.members).values()
    left = [[rules.names[label] for label in group if rules.names[label] in names] for group in groups]
    written = {"implies": implies, "excludes": [group for group in left if len(group) > 1]}
    return {kind: some for kind, some in written.items() if some}


def keywords_of(rules: LabelRules | None, labels: Iterable[str]) -> list[str]:
    """The labels as hierarchical keywords, such as `animal|dog|poodle`; as they are where no rule implies anything."""
    if rules is None:
        return list(labels)
    chains = {name: rules.chain(rules.ids[name]) if name in rules.ids else [] for name in labels}
    return ["|".join(rules.names[one] for one in chain) or name for name, chain in chains.items()]


def _read_rules(given: Any, ids: Mapping[str, int]) -> tuple[dict[int, list[int]], list[list[int]]]:
    """What each label implies, and the groups, by ids; each named once."""
    rules = _mapping(given, "a mapping of `implies` and `excludes` is expected,")
    wrong = next((key for key in rules if key not in KINDS), None)
    if wrong is not None:
        meant = did_you_mean(wrong, KINDS, shown=repr, front="; ")
        raise ValueError(f"label_rules holds `implies` and `excludes`, got {wrong!r}{meant}")
    direct: dict[int, list[int]] = {}
    for label, implied in _mapping(rules.get("implies") or {}, "implies is by label, such as {poodle: dog},").items():
        written = [implied] if isinstance(implied, str) else _list(implied, f"{label!r} implies a label or a list")
        own, found = _id(label, "implies", ids), [_id(one, "implies", ids) for one in written]
        if found:
            direct[own] = list(dict.fromkeys(found))
    groups = []
    for group in _list(rules.get("excludes") or [], "excludes is a list of groups, such as [[dog, cat]]"):
        members = [_id(one, "excludes", ids) for one in _list(group, "a group of excludes is a list of labels")]
        if len(members) < 2 or len(set(members)) < len(members):
            raise ValueError(f"label_rules: a group of excludes holds two different labels or more, got {list(group)}")
        groups.append(members)
    return direct, groups


def _mapping(value: Any, expected: str) -> Mapping[Any, Any]:
    """A value that must be a mapping."""
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"label_rules: {expected} got {value!r}"[:200])


def _list(value: Any, expected: str) -> Sequence[Any]:
    """A value that must be a list."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    raise ValueError(f"label_rules: {expected}, got {value!r}"[:200])


def _id(name: Any, kind: str, ids: Mapping[str, int]) -> int:
    """The id of a label that a rule names."""
    if isinstance(name, str) and name in ids:
        return ids[name]
    quotes = "" if isinstance(name, str) else ": write a name like this in quotes"
    meant = did_you_mean(name, ids, shown=repr, front="; ")
    raise ValueError(f"label_rules: {kind} names {name!r}, but there is no such label{meant}{quotes}")


def _sorted(direct: Mapping[int, Sequence[int]], names: Sequence[str]) -> list[int]:
    """The labels that rules of implication name, each after all that it implies; a circle is refused."""
    order: dict[int, None] = {}
    for first in direct:
        trail, ahead = [first], [iter(direct[first])]
        inside = {first}
        while trail:  # by hand, as a chain may be longer than Python's own stack
            one = next((one for one in ahead[-1] if one not in order), None)
            if one is None:
                order[trail[-1]] = None
                inside.discard(trail.pop())
                ahead.pop()
            elif one in inside:
                circle = [*trail[trail.index(one) :], one]
                raise ValueError(
                    f"label_rules: {names[one]!r} implies itself: {' -> '.join(names[label] for label in circle)}"
                )
            else:
                trail.append(one)
                ahead.append(iter(direct.get(one, ())))
                inside.add(one)
    return list(order)


def _below(
    places: Sequence[tuple[int, int]], above: Mapping[int, set[int]], names: Sequence[str]
) -> list[tuple[int, int]]:
    """Each place in a group with the labels that are its label or imply it; a label that excludes itself is refused."""
    place_of: dict[int, list[int]] = {}
    for place, (_, label) in enumerate(places):
        place_of.setdefault(label, []).append(place)
    below = []
    for label in sorted({*above, *place_of}):
        members: dict[int, int] = {}
        for one in sorted({label, *above.get(label, ())}):
            for place in place_of.get(one, ()):
                group = places[place][0]
                if group in members:
                    pair = (names[members[group]], names[one])
                    implied = " and ".join(repr(name) for name in pair if name != names[label])
                    contrary = f"{pair[0]!r} and {pair[1]!r} exclude each other"
                    raise ValueError(f"label_rules: {names[label]!r} implies {implied}, but {contrary}")
                members[group] = one
                below.append((place, label))
                _check_pairs(len(below))
    return sorted(below)


def _check_pairs(count: int) -> None:
    """Refuse rules from which far too much follows."""
    if count > MOST_PAIRS:
        raise ValueError(f"label_rules: more than {MOST_PAIRS:,} pairs of labels follow from them")


def _pairs(pairs: Iterable[tuple[int, int]]) -> Pairs:
    """Pairs as an array (2, N)."""
    return np.array(list(pairs), np.int64).reshape(-1, 2).T.copy()


def _table(pairs: Pairs, size: int, gap: int) -> Pairs:
    """The second of each pair (2, N) under the first (M, size), `gap` where a first one has fewer than others."""
    keys, values = pairs[:, np.argsort(pairs[0], kind="stable")]
    counts = np.bincount(keys, minlength=size)
    table = np.full((int(counts.max()), size), gap)
    table[np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts), keys] = values
    return table


def _grouped(pairs: Pairs) -> dict[int, list[int]]:
    """The second of each pair (2, N) by the first."""
    found: dict[int, list[int]] = {}
    for key, value in pairs.T.tolist():
        found.setdefault(key, []).append(value)
    return found
