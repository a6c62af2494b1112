"""Which labels a run knows and what it calls them, and several sets as one, such as VOC 2007 and 2012.

Two labels are made one, others left out, sets of other names joined.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from cnn_rnn.data.photos.disk_layout import abbreviate, pick_split
from cnn_rnn.data.schema import (
    LABEL_COLUMNS,
    LEFT_OUT_COLUMNS,
    build_dataset,
    label_features,
    label_lists,
    label_lists_from_pairs,
    label_names,
    row_of_each_label,
)
from cnn_rnn.nearest_names import did_you_mean


@dataclass(frozen=True)
class LabelChoice:
    """Settings of `data` that choose among the labels of a set, whatever its format.

    Attributes:
        rename_labels: New name by old one. Several labels of one new name become one, which a photo shows where it
            shows any of them.
        keep_labels: Labels by their new names, in the order of their ids; photos stay, with all others left out. All of
            them where None.
        labels_of_others: What the photos of a set say of labels that only sets joined with it have a word for: nobody
            looked for them there ("unknown"), or they are not on them ("absent"). All must name the same where None.
    """

    rename_labels: Mapping[str, str] = field(default_factory=dict)
    keep_labels: Sequence[str] | None = None
    labels_of_others: Literal["absent", "unknown"] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no name; YAML reads a bare `no` or `on` as a truth value."""
        kept = self.keep_labels
        named = {"rename_labels": [*self.rename_labels, *self.rename_labels.values()], "keep_labels": kept or []}
        for setting, names in named.items():
            wrong = [name for name in names if not isinstance(name, str)]
            if wrong:
                raise ValueError(f"data.{setting} holds {wrong[0]!r}, expected the name of a label: put it in quotes")
        if kept is not None and len(set(kept)) != len(kept):
            twice = next(name for name in kept if list(kept).count(name) > 1)
            raise ValueError(f"data.keep_labels names {twice!r} twice")
        if kept is not None and not kept:
            raise ValueError("data.keep_labels names no label; leave it out to keep all")

    def of(self, rows: Dataset, what: str) -> Dataset:
        """The rows with the labels chosen; the images are not touched.

        Args:
            rows: Rows of the schema.
            what: Their set, for messages.

        Raises:
            ValueError: The set knows a label neither by its old nor by its new name, or lacks one that is kept; the
                nearest names are told.
        """
        return self._with(rows, self._names(label_names(rows), what))

    def of_parts(self, parts: Sequence[tuple[str, Dataset]]) -> list[tuple[str, Dataset]]:
        """Several sets, each by its name, with the labels chosen; where `labels_of_others` is told, those of all.

        Raises:
            ValueError: As `of`; with `labels_of_others` where no set knows a label.
        """
        if self.labels_of_others is None:
            return [(what, self.of(rows, what)) for what, rows in parts]
        old = dict.fromkeys(name for _, rows in parts for name in label_names(rows))
        names = self._names(list(old), " and ".join(what for what, _ in parts))
        return [(what, self._with(rows, names)) for what, rows in parts]

    def _names(self, old: Sequence[str], what: str) -> list[str]:
        """The names of the labels chosen among the old ones; ValueError where one is lacking."""
        lacking = [one for one, new in self.rename_labels.items() if one not in old and new not in old]
        if lacking:
            raise ValueError(f"data.rename_labels: {what} has no label {nearest(lacking, old)}")
        new = [self.rename_labels.get(name, name) for name in old]
        names = list(self.keep_labels if self.keep_labels is not None else dict.fromkeys(new))
        lacking = [name for name in names if name not in new]
        if lacking:
            raise ValueError(f"data.keep_labels: {what} has no label {nearest(lacking, new)}")
        return names

    def _with(self, rows: Dataset, names: list[str]) -> Dataset:
        """The rows with labels of these names; of those that it has no word for, what `labels_of_others` tells."""
        new = [self.rename_labels.get(name, name) for name in label_names(rows)]
        if names == new == label_names(rows):
            return rows
        ids = {name: index for index, name in enumerate(names)}
        becomes = np.array([ids.get(name, -1) for name in new], np.int64)  # new id by old one
        lacking = np.setdiff1d(np.arange(len(names)), becomes) if self.labels_of_others == "unknown" else becomes[:0]
        columns: dict[str, Any] = {}
        seen = np.zeros(0, np.int64)
        for column in LABEL_COLUMNS:
            pairs = seen[:0]  # of row and label
            if column in rows.column_names:
                lists = label_lists(rows, column)
                chosen = becomes[lists.flatten().to_numpy(zero_copy_only=False)]
                pairs = row_of_each_label(lists)[chosen >= 0] * len(names) + chosen[chosen >= 0]
            there = np.setdiff1d(pairs, seen)  # what a photo shows is neither difficult nor unknown
            seen = np.union1d(seen, there)
            if column == "unknown":
                pairs = (np.arange(len(rows))[:, None] * len(names) + lacking).ravel()
                there = np.sort(np.concatenate([there, pairs]), kind="stable")
            if column in rows.column_names or len(there):
                columns[column] = label_lists_from_pairs(*np.divmod(there, len(names)), len(rows))
        table = rows.with_format("arrow")[:]
        images, ids = (table.column(name).combine_chunks() for name in ("image", "image_id"))
        split, description = str(rows.split) if rows.split else None, rows.info.description or ""
        return build_dataset(images, ids, columns.pop("labels"), names, **columns, split=split, description=description)


