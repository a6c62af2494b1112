"""A data set of any origin, brought to the one schema without touching its images."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Image, LargeList, List

from .files.raw_table import RawTable
from .meaning.columns import LABEL_NAME, find_roles
from .meaning.listing import Listing, list_labels
from .reading import Reading, listed
from .schema import LABEL_COLUMNS, check_images, label_features, label_lists

WHOLE_NUMBERS = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
FILE_SETTINGS = frozenset({"delimiter", "encoding", "rows", "least_confidence", "image_root", "split", "confidence"})


def to_schema(
    data: Dataset | DatasetDict, class_names: Sequence[str] | None = None, reading: Reading | None = None
) -> Dataset | DatasetDict:
    """The data with the columns `image`, `image_id`, `labels` (`difficult`, `unknown` where it has them), no others.

    What its columns mean is found out as that of a table's columns is. Rows without a column of names are numbered
    within their split.

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
    class_names = class_names or reading.names
    image = reading.roles.get("file", "image")
    splits = data if isinstance(data, DatasetDict) else {"": data}
    first = "train" if "train" in splits else next(iter(splits))
    if not reading.given() and all(_is_schema(rows, splits[first], class_names) for rows in splits.values()):
        return data
    read = {split: _read_rows(rows, image, reading, class_names) for split, rows in splits.items()}
    names = list(class_names or read[first][0].class_names())
    adapted = {split: _rows_to_schema(rows, image, *read[split], names) for split, rows in splits.items()}
    return DatasetDict(adapted) if isinstance(data, DatasetDict) else adapted[""]


def _is_schema(data: Dataset, first: Dataset, class_names: Sequence[str] | None) -> bool:
    """Whether rows are of the one schema, with the classes of the first split, or those given, and no broken list."""
    names = getattr(getattr(first.features.get("labels"), "feature", None), "names", None)
    if names is None or (class_names and list(class_names) != names):
        return False
    if data.features != label_features(names, data.column_names):
        return False
    lists = [label_lists(data, column) for column in LABEL_COLUMNS if column in data.column_names]
    ends = [pc.min_max(one.flatten()).as_py() for one in lists]
    inside = all(one["min"] is None or (one["min"] >= 0 and one["max"] < len(names)) for one in ends)
    return inside and not any(one.null_count for one in lists)


def _read_rows(
    data: Dataset, image: str, reading: Reading, class_names: Sequence[str] | None
) -> tuple[Listing, str | None]:
    """What the rows say of labels, and the column of their names; ValueError as of any table."""
    path = Path(str(data.split or "data"))
    if image not in data.column_names:
        raise ValueError(
            f"no image column {image!r}; the columns are {', '.join(data.column_names)}: rename one, or "
            "data.columns '{file: COLUMN}' names it"
        )
    named = [name for one in reading.roles.values() for name in listed(one)] + ["image_id", *LABEL_COLUMNS]
    others = {name: feature for name, feature in data.features.items() if name != image}
    kept = [name for name, feature in others.items() if name in named or _may_tell_labels(name, feature)]
    rows = data.select_columns(kept).with_format("arrow")[:]
    cells = {name: _named_ids(data.features[name], rows[name].to_pylist()) for name in kept}
    table = RawTable(path, "row", range(len(data)), cells, others=[name for name in data.features if name not in kept])
    roles = find_roles(table, reading, class_names, image)
    told = [getattr(_item(data.features[name]), "names", None) for name in roles.labels]
    own_names = told[0] if len(told) == 1 else None
    table.class_names = list(own_names or class_names or ())
    if own_names:
        reading.refuse({"numbers"}, f"the class labels of column {roles.labels[0]!r} tell what its numbers are")
    if roles.split:
        roles.notes.append(f"WARNING: {roles.split!r} seems to tell splits; all rows are of this one")
    return list_labels(table, roles, reading, class_names or own_names), roles.image_id


def _item(feature: Any) -> Any:
    """What a list holds, or the feature itself."""
    return getattr(feature, "feature", feature)


def _may_tell_labels(name: str, feature: Any) -> bool:
    """Whether a column may hold labels, or yes and no of a class: numbers and lists, and texts by the column's name."""
    kind = getattr(feature, "dtype", None)
    return isinstance(feature, List | LargeList) or kind in WHOLE_NUMBERS or LABEL_NAME.search(name) is not None


def _named_ids(feature: Any, cells: list[Any]) -> list[Any]:
    """The cells of a column, class labels by their names."""
    if not isinstance(_item(feature), ClassLabel):
        return cells
    names = dict(enumerate(_item(feature).names))
    return [None if one is None else [names.get(i, i) for i in listed(one)] for one in cells]


def _rows_to_schema(data: Dataset, image: str, listing: Listing, image_id: str | None, names: list[str]) -> Dataset:
    """The rows with the schema's columns alone."""
    lists = listing.label_columns(names)
    features = label_features(names, lists)
    check_images(data.features, image, str(listing.path))
    rows = data.select_columns([image]).rename_columns({image: "image"}).cast_column("image", Image())
    for name, column in {"image_id": _image_ids(data, image_id), **lists}.items():
        rows = rows.add_column(name, column, feature=features[name])
    rows.info.description = "\n".join(f"{listing.path}: {note}" for note in listing.notes)
    return rows


def _image_ids(data: Dataset, column: str | None) -> list[str]:
    """The ids of all rows, made of split and place where no column holds them; ValueError where one repeats."""
    if column is None:
        return [f"{data.split or 'row'}-{row:06d}" for row in range(len(data))]
    ids = [str(value) for value in data[column]]
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ValueError(f"{data.split or 'data'}: {column} {twice!r} occurs more than once; it must be unique")
    return ids
