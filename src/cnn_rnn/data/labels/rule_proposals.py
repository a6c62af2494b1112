"""Rules between labels that a data set bears out, as a file for a person to edit: no rule is taken up by itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import yaml
from datasets import Dataset

from cnn_rnn.data.schema import count_pairs, label_names

BY_CHANCE = 1e-3  # of a data set without any rule: how often a rule would be proposed all the same
MOST_GROUPS = 20


@dataclass(frozen=True)
class Implication:
    """A label that was never seen without another.

    Attributes:
        label: The label.
        implied: The other one, which more photos show.
        photos: Photos that show the label, and on which the other was looked at.
    """

    label: str
    implied: str
    photos: int

    def text(self) -> str:
        """The evidence in words."""
        return f"{self.label} never without {self.implied}: {self.photos:,} of {self.photos:,} photos"


@dataclass(frozen=True)
class Exclusion:
    """Labels of which no two were ever seen together.

    Attributes:
        labels: The labels, frequent ones first.
        expected: Of the two that chance would have brought together least often: on how many photos.
    """

    labels: list[str]
    expected: int

    def text(self) -> str:
        """The evidence in words."""
        photos = "1 photo" if self.expected == 1 else f"{self.expected:,} photos"
        return f"{', '.join(self.labels)}: never together, by chance on {photos} or more"


@dataclass(frozen=True)
class Proposals:
    """What a data set bears out.

    Attributes:
        implications: By label; of what follows one from another, the nearest alone.
        exclusions: Groups; that labels were never together does not say that they could not be.
    """

    implications: list[Implication]
    exclusions: list[Exclusion]

    def text(self) -> str:
        """The proposals for people, a line each."""
        told = [one.text() for one in self.implications] + [group.text() for group in self.exclusions]
        return "\n".join(f"  {line}" for line in told)

    def yaml(self) -> str:
        """A file of rules to edit, in which exclusions stand as comments: whether they are rules, a person knows."""
        lines = [
            "# Rules between labels that this data set bears out. Take out what is not always so, and add what is;",
            "# then train with --model.label_rules THIS_FILE.",
            "implies:" if self.implications else "implies: {}",
        ]
        by_label: dict[str, list[Implication]] = {}
        for one in self.implications:
            by_label.setdefault(one.label, []).append(one)
        for label, found in by_label.items():
            name, implied = _yaml_list([label])[1:-1], _yaml_list([one.implied for one in found])
            lines.append(f"  {name}: {implied}  # {found[0].photos:,} of {found[0].photos:,} photos")
        lines.append("excludes: []" if not self.exclusions else "excludes:  # take the # away where it is always so")
        for group in self.exclusions:
            named = _yaml_list(group.labels)
            lines.append(f"#  - {named}  # never together, by chance on {group.expected:,} photos or more")
        return "\n".join([*lines, ""])


def propose_rules(rows: Dataset) -> Proposals:
    """The rules that rows bear out: without exception, and on so many photos that chance does not explain it.

    That all of n photos of a label show another by chance, if the two are independent, is as likely as the other's
    share of the photos to the power of n; that none does where m are expected, about exp(-m). Both are held against
    `BY_CHANCE` over the number of pairs that are looked at.
    """
    names = label_names(rows)
    pairs = count_pairs(rows)
    together = pairs.together.astype(np.float64)
    counts = together.diagonal()
    images = np.broadcast_to(np.asarray(pairs.images, np.float64), together.shape)
    shown = np.broadcast_to(counts[:, None], together.shape) if pairs.shown is None else pairs.shown.astype(np.float64)
    least = math.log(BY_CHANCE / max(len(names) * (len(names) - 1), 1))
    shares = shown.T / np.maximum(images, 1)  # of the second label
    with np.errstate(divide="ignore", invalid="ignore"):
        implies = (together == shown) & (shown > 0) & (counts > counts[:, None]) & (shown * np.log(shares) < least)
    np.fill_diagonal(implies, val=False)
    # What follows by way of another label need not be said.
    direct = implies & ~((implies.astype(np.float32) @ implies.astype(np.float32)) > 0)
    implications = [
        Implication(names[label], names[implied], int(shown[label, implied])) for label, implied in np.argwhere(direct)
    ]
    expected = shown * shown.T / np.maximum(images, 1)
    exclude = (together == 0) & (-expected < least)
    np.fill_diagonal(exclude, val=False)
    # Below labels that exclude each other all do: only the widest are named.
    above = implies.astype(np.float32)
    exclude &= ~(((above @ exclude) > 0) | ((above @ exclude).T > 0))
    groups = _groups(exclude, expected, counts)
    exclusions = [Exclusion([names[label] for label in group], int(least_of)) for group, least_of in groups]
    return Proposals(implications, exclusions)


def _groups(
    exclude: npt.NDArray[np.bool_], expected: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]
) -> list[tuple[list[int], float]]:
    """Groups of labels that all exclude each other, and what chance would have least: the clearest pairs first."""
    first, second = np.nonzero(np.triu(exclude, k=1))
    groups: list[list[int]] = []
    for place in np.argsort(-expected[first, second], kind="stable"):
        pair = [int(first[place]), int(second[place])]
        if any(set(pair) <= set(group) for group in groups):
            continue
        for group in groups:
            more = [label for label in pair if label not in group]
            if len(more) == 1 and exclude[more[0], group].all():
                group.extend(more)
                break
        else:
            if len(groups) < MOST_GROUPS:
                groups.append(pair)
    found = []
    for group in groups:
        inner = expected[np.ix_(group, group)]
        found.append((sorted(group, key=lambda label: -counts[label]), inner[~np.eye(len(group), dtype=bool)].min()))
    return found


def _yaml_list(names: Sequence[str]) -> str:
    """Names as a list in YAML, in one line."""
    return yaml.safe_dump(list(names), default_flow_style=True, width=math.inf).strip()
