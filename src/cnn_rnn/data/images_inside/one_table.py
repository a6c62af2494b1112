"""A Parquet table that carries its images: which of its columns they are, and which split a row is of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, NamedSplit, concatenate_datasets, load_dataset

from cnn_rnn.data.adapt import WHOLE_NUMBERS, to_schema
from cnn_rnn.data.files.packed_tables import NO_PARQUET, holds_bytes, parquet_schema
from cnn_rnn.data.files.raw_table import RawTable
from cnn_rnn.data.labels.choosing import load_splits
from cnn_rnn.data.meaning.columns import split_column
from cnn_rnn.data.meaning.listing import row_splits
from cnn_rnn.data.photos.disk_layout import SPLITS
from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.broken_files import told_as_broken

MOST_WORDS = 16  # of a column that may tell splits
KINDS = WHOLE_NUMBERS | {"string", "large_string"}  # of such a column


def image_column(path: Path, reading: Reading) -> str | None:
    """The column of a Parquet table that holds the images themselves; None where it names files, as any table does.

    It is the one that a person names, or else `image`, or the only one of structs of bytes, as `datasets` writes them.

    Raises:
        ValueError: Several could be meant, or the file is none.
    """
    columns = {field.name: field.type for field in parquet_schema(path)}
    held = {name: kind for name, kind in columns.items() if holds_bytes(kind)}
    named = reading.roles.get("file")
    if named is not None:
        return named if named in held else None
    if "image" in columns and not _is_text(columns["image"]):
        return "image"
    found = [name for name, kind in held.items() if pa.types.is_struct(kind)]
    if len(found) > 1:
        ways = " or ".join(f"data.columns '{{file: {name}}}'" for name in found)
        raise ValueError(f"{path}: {' and '.join(map(repr, found))} both hold images: {ways} decides")
    return found[0] if found else None


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column is of texts."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def load_images_of_table(path: Path, image: str, split: str | None, reading: Reading) -> Dataset | DatasetDict:
    """The splits of a Parquet table with its images in a column; see `load_source` for what all loaders take.

    Raises:
        ValueError: There is no such split, or rows that could mean two things; column and row are named.
    """
    with told_as_broken(path, NO_PARQUET):
        rows = load_dataset("parquet", data_files={"train": str(path)}, split="train")
    parts = _by_split(rows, image, reading)
    columns = {role: name for role, name in (reading.columns or {}).items() if role != "split"}
    if image != "image":
        columns["file"] = image
    data = to_schema(parts, reading=replace(reading, columns=columns or None))
    return load_splits(list(data), split, str(path), lambda name: data[name])


def _by_split(rows: Dataset, image: str, reading: Reading) -> DatasetDict:
    """The rows by the split that a column of theirs tells, without that column; all are of train where none does.

    Raises:
        ValueError: Several columns could tell it, or a cell tells none.
    """
    named = reading.roles.get("split")
    kinds = {name: getattr(feature, "dtype", None) for name, feature in rows.features.items() if name != image}
    told = rows.select_columns([name for name, kind in kinds.items() if name == named or kind in KINDS])
    columns = told.with_format("arrow")[:]
    cells = {
        name: columns[name].to_pylist()
        for name in told.column_names
        if name == named or len(columns[name].unique()) <= MOST_WORDS
    }
    table = RawTable(Path(str(rows.split)), "row", range(len(rows)), cells)
    column = split_column(table, reading.roles, reading.names, image)
    if column is None:
        return DatasetDict({"train": rows})
    words = np.array(list(row_splits(table, column)))
    rows = rows.remove_columns(column)
    return DatasetDict(
        {
            name: concatenate_datasets([rows.select(np.flatnonzero(words == name))], split=NamedSplit(name))
            for name in SPLITS
            if name in words
        }
    )
