"""A data set of any origin, brought to the one schema without touching its images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Image, List

from .files.raw_table import RawTable
from .meaning.ambiguities import is_multi_hot
from .meaning.label_columns import LABEL_NAME, SPLIT_FLAGS, SPLIT_NAMES, Roles, plain
from .meaning.listing import Listing, read_labels
from .photos.disk_layout import abbreviate
from .plain_kinds import with_plain_kinds
from .reading import Reading, listed
from .schema import (
    LEFT_OUT_COLUMNS,
    label_features,
    label_lists,
    label_lists_from_matrix,
    row_of_each_label,
)

WHOLE_NUMBERS = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16"})
CELL_SETTINGS = frozenset(
    {"separator", "yes", "no", "unknown", "empty", "unlisted", "no_label", "case", "not_labels"}
)  # that tell what a cell means
FILE_SETTINGS = frozenset(
    {"delimiter", "encoding", "rows", "least_confidence", "image_root", "file", "split", "confidence"}
)
FRACTIONS = frozenset({"float32", "float64"})  # of a 0.0 or 1.0 for each class


@dataclass(frozen=True)
class Columns:
    """What a data set calls the columns of the schema.

    Attributes:
        image: The image column.
        labels: Lists of class labels, of names, or of numbers (ids, or a 0 or 1 for each class); or one class label.
            Where there is no such column, it is the one column that can be meant; else each class is a column of its
            own with 0 or 1 in it.
        image_id: Unique names; where there is no such column, rows are numbered within their split.
    """

    image: str = "image"
    labels: str = "labels"
    image_id: str = "image_id"


def to_schema(
    data: Dataset | DatasetDict,
    columns: Columns | None = None,
    class_names: Sequence[str] | None = None,
    reading: Reading | None = None,
) -> Dataset | DatasetDict:
    """The data with the columns `image`, `image_id`, `labels` (`difficult`, `unknown` where it has them), no others.

    Args:
        data: Splits, or one of them.
        columns: What the data calls its columns.
        class_names: The classes in order. By default those that the data tells: its class labels; the names in
            `train` (or the first split), sorted; or its columns of whole numbers.
        reading: What a person decided where the columns could mean two things.

    Raises:
        ValueError: A column is missing, holds something else or could mean two things; column and row are named.
    """
    reading = reading or Reading()
    reading.refuse(FILE_SETTINGS, "a data set with images inside has no label file that it could explain")
    if isinstance(reading.columns.get("labels"), list):
        raise ValueError(  # noqa: TRY004
            f"data.columns: labels is {reading.columns['labels']!r}, but a data set with images inside has its labels "
            "in one column; join them, or name one"
        )
    named = {role: str(name) for role, name in reading.columns.items() if role in {"labels", "image_id"}}
    columns = replace(columns or Columns(), **named)
    class_names = class_names or reading.names
    if isinstance(data, DatasetDict):
        data = DatasetDict({split: with_plain_kinds(rows, columns.image) for split, rows in data.items()})
    else:
        data = with_plain_kinds(data, columns.image)
    first = data["train" if "train" in data else next(iter(data))] if isinstance(data, DatasetDict) else data
    if columns.image not in first.column_names:
        raise ValueError(
            f"no image column {columns.image!r}; the columns are {', '.join(first.column_names)}: "
            "rename one, or name it in columns"
        )
    found = _label_column(first, columns, reading)
    columns = columns if found is None else replace(columns, labels=found)
    splits = data if isinstance(data, DatasetDict) else {"": data}
    cells = _holds_cells(first, columns, reading)
    labelled = {
        split: _listing(rows, columns, reading, class_names) if cells else _lists_alone(rows, columns)
        for split, rows in splits.items()
    }
    told = labelled["train" if "train" in labelled else next(iter(labelled))]
    names = list(class_names or _class_names(told, columns))
    adapted = {split: _rows_to_schema(rows, labelled[split], columns, names, reading) for split, rows in splits.items()}
    return DatasetDict(adapted) if isinstance(data, DatasetDict) else adapted[""]


def _label_column(data: Dataset, columns: Columns, reading: Reading) -> str | None:
    """The column that holds labels; None where each class is a column of its own.

    Raises:
        ValueError: Several could be meant.
    """
    if columns.labels in data.column_names:
        return columns.labels
    if "labels" in reading.columns:
        raise ValueError(f"data.columns: labels is {columns.labels!r}, the columns are {', '.join(data.column_names)}")
    if "classes" in reading.columns:
        return None
    others = {name: data.features[name] for name in _label_like(data, columns)}
    holders = [
        name
        for name, feature in others.items()
        if isinstance(feature, List | ClassLabel)
        or (LABEL_NAME.search(name) and getattr(feature, "dtype", None) in {*WHOLE_NUMBERS, "string"})
    ]
    flags = [name for name in _whole_numbers(data, columns) if name not in holders]
    if len(holders) == 1 and not flags:
        return holders[0]
    if holders:
        ways = [f"'{{labels: {name}}}'" for name in holders]
        ways += [f"'{{classes: [{', '.join(flags[:4])}]}}'"] if flags else []
        raise ValueError(
            f"labels may be in {' or '.join(map(repr, [*holders, *flags[:4]]))}: "
            f"data.columns {' or '.join(ways)} decides"
        )
    return None


def _label_like(data: Dataset, columns: Columns) -> list[str]:
    """The columns that may hold labels: no image, id, split or left-out labels."""
    others = {columns.image, columns.image_id, *LEFT_OUT_COLUMNS}
    tells_split = SPLIT_NAMES | SPLIT_FLAGS.keys()
    return [name for name in data.column_names if name not in others and plain(name) not in tells_split]


def _whole_numbers(data: Dataset, columns: Columns) -> list[str]:
    """The columns that may hold labels and have a whole number in each row."""
    features = {name: data.features[name] for name in _label_like(data, columns)}
    return [
        name
        for name, feature in features.items()
        if getattr(feature, "dtype", None) in WHOLE_NUMBERS and not isinstance(feature, ClassLabel | List)
    ]


def _lists_alone(data: Dataset, columns: Columns) -> Dataset:
    """The labels as lists where each row holds one class label; else the data."""
    feature = data.features.get(columns.labels)
    if not isinstance(feature, ClassLabel):
        return data
    ids = data.with_format("arrow")[:][columns.labels].to_pylist()
    told = f"{data.split or 'data'}: one label a photo, by column {columns.labels!r}"
    info = DatasetInfo(description=told, features=Features({columns.labels: List(feature)}))
    return Dataset.from_dict({columns.labels: [None if one is None else [one] for one in ids]}, info=info)


def _holds_cells(data: Dataset, columns: Columns, reading: Reading) -> bool:
    """Whether what rows say is found out from their cells, as in a table: of texts, of yes and no, or by settings."""
    feature = data.features.get(columns.labels)
    text = not isinstance(feature, List) and getattr(feature, "dtype", None) == "string"
    if text and columns.labels == "labels" and not reading.separator:
        return False  # refused: a text in a column of the schema's own name should have been a list
    return feature is None or text or bool(CELL_SETTINGS & {*reading.given(), *reading.columns})


def _listing(data: Dataset, columns: Columns, reading: Reading, class_names: Sequence[str] | None) -> Listing:
    """What the cells of the rows say of labels."""
    told = [name for named in reading.columns.values() for name in listed(named)]
    read = {columns.labels, *_label_like(data, columns), *LEFT_OUT_COLUMNS, *told} - {columns.image}
    cells: dict[str, list[Any]] = {}
    for name in data.column_names:
        if name in read:
            cells[name] = _named_ids(data.features[name], data.with_format("arrow")[:][name].to_pylist())
    rows = [(number, {name: column[number] for name, column in cells.items()}) for number in range(len(data))]
    raw = RawTable(Path(str(data.split or "data")), "row", rows, list(cells))
    roles = Roles(columns.image, unknown=str(reading.columns.get("unknown", "unknown")))
    roles.not_labels = reading.columns.get("not_labels")
    roles.unknown = roles.unknown if roles.unknown in cells else None
    if columns.labels in data.column_names:
        roles.labels = columns.labels
        roles.notes = [f"labels by column {columns.labels!r}"]
    else:
        roles.classes = list(class_names or listed(reading.columns.get("classes")) or _whole_numbers(data, columns))
        missing = [name for name in roles.classes if name not in cells]
        if missing:
            raise ValueError(f"{raw.path}: no column for the classes {abbreviate(missing)}")
        if not roles.classes:
            raise ValueError(
                f"no label column {columns.labels!r} and no columns of 0 and 1; the columns are "
                f"{', '.join(data.column_names)}: rename one, or name it in columns"
            )
    item = getattr(data.features.get(columns.labels), "feature", data.features.get(columns.labels))
    said = read_labels(raw, roles, reading, class_names or getattr(item, "names", None))
    ids = _image_ids(data, columns.image_id)
    return Listing(
        raw.path, range(len(data)), ids, ids, [said.rows[number] for number, _ in rows], said.columns,
        [str(raw.path)] * len(data), said.unlisted_unknown, "row", [note for note in said.notes if note],
    )  # fmt: skip


def _named_ids(feature: Any, cells: list[Any]) -> list[Any]:
    """The cells of a column, class labels by their names."""
    item = getattr(feature, "feature", feature)
    if not isinstance(item, ClassLabel):
        return cells
    names = dict(enumerate(item.names))
    return [None if one is None else [names.get(i, i) for i in listed(one)] for one in cells]


def _rows_to_schema(
    data: Dataset, labelled: Dataset | Listing, columns: Columns, names: list[str], reading: Reading
) -> Dataset:
    """The rows with the schema's columns alone; the data themselves where they have its features already."""
    lists = {column: label_lists(data, column) for column in LEFT_OUT_COLUMNS if column in data.column_names}
    if isinstance(labelled, Listing):
        labels, unknown = labelled.label_lists(names), labelled.unknown_lists(names)
        lists = {name: own for name, own in (lists | {"unknown": unknown}).items() if own is not None}
    else:
        labels = label_lists_from_matrix(_presence_of_lists(labelled, columns, names, reading))
    features = label_features(names, *(column in lists for column in LEFT_OUT_COLUMNS))
    if data.features == features and not isinstance(labelled, Listing):
        return data
    added = {"image_id": _image_ids(data, columns.image_id), "labels": labels}
    added |= {column: lists[column] for column in LEFT_OUT_COLUMNS if column in lists}
    rows = data.select_columns([columns.image]).rename_columns({columns.image: "image"}).cast_column("image", Image())
    for name, column in added.items():
        rows = rows.add_column(name, column, feature=features[name])
    rows.info.description = _told(data, labelled, columns)
    return rows


