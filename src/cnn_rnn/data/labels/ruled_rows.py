"""Rows under rules between labels: what the rules decide is so, and what breaks them is counted and named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from datasets import Dataset, Features, Image, IterableDataset

from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.data.schema import (
    LABEL_COLUMNS,
    ROWS_COUNTED,
    label_features,
    label_lists_from_matrix,
    label_names,
    targets,
)
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.ruled_tensors import RuledTensors

STREAMED_AT_ONCE = 8  # rows of a stream, whose images are in memory meanwhile
WITHOUT, BESIDE = "without", "beside"  # what a rule is broken by
MOST_NAMED = 20  # photos of a broken rule that are kept by name


@dataclass
class BrokenRules:
    """What rows say that rules do not allow.

    Attributes:
        counts_by_rule: How many photos show a label without what it implies, which then counts as shown, or beside one
            that it excludes, where neither counts; by the two labels and the word between them.
        photos: The first photos of each.
    """

    counts_by_rule: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    photos: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, one: str, word: str, other: str, image_ids: Sequence[str]) -> None:
        """Count photos that break a rule."""
        if image_ids:
            self.counts_by_rule[one, word, other] += len(image_ids)
            named = self.photos.setdefault((one, word, other), [])
            named += image_ids[: MOST_NAMED - len(named)]

    def counts(self) -> dict[str, int]:
        """How many photos break each rule, by the rule in words."""
        return {" ".join(rule): count for rule, count in self.counts_by_rule.most_common()}

    def text(self) -> str:
        """What breaks the rules, for people; empty where nothing does."""
        made = {WITHOUT: "which counts as shown", BESIDE: "neither of which counts there"}
        return "\n".join(
            f"label_rules: {count:,} photos show {' '.join(rule)}, {made[rule[1]]}: {abbreviate(self.photos[rule])}"
            for rule, count in self.counts_by_rule.most_common()
        )


def obey_rules(rows: Dataset, rules: LabelRules) -> tuple[Dataset, BrokenRules]:
    """The rows with all that the rules decide, and what of them breaks the rules.

    What is implied is shown and what is excluded is not, also where nobody looked. Labels of one photo that exclude
    each other become unknown: one of them is wrong, and nobody knows which.
    """
    broken, tensors = BrokenRules(), RuledTensors(rules, torch.device("cpu"))
    names = label_names(rows)
    plain = rows.select_columns([name for name in ("image_id", *LABEL_COLUMNS) if name in rows.column_names])
    arrow, parts = plain.with_format("arrow"), []
    for start in range(0, max(len(rows), 1), ROWS_COUNTED):
        part: pa.Table = arrow[start : start + ROWS_COUNTED]
        _count_broken(broken, rules, targets(part, len(names)), part["image_id"].to_pylist())
        parts.append(_closed(tensors, part, len(names)))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if "unknown" not in rows.column_names and not columns["unknown"].any():
        del columns["unknown"]
    features = label_features(names, columns)
    result = rows.remove_columns([name for name in columns if name in rows.column_names])
    for name, matrix in columns.items():
        result = result.add_column(name, label_lists_from_matrix(matrix), feature=features[name])
    return result.select_columns(list(dict.fromkeys([*rows.column_names, *columns]))), broken


def obey_rules_as_read(rows: IterableDataset, rules: LabelRules) -> IterableDataset:
    """The rows of a stream with all that the rules decide, each as it is read; see `obey_rules`."""
    tensors, names = RuledTensors(rules, torch.device("cpu")), label_names(rows)
    rows = rows.cast_column("image", Image(decode=False))
    features = Features(rows.features | label_features(names, [*(rows.column_names or ()), "unknown"]))
    features["image"] = Image(decode=False)

    def close(batch: dict[str, Any]) -> dict[str, Any]:
        """Some rows, their label columns closed."""
        told = {name: pa.array(batch[name], pa.list_(pa.int64())) for name in LABEL_COLUMNS if name in batch}
        closed = _closed(tensors, pa.table({"image_id": batch["image_id"], **told}), len(names))
        return {name: label_lists_from_matrix(matrix).to_pylist() for name, matrix in closed.items()}

    return rows.map(close, batched=True, batch_size=STREAMED_AT_ONCE, features=features)


def _closed(tensors: RuledTensors, rows: pa.Table, num_labels: int) -> dict[str, npt.NDArray[np.bool_]]:
    """The label columns of some rows (N, C) by what these say: all that the rules decide, and what stays unknown."""
    now = tensors.targets(torch.from_numpy(targets(rows, num_labels))).numpy()
    if "difficult" not in rows.column_names:
        return {"labels": now > 0, "unknown": now < 0}
    hard = (targets(rows.select(["labels", "difficult"]), num_labels) < 0) & (now < 0)
    return {"labels": now > 0, "unknown": (now < 0) & ~hard, "difficult": hard}


def _count_broken(
    broken: BrokenRules, rules: LabelRules, said: npt.NDArray[np.float32], image_ids: Sequence[str]
) -> None:
    """Add what some rows (N, C) break."""

    def named(where: npt.NDArray[np.bool_]) -> list[str]:
        return [image_ids[int(row)] for row in np.flatnonzero(where)]

    for label, implied in rules.implied.T.tolist():
        where = (said[:, label] > 0) & (said[:, implied] == 0)
        broken.add(rules.names[label], WITHOUT, rules.names[implied], named(where))
    held = rules.close_upward(said > 0)
    for group in np.unique(rules.members[0]):
        members = rules.members[1][rules.members[0] == group].tolist()
        for row in np.flatnonzero(held[:, members].sum(axis=1) > 1):
            for one, other in combinations([label for label in members if held[row, label]], 2):
                broken.add(rules.names[one], BESIDE, rules.names[other], [image_ids[int(row)]])
