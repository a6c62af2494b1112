"""A data set of any origin, brought to the one schema without touching its images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Image, List

from .files.raw_table import RawTable
from .images_inside.plain_kinds import with_plain_kinds
from .meaning.columns import LABEL_NAME, Roles, tells_split, the_holder
from .meaning.listing import Listing, list_labels
from .photos.disk_layout import abbreviate
from .reading import Reading, listed
from .schema import LABEL_COLUMNS, LEFT_OUT_COLUMNS, label_features, label_lists

WHOLE_NUMBERS = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16"})
FRACTIONS = frozenset({"float32", "float64"})  # of a 0.0 or 1.0 for each class
FILE_SETTINGS = frozenset({"delimiter", "encoding", "rows", "least_confidence", "image_root", "split", "confidence"})


def to_schema(
    data: Dataset | DatasetDict, class_names: Sequence[str] | None = None, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The data with the columns `image`, `image_id`, `labels` (`difficult`, `unknown` where it has them), no others.

    Labels are lists of class labels, of names or of numbers (ids, or a 0 or 1 for each class), or one class label. They
    stand in the column `labels`, or that which `reading.columns` names, else in the one column that can be meant; else
    each class is a column of its own with 0 or 1 in it. Rows without a column of names are numbered within their split.

    Args:
        data: Splits, or one of them.
        class_names: The classes in order. By default those that the data tells: its class labels; the names in
            `train` (or the first split), sorted; or its columns of whole numbers.
        reading: What a person decided; of its columns `file` is that of the images.

    Raises:
        ValueError: A column is missing, holds something else or could mean two things; column and row are named.
    """
    reading = reading or Reading()
    reading.refuse(FILE_SETTINGS, "a data set with images inside has no label file that it could explain")
    labels = reading.roles.get("labels", [])
    if len(labels) > 1:
        raise ValueError(
            f"data.columns: labels is {labels!r}, but a data set with images inside has its labels in one column; "
            "join them, or name one"
        )
    own = {"file": "image", "image_id": "image_id"} | reading.roles
    roles = Roles(own["file"], labels[0] if labels else "labels", image_id=own["image_id"])
    class_names = class_names or reading.names
    splits = data if isinstance(data, DatasetDict) else {"": data}
    splits = {name: with_plain_kinds(rows, roles.file) for name, rows in splits.items()}
    first = splits["train" if "train" in splits else next(iter(splits))]
    if roles.file not in first.column_names:
        raise ValueError(
            f"no image column {roles.file!r}; the columns are {', '.join(first.column_names)}: rename one, or "
            "data.columns '{file: COLUMN}' names it"
        )
    for role, name in reading.roles.items():
        lacking = [one for one in listed(name) if one not in first.column_names]
        if lacking and role != "classes":
            raise ValueError(f"data.columns: {role} is {lacking[0]!r}, the columns are {', '.join(first.column_names)}")
    roles.labels = _label_column(first, roles, reading)
    if roles.labels is not None:
        reading = _holds(first.features[roles.labels], roles.labels, class_names, reading)
    if not reading.given() and all(_is_schema(rows, first, class_names) for rows in splits.values()):
        return DatasetDict(splits) if isinstance(data, DatasetDict) else first
    listings = {split: _said_of_labels(rows, roles, reading, class_names) for split, rows in splits.items()}
    told = listings["train" if "train" in listings else next(iter(listings))]
    names = list(class_names or told.class_names())
    adapted = {split: _rows_to_schema(rows, listings[split], roles, names) for split, rows in splits.items()}
    return DatasetDict(adapted) if isinstance(data, DatasetDict) else adapted[""]


def _is_schema(data: Dataset, first: Dataset, class_names: Sequence[str] | None) -> bool:
    """Whether rows are of the one schema, with the classes of the first split, or those given, and no broken list."""
    names = getattr(getattr(first.features.get("labels"), "feature", None), "names", None)
    if names is None or (class_names and list(class_names) != names):
        return False
    if data.features != label_features(names, *(column in data.column_names for column in LEFT_OUT_COLUMNS)):
        return False
    lists = [label_lists(data, column) for column in LABEL_COLUMNS if column in data.column_names]
    ends = [pc.min_max(one.flatten()).as_py() for one in lists]
    inside = all(one["min"] is None or (one["min"] >= 0 and one["max"] < len(names)) for one in ends)
    return inside and not any(one.null_count for one in lists)


def _label_column(data: Dataset, roles: Roles, reading: Reading) -> str | None:
    """The column that holds labels; None where each class is a column of its own.

    Raises:
        ValueError: Several could be meant.
    """
    if roles.labels in data.column_names:
        return roles.labels
    if "classes" in reading.roles:
        return None
    others = {name: data.features[name] for name in _label_like(data, roles)}
    holders = [
        name
        for name, feature in others.items()
        if isinstance(feature, List | ClassLabel)
        or (LABEL_NAME.search(name) and getattr(feature, "dtype", None) in {*WHOLE_NUMBERS, "string"})
    ]
    flags = [name for name in _whole_numbers(data, roles) if name not in holders]
    return the_holder(holders, flags)


def _label_like(data: Dataset, roles: Roles) -> list[str]:
    """The columns that may hold labels: no image, id, split or left-out labels."""
    others = {roles.file, roles.image_id, *LEFT_OUT_COLUMNS}
    return [name for name in data.column_names if name not in others and not tells_split(name)]


def _whole_numbers(data: Dataset, roles: Roles) -> list[str]:
    """The columns that may hold labels and have a whole number in each row."""
    features = {name: data.features[name] for name in _label_like(data, roles)}
    return [
        name
        for name, feature in features.items()
        if getattr(feature, "dtype", None) in WHOLE_NUMBERS and not isinstance(feature, ClassLabel | List)
    ]


