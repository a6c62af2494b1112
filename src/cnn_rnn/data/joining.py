"""Several labelled image sets as one, such as VOC 2007 and 2012 or COCO's train and val."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from datasets import Dataset, DatasetDict, concatenate_datasets

from .disk_layout import abbreviate
from .schema import LEFT_OUT_COLUMNS, label_features, label_names

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
    joined = [rows for _, rows in parts]
    there = [column for column in LEFT_OUT_COLUMNS if any(column in rows.column_names for rows in joined)]
    joined = [_with_columns(rows, names, there) for rows in joined]
    return concatenate_datasets(joined)


def with_same_columns(splits: Mapping[str, Dataset]) -> DatasetDict:
    """The splits of one set, each with the columns of left-out labels that any of them has."""
    there = [column for column in LEFT_OUT_COLUMNS if any(column in rows.column_names for rows in splits.values())]
    return DatasetDict({name: _with_columns(rows, label_names(rows), there) for name, rows in splits.items()})


def _with_columns(rows: Dataset, names: list[str], columns: list[str]) -> Dataset:
    """The rows with these columns of left-out labels last, empty ones where they had none."""
    for column in columns:
        if column not in rows.column_names:
            features = label_features(names, *(column == name for name in LEFT_OUT_COLUMNS))
            empty = pa.array([[]] * len(rows), features.arrow_schema.field(column).type)
            rows = rows.add_column(column, empty, feature=features[column])
    if not columns:
        return rows
    return rows.select_columns([name for name in rows.column_names if name not in columns] + columns)
