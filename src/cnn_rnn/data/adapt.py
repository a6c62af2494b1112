"""A data set of any origin, brought to the one schema without touching its images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Image, List

from .disk_layout import abbreviate
from .schema import label_features, label_lists, label_lists_from_matrix, row_of_each_label

WHOLE_NUMBERS = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16"})


@dataclass(frozen=True)
class Columns:
    """What a data set calls the columns of the schema.

    Attributes:
        image: The image column.
        labels: Lists of class labels, of names, or of numbers. Where there is no such column, each class is a column
            of its own with 0 or 1 in it.
        image_id: Unique names; where there is no such column, rows are numbered within their split.
    """

    image: str = "image"
    labels: str = "labels"
    image_id: str = "image_id"


def to_schema(
    data: Dataset | DatasetDict, columns: Columns | None = None, class_names: Sequence[str] | None = None
) -> Dataset | DatasetDict:
    """The data with the columns `image`, `image_id`, `labels` (`difficult` where it has one), and no others.

    Args:
        data: Splits, or one of them.
        columns: What the data calls its columns.
        class_names: The classes in order. By default those that the data tells: its class labels; the names in
            `train` (or the first split), sorted; or its columns of whole numbers.

    Raises:
        ValueError: A column is missing or holds something else; column and row are named.
    """
    columns = columns or Columns()
    first = data["train" if "train" in data else next(iter(data))] if isinstance(data, DatasetDict) else data
    names = list(class_names or _class_names(first, columns))
    if isinstance(data, DatasetDict):
        return DatasetDict({split: _rows_to_schema(rows, columns, names) for split, rows in data.items()})
    return _rows_to_schema(data, columns, names)


def _rows_to_schema(data: Dataset, columns: Columns, names: list[str]) -> Dataset:
    if columns.image not in data.column_names:
        raise ValueError(
            f"no image column {columns.image!r}; the columns are {', '.join(data.column_names)}: "
            "rename one, or name it in columns"
        )
    labelled = columns.labels in data.column_names
    present = _presence_of_lists(data, columns, names) if labelled else _presence_of_columns(data, names)
    features = label_features(names, "difficult" in data.column_names)
    if data.features == features:
        return data
    added = {"image_id": _image_ids(data, columns.image_id), "labels": label_lists_from_matrix(present)}
    if "difficult" in data.column_names:
        added["difficult"] = label_lists(data, "difficult")
    rows = data.select_columns([columns.image]).rename_columns({columns.image: "image"}).cast_column("image", Image())
    for name, column in added.items():
        rows = rows.add_column(name, column, feature=features[name])
    return rows


def _class_names(data: Dataset, columns: Columns) -> list[str]:
    if columns.labels not in data.column_names:
        others = {columns.image, columns.image_id}
        names = [
            name
            for name, feature in data.features.items()
            if name not in others and getattr(feature, "dtype", None) in WHOLE_NUMBERS
        ]
        if not names:
            raise ValueError(
                f"no label column {columns.labels!r} and no columns of 0 and 1; the columns are "
                f"{', '.join(data.column_names)}: "
                "rename one, or name it in columns"
            )
        return names
    item = _item(data, columns.labels)
    if isinstance(item, ClassLabel):
        return list(item.names)
    if item.dtype == "string":
        names = pc.unique(label_lists(data, columns.labels).flatten()).drop_null().to_pylist()
        return sorted(names)
    raise ValueError(
        f"the column {columns.labels!r} holds numbers without names: pass class_names, or cast it with "
        "datasets.List(datasets.ClassLabel(names=[...]))"
    )


def _item(data: Dataset, column: str) -> ClassLabel:
    feature = data.features[column]
    item = getattr(feature, "feature", None)
    if not isinstance(feature, List) or getattr(item, "dtype", None) not in {*WHOLE_NUMBERS, "string"}:
        raise ValueError(
            f"the column {column!r} is {feature}, expected lists of class labels, names or numbers: cast it with "
            "datasets.List(datasets.ClassLabel(names=[...]))"
        )
    return item


def _presence_of_lists(data: Dataset, columns: Columns, names: list[str]) -> npt.NDArray[np.bool_]:
    """The label lists as a 0/1 matrix (N, C)."""
    lists = label_lists(data, columns.labels)
    item = _item(data, columns.labels)
    known = list(item.names) if isinstance(item, ClassLabel) else names
    values = lists.flatten()
    own = pc.index_in(values, pa.array(known)) if item.dtype == "string" else values.cast(pa.int64())
    ids = own.fill_null(-1).to_numpy(zero_copy_only=False)
    rows = row_of_each_label(lists)
    wrong = rows[(ids < 0) | (ids >= len(known))]
    absent = np.flatnonzero(lists.is_null())
    if len(wrong) or len(absent):
        row = int(min([*wrong[:1], *absent[:1]]))
        raise ValueError(
            f"{data.split or 'data'}, row {row}: labels are {lists[row].as_py()!r}, expected a list of the "
            f"{len(known)} classes {abbreviate(known)}"
        )
    places = {name: place for place, name in enumerate(names)}
    outside = [name for name in known if name not in places]
    if outside:
        raise ValueError(f"{data.split or 'data'}: classes {abbreviate(outside)} are not in train or class_names")
    present = np.zeros((len(lists), len(names)), dtype=bool)
    present[rows, np.array([places[name] for name in known], dtype=np.int64)[ids]] = True
    return present


def _presence_of_columns(data: Dataset, names: list[str]) -> npt.NDArray[np.bool_]:
    """One 0/1 column a class as a matrix (N, C)."""
    missing = [name for name in names if name not in data.column_names]
    if missing:
        raise ValueError(f"{data.split or 'data'}: no column for the classes {abbreviate(missing)}")
    table = data.select_columns(names).with_format("arrow")[:]
    values = np.stack([table[name].cast(pa.int64()).fill_null(-1).to_numpy() for name in names], axis=1)
    wrong = np.argwhere((values != 0) & (values != 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{data.split or 'data'}, row {row}: column {names[column]!r} holds "
            f"{table[names[column]][int(row)].as_py()!r}, expected 0 or 1"
        )
    present: npt.NDArray[np.bool_] = values == 1
    return present


def _image_ids(data: Dataset, column: str) -> list[str]:
    if column not in data.column_names:
        return [f"{data.split or 'row'}-{row:06d}" for row in range(len(data))]
    ids = [str(value) for value in data[column]]
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ValueError(f"{data.split or 'data'}: {column} {twice!r} occurs more than once; it must be unique")
    return ids
