"""The one schema that every loader returns: `image`, `image_id`, `labels`; for VOC `difficult`; `unknown` if need be.

An empty label list is a valid row: a photo on which none of the classes is seen. An image stays a path (or the bytes
that a file format embeds) until somebody looks at it, so an index of 200,000 photos is a few megabytes.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Image, List, NamedSplit, Value
from datasets.table import InMemoryTable

from cnn_rnn.label_rules import LEFT_OUT

SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair, as JSON may hold it
ROWS_COUNTED = 8192  # whose pairs of labels are counted together
LEFT_OUT_COLUMNS = ("difficult", "unknown")  # of labels that neither loss nor figures count
Rows: TypeAlias = Dataset | pa.Table | Mapping[str, Sequence[Any]]  # whole rows, or some of them by column
PairMatrix: TypeAlias = npt.NDArray[np.float32]
LABEL_COLUMNS = ("labels", *LEFT_OUT_COLUMNS)
IMAGE_KINDS = {f"{size}{kind}" for kind in ("string", "binary") for size in ("", "large_")} | {
    "string_view", "binary_view", "null"
}  # fmt: skip


def label_features(label_names: Sequence[str], columns: Collection[str] = ()) -> Features:
    """The columns of a labelled image set, with those of `LEFT_OUT_COLUMNS` that are among the columns named."""
    broken = next(filter(SURROGATE.search, label_names), None)
    if broken is not None:
        raise ValueError(f"label {broken!r} holds half of a character, which no file can hold; write it anew")
    labels = List(ClassLabel(names=list(label_names)))
    left_out = [name for name in LEFT_OUT_COLUMNS if name in columns]
    return Features({"image": Image(), "image_id": Value("string"), "labels": labels} | dict.fromkeys(left_out, labels))


def label_names(dataset: Dataset | DatasetDict) -> list[str]:
    """The class names in the order of their ids."""
    if isinstance(dataset, DatasetDict):
        dataset = next(iter(dataset.values()))
    feature = (dataset.features or {}).get("labels")
    names = getattr(getattr(feature, "feature", None), "names", None)
    if names is None:
        raise ValueError(
            f"the column 'labels' is {feature}, expected a list of class labels; "
            "cast it with datasets.List(datasets.ClassLabel(names=[...]))"
        )
    return list(names)


def check_images(features: Features, column: str, what: str) -> None:
    """Refuse a column of another kind than images are of: encoded bytes, file names, structs of both, nothing at all.

    Raises:
        ValueError: It is; column and kind are told.
    """
    kind = features.arrow_schema.field(column).type
    parts = {part.name: part.type for part in kind} if pa.types.is_struct(kind) else {"path": kind}
    held = [str(part) for name, part in parts.items() if name in {"bytes", "path"}]
    if not held or not set(held) <= IMAGE_KINDS:
        raise ValueError(
            f"{what}: the column {column!r} is {features[column]}, expected images: encoded bytes, file names, or "
            "structs of bytes and path"
        )


def label_lists(rows: Rows, column: str = "labels") -> pa.ListArray:
    """One label column as a single Arrow list array; no image is opened."""
    if isinstance(rows, Mapping):
        return pa.array(rows[column], pa.list_(pa.int64()))
    table = rows.select_columns(column).with_format("arrow")[:] if isinstance(rows, Dataset) else rows
    chunks = table.column(column).combine_chunks()
    return chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks


def label_counts(dataset: Dataset, column: str = "labels") -> npt.NDArray[np.int64]:
    """How many images show each class, (C,)."""
    ids = label_lists(dataset, column).flatten().to_numpy(zero_copy_only=False)
    return np.bincount(ids, minlength=len(label_names(dataset)))


def looked_at_counts(dataset: Dataset) -> npt.NDArray[np.int64]:
    """On how many images each class is known to be there or not, (C,)."""
    num_labels = len(label_names(dataset))
    shown, *left_out = (
        row_of_each_label(lists) * num_labels + lists.flatten().to_numpy(zero_copy_only=False)
        for lists in (label_lists(dataset, name) for name in LABEL_COLUMNS if name in dataset.column_names)
    )
    hidden = np.setdiff1d(np.concatenate([shown[:0], *left_out]), shown) % max(num_labels, 1)
    return len(dataset) - np.bincount(hidden, minlength=num_labels)


def row_of_each_label(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    """For every label in the flattened lists the row that it belongs to."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


def label_matrix(dataset: Dataset, column: str = "labels") -> npt.NDArray[np.bool_]:
    """Which image shows which class, (N, C)."""
    lists = label_lists(dataset, column)
    present = np.zeros((len(lists), len(label_names(dataset))), dtype=bool)
    present[row_of_each_label(lists), lists.flatten().to_numpy(zero_copy_only=False)] = True
    return present


def targets(rows: Rows, num_labels: int | None = None) -> npt.NDArray[np.float32]:
    """What each row says of each label: 1 present, 0 absent, `LEFT_OUT` where that is not known, (N, C).

    The one way from rows to targets. What a row shows is present, whatever its other columns say.

    Args:
        rows: A data set, or a part of it; where `image_id` is among its columns, errors name it.
        num_labels: C, where `rows` are a part, which does not tell it.

    Raises:
        ValueError: A row has no list (it could mean that there are none, or that nobody looked), or an id that is none.
    """
    there = rows if isinstance(rows, Mapping) else rows.column_names
    num_labels = len(label_names(rows)) if num_labels is None else num_labels
    vectors = np.zeros((len(rows["labels"]), num_labels), np.float32)
    for name in reversed([name for name in LABEL_COLUMNS if name in there]):
        lists = label_lists(rows, name)
        places, ids = row_of_each_label(lists), lists.flatten().to_numpy(zero_copy_only=False)
        outside = places[(ids < 0) | (ids >= num_labels)]
        if lists.null_count or len(outside):
            row = int(outside[0] if len(outside) else lists.is_null().index(True).as_py())
            named = rows["image_id"][row] if "image_id" in there else f"row {row}"
            held = f"are {lists[row].as_py()}, expected ids of 0 to {num_labels - 1}" if len(outside) else "are missing"
            raise ValueError(
                f"{named}: its {name} {held}; give an empty list where there are none, or leave the row out"
            )
        vectors[places, ids] = 1.0 if name == "labels" else LEFT_OUT
    return vectors