def nearest(lacking: Sequence[str], names: Sequence[str]) -> str:
    """The names that are lacking, and what may be meant by the first, or else some that there are."""
    there = f"its labels are {abbreviate(sorted(set(names)))}"
    hint = did_you_mean(lacking[0], names, shown=repr, otherwise=there)
    return f"{abbreviate([repr(name) for name in lacking])}; {hint}"


SAME = (
    "data.rename_labels gives labels the same names, data.keep_labels leaves others out and sets the order, "
    "data.labels_of_others unknown joins sets whose labels differ: each is asked for its own alone"
)


def joined_parts(kind: str, split: str) -> list[tuple[str, str]]:
    """Source and split of each part that names joined by `+` stand for.

    Several sources and several splits are paired; one of either is taken with each of the other.

    Raises:
        ValueError: There are several of both, and not as many.
    """
    kinds, splits = kind.split("+"), split.split("+")
    if 1 not in {len(kinds), len(splits)} and len(kinds) != len(splits):
        raise ValueError(
            f"data source {kind!r} and split {split!r} join {len(kinds)} sets and {len(splits)} splits; expected "
            "as many, or one of either"
        )
    several = max(len(kinds), len(splits))
    return list(zip(kinds * (several // len(kinds)), splits * (several // len(splits)), strict=True))


def joined_name(split: str) -> str:
    """What several splits joined by `+` are called as one: `train+train` is train, `trainval+train` trainval_train."""
    return "_".join(dict.fromkeys(split.split("+")))


def join_datasets(parts: Sequence[tuple[str, Dataset]]) -> Dataset:
    """All rows of the parts, one part after the other.

    Args:
        parts: What an error calls a part, and its rows; all have the one schema and the same classes. Where only some
            tell difficult or unknown labels, those of the others are empty.

    Raises:
        ValueError: The classes differ, or an image is in more than one part.
    """
    (first, rows), *others = parts
    names = label_names(rows)
    for name, other in others:
        if label_names(other) != names:
            differing = sorted(set(names) ^ set(label_names(other)))
            detail = f"only one of them has {abbreviate(differing)}" if differing else "their order differs"
            raise ValueError(f"{first} and {name} name different classes, so they cannot be joined: {detail}; {SAME}")
    holder: dict[str, str] = {}
    for name, part in parts:
        twice = holder.keys() & set(part["image_id"])
        if twice:
            image_id = min(twice)
            raise ValueError(
                f"image {image_id!r} is in {holder[image_id]} and in {name}: what is joined must not overlap"
            )
        holder |= dict.fromkeys(part["image_id"], name)
    return concatenate_datasets(_same_columns([rows for _, rows in parts]))


def load_splits(
    available: Sequence[str], split: str | None, what: str, load: Callable[[str], Dataset]
) -> Dataset | DatasetDict:
    """All splits of a set, each with the columns of left-out labels that any of them has, or the one asked for.

    Args:
        available: Their names.
        split: The one that is asked for; None for all.
        what: The set, for messages.
        load: What gives one of them.

    Raises:
        ValueError: There is no such split.
    """
    loaded = {name: load(name) for name in pick_split(available, split, what)}
    if split:
        return loaded[split]
    return DatasetDict(zip(loaded, _same_columns(list(loaded.values())), strict=True))


def _same_columns(parts: Sequence[Dataset]) -> list[Dataset]:
    """The parts, each with the columns of left-out labels that any of them has last; empty ones where it had none."""
    there = [column for column in LEFT_OUT_COLUMNS if any(column in rows.column_names for rows in parts)]
    same = []
    for rows in parts:
        for column in set(there).difference(rows.column_names):
            feature = label_features(label_names(rows), [column])[column]
            rows = rows.add_column(column, [[]] * len(rows), feature=feature)  # noqa: PLW2901
        others = [name for name in rows.column_names if name not in there]
        same.append(rows.select_columns(others + there) if there else rows)
    return same
