"""Rows under rules between labels: what the rules decide is so, and what breaks them is counted and named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.data.schema import (
    LABEL_COLUMNS,
    ROWS_AT_ONCE,
    label_features,
    label_lists_from_matrix,
    label_names,
    targets,
)
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.ruled_tensors import RuledTensors

MOST_NAMED = 20  # photos of a broken rule that are kept by name


@dataclass
class BrokenRules:
    """What rows say that rules do not allow.

    Attributes:
        without: Photos that show a label without what it implies, by both; the implied one counts as shown.
        beside: Photos that show two labels that exclude each other, by both; on them neither counts.
        photos: The first photos of each.
    """

    without: Counter[tuple[str, str]] = field(default_factory=Counter)
    beside: Counter[tuple[str, str]] = field(default_factory=Counter)
    photos: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, kind: Counter[tuple[str, str]], pair: tuple[str, str], image_ids: Sequence[str]) -> None:
        """Count photos that break a rule."""
        if image_ids:
            kind[pair] += len(image_ids)
            named = self.photos.setdefault(pair, [])
            named += image_ids[: MOST_NAMED - len(named)]

    def counts(self) -> dict[str, int]:
        """How many photos break each rule, by the rule in words."""
        told = {f"{label} without {implied}": count for (label, implied), count in self.without.most_common()}
        return told | {f"{one} beside {other}": count for (one, other), count in self.beside.most_common()}

    def text(self) -> str:
        """What breaks the rules, for people; empty where nothing does."""
        lines = []
        for kind, word, made in (
            (self.without, "without", "which counts as shown"),
            (self.beside, "beside", "neither of which counts there"),
        ):
            for (one, other), count in kind.most_common():
                named = abbreviate(self.photos[one, other])
                lines.append(f"label_rules: {count:,} photos show {one} {word} {other}, {made}: {named}")
        return "\n".join(lines)


def obey_rules(rows: Dataset, rules: LabelRules) -> tuple[Dataset, BrokenRules]:
    """The rows with all that the rules decide, and what of them breaks the rules.

    What is implied is shown and what is excluded is not, also where nobody looked. Labels of one photo that exclude
    each other become unknown: one of them is wrong, and nobody knows which.
    """
    broken, tensors = BrokenRules(), RuledTensors(rules, torch.device("cpu"))
    closed: dict[str, list[npt.NDArray[np.bool_]]] = {"labels": [], "unknown": []}
    closed |= {"difficult": []} if "difficult" in rows.column_names else {}
    names = label_names(rows)
    plain = rows.select_columns([name for name in ("image_id", *LABEL_COLUMNS) if name in rows.column_names])
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = plain.select(range(start, min(start + ROWS_AT_ONCE, len(rows))))
        said = targets(part)
        now = tensors.targets(torch.from_numpy(said)).numpy()
        _count_broken(broken, rules, said, part["image_id"])
        closed["labels"].append(now > 0)
        hard = np.zeros_like(now, dtype=bool)
        if "difficult" in closed:
            only = targets(part.select_columns(["labels", "difficult"]))
            hard = (only < 0) & (now < 0)
            closed["difficult"].append(hard)
        closed["unknown"].append((now < 0) & ~hard)
    columns = {name: np.concatenate(parts) for name, parts in closed.items()}
    if "unknown" not in rows.column_names and not columns["unknown"].any():
        del columns["unknown"]
    features = label_features(names, "difficult" in columns, "unknown" in columns)
    result = rows.remove_columns([name for name in columns if name in rows.column_names])
    for name, matrix in columns.items():
        result = result.add_column(name, label_lists_from_matrix(matrix), feature=features[name])
    return result.select_columns(list(dict.fromkeys([*rows.column_names, *columns]))), broken


def _count_broken(
    broken: BrokenRules, rules: LabelRules, said: npt.NDArray[np.float32], image_ids: Sequence[str]
) -> None:
    """Add what some rows (N, C) break."""

    def named(where: npt.NDArray[np.bool_]) -> list[str]:
        return [image_ids[int(row)] for row in np.flatnonzero(where)]

    for label, implied in rules.implied.T.tolist():
        where = (said[:, label] > 0) & (said[:, implied] == 0)
        broken.add(broken.without, (rules.names[label], rules.names[implied]), named(where))
    held = rules.close_upward(said > 0)
    for group in np.unique(rules.members[0]):
        members = rules.members[1][rules.members[0] == group].tolist()
        for row in np.flatnonzero(held[:, members].sum(axis=1) > 1):
            for one, other in combinations([label for label in members if held[row, label]], 2):
                broken.add(broken.beside, (rules.names[one], rules.names[other]), [image_ids[int(row)]])