def _told(data: Dataset, labelled: Dataset | Listing, columns: Columns) -> str:
    """How the columns were read, for people; nothing where they are those of the schema."""
    read = {columns.image, columns.image_id, columns.labels, "image", "image_id", *LEFT_OUT_COLUMNS}
    if columns.labels not in data.column_names:
        read |= set(_whole_numbers(data, columns))
    unread = [name for name in data.column_names if name not in read]
    split = data.split or "data"
    if isinstance(labelled, Listing):
        told = ["; ".join([f"{split}: {labelled.notes[0]}", *labelled.notes[1:]])]
    else:
        told = [labelled.info.description] if labelled is not data else []
    if not told and columns.labels in data.column_names and columns.labels != "labels":
        told.append(f"{split}: labels by column {columns.labels!r}")
    if unread:
        told.append(f"{split}: columns not read: {', '.join(map(repr, unread[:8]))}")
    splits = [name for name in unread if plain(name) in SPLIT_NAMES | SPLIT_FLAGS.keys()]
    if splits:
        told.append(f"{split}: WARNING: {splits[0]!r} seems to tell splits; all rows are of this one")
    return "\n".join(told)


def _class_names(data: Dataset | Listing, columns: Columns) -> list[str]:
    """The classes, as the columns or their features name them; of labels as text those that occur, sorted."""
    if isinstance(data, Listing):
        return data.class_names()
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
    """What the lists of a column hold; ValueError where it has no lists of class labels, names or numbers."""
    feature = data.features[column]
    item = getattr(feature, "feature", None)
    if not isinstance(feature, List) or getattr(item, "dtype", None) not in {*WHOLE_NUMBERS, *FRACTIONS, "string"}:
        raise ValueError(
            f"the column {column!r} is {feature}, expected lists of class labels, names or numbers: cast it with "
            "datasets.List(datasets.ClassLabel(names=[...]))"
        )
    return item


