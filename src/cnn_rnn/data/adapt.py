"""A data set of any origin, brought to the one schema without touching its images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Image, LargeList, List

from .files.nested_rows import table_of_rows
from .files.raw_table import RawTable
from .meaning.cells import Meanings
from .meaning.columns import LABEL_NAME, are_flags, find_roles, tells_splits
from .meaning.listing import Listing, list_labels
from .photos.disk_layout import abbreviate
from .reading import Reading, listed
from .schema import LABEL_COLUMNS, check_images, label_features, label_lists

WHOLE_NUMBERS = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
MOST_WORDS = 16  # that columns of yes, no and unknown hold
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
    splits = data if isinstance(data, DatasetDict) else {str(data.split or ""): data}
    first = "train" if "train" in splits else next(iter(splits))
    if not reading.given() and all(_is_schema(rows, splits[first], class_names) for rows in splits.values()):
        return data
    read = {split: _read_rows(rows, image, reading, class_names) for split, rows in splits.items()}
    names = list(class_names or read[first][0].class_names())
    adapted = {split: _rows_to_schema(rows, image, *read[split], names) for split, rows in splits.items()}
    return DatasetDict(adapted) if isinstance(data, DatasetDict) else adapted[first]


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
    named += [name.partition(".")[0] for name in named if name]
    meanings = Meanings(reading)
    kept = [
        name
        for name in data.features
        if name != image and (name in named or tells_splits(name) or _may_tell_labels(data, name, meanings))
    ]
    cells = {name: _named_ids(data.features[name], _column(data, name).to_pylist()) for name in kept}
    table = RawTable(path, "row", range(len(data)), cells)
    if any(isinstance(_item(data.features[name]), dict) for name in cells):
        rows = zip(*cells.values(), strict=True)
        table = table_of_rows(path, "row", enumerate(dict(zip(cells, row, strict=True)) for row in rows))
    table.others = [name for name in data.features if name not in cells]
    roles = find_roles(table, reading, class_names, image)
    told = [getattr(_item(_feature_at(data.features, name)), "names", None) for name in roles.labels]
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


def _feature_at(features: Mapping[str, Any], name: str) -> Any:
    """The feature of a column, such as `labels`, or `objects.category` of objects; None where there is none."""
    first, _, rest = name.partition(".")
    if name in features or not rest:
        return features.get(name)
    inner = _item(features.get(first))
    return _feature_at(inner, rest) if isinstance(inner, dict) else None


def _column(data: Dataset, name: str) -> pa.ChunkedArray:
    """One column; the others, which may hold images, stay where they are."""
    return data.select_columns([name]).with_format("arrow")[:][name]


def _may_tell_labels(data: Dataset, name: str, meanings: Meanings) -> bool:
    """Whether a column may hold labels, or yes and no of a class.

    Those are whole numbers and lists; other numbers and texts where each says yes, no or unknown; objects with labels
    or truth values in them; and whatever is called so.
    """
    feature = data.features[name]
    inner, kind = _item(feature), getattr(feature, "dtype", None)
    if LABEL_NAME.search(name):
        return True
    if isinstance(inner, dict):
        truths = all(getattr(one, "dtype", None) == "bool" for one in inner.values())
        return truths or any(LABEL_NAME.search(f"{name}.{key}") for key in inner)
    if isinstance(feature, List | LargeList) or kind in WHOLE_NUMBERS:
        return True
    if kind is None or not kind.endswith(("string", "float16", "float32", "float64")):
        return False
    if len(words := _column(data, name).unique()) > MOST_WORDS:
        return False
    said = words.to_pylist()
    return are_flags(said, meanings) and any(one is not None and str(one).strip() for one in said)


def _named_ids(feature: Any, cells: list[Any]) -> list[Any]:
    """The cells of a column, class labels by their names, also within objects."""
    inner = _item(feature)
    if isinstance(inner, dict):
        return [_named_within(feature, one) for one in cells]
    if not isinstance(inner, ClassLabel):
        return cells
    names = dict(enumerate(inner.names))
    return [None if one is None else [names.get(i, i) for i in listed(one)] for one in cells]


def _named_within(feature: Any, cell: Any) -> Any:
    """A value of any depth, class labels by their names."""
    inner = _item(feature)
    if isinstance(cell, list):
        return [_named_within(inner, one) for one in cell]
    if isinstance(cell, dict):
        return {key: _named_within(inner[key], one) for key, one in cell.items()}
    known = isinstance(inner, ClassLabel) and isinstance(cell, int) and 0 <= cell < len(inner.names)
    return inner.names[cell] if known else cell


def _rows_to_schema(data: Dataset, image: str, listing: Listing, image_id: str | None, names: list[str]) -> Dataset:
    """The rows with the schema's columns alone."""
    lists = listing.label_columns(names)
    features = label_features(names, lists)
    check_images(data.features, image, str(listing.path))
    _refuse_unreached(data, image, str(listing.path))
    rows = data.select_columns([image]).rename_columns({image: "image"}).cast_column("image", Image())
    for name, column in {"image_id": _image_ids(data, image_id), **lists}.items():
        rows = rows.add_column(name, column, feature=features[name])
    rows.info.description = "\n".join(f"{listing.path}: {note}" for note in listing.notes)
    return rows


def _refuse_unreached(data: Dataset, image: str, what: str) -> None:
    """Refuse images that are told by names which lead nowhere from here, as those of files beside a table do."""
    if getattr(data.features[image], "dtype", None) not in {"string", "large_string"}:
        return
    names = _column(data, image).to_pylist()
    lost = [name for name in names if name and "://" not in name and not Path(name).exists()]
    if lost:
        raise ValueError(
            f"{what}: the column {image!r} names files that are not there: {abbreviate(lost)}; where they lie beside "
            "one Parquet file, data.name table --data.root FILE.parquet reads it"
        )


def _image_ids(data: Dataset, column: str | None) -> list[str]:
    """The ids of all rows, made of split and place where no column holds them; ValueError where one repeats."""
    if column is None:
        return [f"{data.split or 'row'}-{row:06d}" for row in range(len(data))]
    ids = [str(value) for value in data[column]]
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ValueError(f"{data.split or 'data'}: {column} {twice!r} occurs more than once; it must be unique")
    return ids