def _holds(feature: Any, column: str, class_names: Sequence[str] | None, reading: Reading) -> Reading:
    """The reading, with what the type of the label column decides.

    Raises:
        ValueError: The column is of another kind, or holds numbers without names.
    """
    item = getattr(feature, "feature", feature)
    kind = getattr(item, "dtype", None)
    single = not isinstance(feature, List)
    # a text in a column of the schema's own name should have been a list
    own_text = single and kind == "string" and column == "labels" and not reading.separator
    if kind not in {*WHOLE_NUMBERS, *FRACTIONS, "string"} or own_text or (single and kind in FRACTIONS):
        raise ValueError(
            f"the column {column!r} is {feature}, expected lists of class labels, names or numbers: cast it "
            "with datasets.List(datasets.ClassLabel(names=[...]))"
        )
    if isinstance(item, ClassLabel):
        reading.refuse({"numbers"}, f"the class labels of column {column!r} tell what its numbers are")
    elif kind != "string" and not class_names:
        raise ValueError(
            f"the column {column!r} holds numbers without names: pass class_names, or cast it with "
            "datasets.List(datasets.ClassLabel(names=[...]))"
        )
    elif kind in {"bool", *FRACTIONS} and reading.numbers is None:
        return replace(reading, numbers="multi_hot")
    return reading


def _said_of_labels(data: Dataset, roles: Roles, reading: Reading, class_names: Sequence[str] | None) -> Listing:
    """What the cells of the rows say of labels."""
    path, feature = Path(str(data.split or "data")), data.features.get(roles.labels)
    told = [name for named in reading.roles.values() for name in listed(named)]
    read = {roles.labels, *_label_like(data, roles), *LEFT_OUT_COLUMNS, *told} - {roles.file}
    table = data.select_columns([name for name in data.column_names if name in read]).with_format("arrow")[:]
    cells = {name: _named_ids(data.features[name], table[name].to_pylist()) for name in table.column_names}
    own_names = getattr(getattr(feature, "feature", feature), "names", None)
    raw = RawTable(path, "row", range(len(data)), cells, class_names=list(own_names or class_names or ()))
    unknown = reading.roles.get("unknown", "unknown")
    roles = replace(roles, not_labels=reading.roles.get("not_labels"))
    roles.unknown, roles.difficult = (name if name in cells else None for name in (unknown, "difficult"))
    if feature is not None:
        roles.notes = [f"labels by column {roles.labels!r}"] if roles.labels != "labels" else []
        if isinstance(feature, ClassLabel):
            roles.notes = [f"one label per photo, by column {roles.labels!r}"]
    else:
        roles.classes = list(class_names or reading.roles.get("classes", ()) or _whole_numbers(data, roles))
        missing = [name for name in roles.classes if name not in cells]
        if missing:
            raise ValueError(f"{path}: no column for the classes {abbreviate(missing)}")
        if not roles.classes:
            raise ValueError(
                f"no label column 'labels' and no columns of 0 and 1; the columns are {', '.join(data.column_names)}: "
                "rename one, or data.columns '{labels: COLUMN}' names it"
            )
    return list_labels(raw, roles, reading, class_names or own_names)


def _named_ids(feature: Any, cells: list[Any]) -> list[Any]:
    """The cells of a column, class labels by their names."""
    item = getattr(feature, "feature", feature)
    if not isinstance(item, ClassLabel):
        return cells
    names = dict(enumerate(item.names))
    return [None if one is None else [names.get(i, i) for i in listed(one)] for one in cells]


def _rows_to_schema(data: Dataset, listing: Listing, roles: Roles, names: list[str]) -> Dataset:
    """The rows with the schema's columns alone."""
    lists = listing.label_columns(names)
    features = label_features(names, *(column in lists for column in LEFT_OUT_COLUMNS))
    rows = data.select_columns([roles.file]).rename_columns({roles.file: "image"})
    try:
        rows = rows.cast_column("image", Image())
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(
            f"{data.split or 'data'}: the column {roles.file!r} is {data.features[roles.file]}, expected images: "
            "encoded bytes, file names, or structs of bytes and path"
        ) from error
    for name, column in {"image_id": _image_ids(data, str(roles.image_id)), **lists}.items():
        rows = rows.add_column(name, column, feature=features[name])
    rows.info.description = _told(data, listing, roles)
    return rows


def _told(data: Dataset, listing: Listing, roles: Roles) -> str:
    """How the columns were read, for people; nothing where they are those of the schema."""
    read = {roles.file, roles.image_id, roles.labels, "image", "image_id", *LEFT_OUT_COLUMNS}
    if roles.labels is None:
        read |= set(listing.names or ())
    unread = [name for name in data.column_names if name not in read]
    told = ["; ".join(listing.notes)] if listing.notes else []
    if unread:
        told.append(f"columns not read: {', '.join(map(repr, unread[:8]))}")
    splits = [name for name in unread if tells_split(name)]
    if splits:
        told.append(f"WARNING: {splits[0]!r} seems to tell splits; all rows are of this one")
    return "\n".join(f"{data.split or 'data'}: {note}" for note in told)


def _image_ids(data: Dataset, column: str) -> list[str]:
    """The ids of all rows, made of split and place where no column holds them; ValueError where one repeats."""
    if column not in data.column_names:
        return [f"{data.split or 'row'}-{row:06d}" for row in range(len(data))]
    ids = [str(value) for value in data[column]]
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ValueError(f"{data.split or 'data'}: {column} {twice!r} occurs more than once; it must be unique")
    return ids