def _presence_of_lists(data: Dataset, columns: Columns, names: list[str], reading: Reading) -> npt.NDArray[np.bool_]:
    """The label lists as a 0/1 matrix (N, C)."""
    lists = label_lists(data, columns.labels)
    item = _item(data, columns.labels)
    known = list(item.names) if isinstance(item, ClassLabel) else names
    if item.dtype != "string" and not isinstance(item, ClassLabel) and _hot_lists(data, lists, item, known, reading):
        hot: npt.NDArray[np.bool_] = np.array(lists.to_pylist(), dtype=bool)
        return hot
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


def _hot_lists(data: Dataset, lists: pa.ListArray, item: ClassLabel, known: list[str], reading: Reading) -> bool:
    """Whether the lists hold a 0 or 1 for each class; ValueError naming a row that does not, or both readings."""
    rows = lists.to_pylist()
    try:
        hot = is_multi_hot([row or [] for row in rows], len(known), reading.numbers)
    except ValueError as error:
        raise ValueError(f"{data.split or 'data'}: {error}") from error
    hot = hot or item.dtype == "bool" or item.dtype in FRACTIONS
    wrong = next(
        (n for n, row in enumerate(rows) if row is None or len(row) != len(known) or not {*row} <= {0, 1}), None
    )
    if hot and wrong is not None:
        raise ValueError(
            f"{data.split or 'data'}, row {wrong}: labels are {rows[wrong]!r}, expected a 0 or 1 for each of the "
            f"{len(known)} classes {abbreviate(known)}"
        )
    return hot


def _image_ids(data: Dataset, column: str) -> list[str]:
    """The ids of all rows, made of split and place where no column holds them; ValueError where one repeats."""
    if column not in data.column_names:
        return [f"{data.split or 'row'}-{row:06d}" for row in range(len(data))]
    ids = [str(value) for value in data[column]]
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise ValueError(f"{data.split or 'data'}: {column} {twice!r} occurs more than once; it must be unique")
    return ids