def label_pair_counts(dataset: Dataset, column: str = "labels") -> npt.NDArray[np.float32]:
    """How many images show both of two classes, (C, C); on the diagonal those that show the class."""
    lists, num_labels = label_lists(dataset, column), len(label_names(dataset))
    offsets = lists.offsets.to_numpy().astype(np.int64)
    ids = lists.values.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.zeros(num_labels * num_labels, np.int32)
    for start in range(0, len(lists), ROWS_COUNTED):
        ends = offsets[start : start + ROWS_COUNTED + 1]
        own, lengths = ids[ends[0] : ends[-1]], np.diff(ends)
        partners = np.repeat(lengths, lengths)  # of each label: how many labels its image has
        first = np.repeat(own, partners)
        begins = np.repeat(np.repeat(ends[:-1] - ends[0], lengths), partners)
        within = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners)
        np.add.at(counts, first * num_labels + own[begins + within], 1)
    return counts.reshape(num_labels, num_labels).astype(np.float32)


class PairCounts(NamedTuple):
    """Images that bear on each two classes.

    Attributes:
        together: Those that show both (C, C); on the diagonal those that show the class.
        images: Those on which both were looked at (C, C); all, as one number, where every class was on every image.
        shown: Those of them that show the first (C, C); None where every class was looked at on every image.
    """

    together: PairMatrix
    images: int | PairMatrix
    shown: PairMatrix | None


def count_pairs(dataset: Dataset) -> PairCounts:
    """What the images say of each two classes, from one walk over the rows."""
    if not any(label_counts(dataset, name).any() for name in LEFT_OUT_COLUMNS if name in dataset.column_names):
        return PairCounts(label_pair_counts(dataset), len(dataset), None)
    num_labels = len(label_names(dataset))
    together, images, shown = np.zeros((3, num_labels, num_labels), np.float32)
    for start in range(0, len(dataset), ROWS_COUNTED):
        said = targets(dataset.select(range(start, min(start + ROWS_COUNTED, len(dataset)))))
        present, known = (said > 0).astype(np.float32), (said >= 0).astype(np.float32)
        together += present.T @ present
        images += known.T @ known
        shown += present.T @ known
    return PairCounts(together, images, shown)


def label_lists_from_matrix(present: npt.NDArray[np.bool_]) -> pa.ListArray:
    """A 0/1 matrix (N, C) as an Arrow array of N ascending id lists."""
    rows, ids = np.nonzero(present)
    return label_lists_from_pairs(rows, ids, len(present))


def label_lists_from_pairs(rows: npt.NDArray[np.int64], ids: npt.NDArray[np.int64], count: int) -> pa.ListArray:
    """Row and id of each label, in ascending order of both, as an Arrow array of `count` id lists."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(ids, pa.int64()))


def label_lists_from_names(rows: Sequence[Collection[str]], ids: Mapping[str, int]) -> pa.ListArray:
    """Names of labels, without repetition within a row, as an Arrow array of ascending id lists.

    Args:
        rows: The names of each row's labels.
        ids: The id of each name; KeyError for a name without one.
    """
    flat = list(chain.from_iterable(rows))
    found = pc.index_in(pa.array(flat, pa.string()), pa.array(list(ids), pa.string()))
    if found.null_count:
        raise KeyError(flat[found.is_null().index(True).as_py()])
    of_row = np.repeat(np.arange(len(rows)), np.fromiter(map(len, rows), np.int64, len(rows)))
    places = np.fromiter(ids.values(), np.int64, len(ids))[found.to_numpy()] if flat else np.zeros(0, np.int64)
    order = np.argsort(of_row * max(len(ids), 1) + places, kind="stable")
    return label_lists_from_pairs(of_row, places[order], len(rows))


def image_paths(paths: Sequence[str | None]) -> pa.StructArray:
    """Paths as an undecoded image column; None where the image is absent."""
    column = pa.array(paths, pa.string())
    missing = column.is_null()
    return pa.StructArray.from_arrays([pa.nulls(len(column), pa.binary()), column], ["bytes", "path"], mask=missing)


def image_bytes(images: Sequence[bytes]) -> pa.StructArray:
    """Encoded images as an image column that needs no file."""
    column = pa.array(images, pa.binary())
    return pa.StructArray.from_arrays([column, pa.nulls(len(column), pa.string())], ["bytes", "path"])


def build_dataset(
    images: pa.StructArray,
    image_ids: Sequence[str] | pa.Array,
    labels: pa.ListArray,
    label_names: Sequence[str],
    *,
    difficult: pa.ListArray | None = None,
    unknown: pa.ListArray | None = None,
    split: str | None = None,
    description: str = "",
) -> Dataset:
    """A dataset of the one schema, straight from Arrow columns; `description` tells people how it was read."""
    columns = {"image": images, "image_id": image_ids, "labels": labels, "difficult": difficult, "unknown": unknown}
    columns = {name: column for name, column in columns.items() if column is not None}
    features = label_features(label_names, columns)
    table = pa.table(columns).cast(features.arrow_schema)
    named = NamedSplit(split) if split else None
    return Dataset(InMemoryTable(table), info=DatasetInfo(description=description, features=features), split=named)
