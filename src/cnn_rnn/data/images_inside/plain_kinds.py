"""Columns as pandas 3, polars and Arrow write them, with long offsets, views or fixed lengths, as the plain kinds."""

from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, IterableDataset, LargeList, List, Value

PLAIN_KINDS = {
    "large_string": "string",
    "string_view": "string",
    "large_binary": "binary",
    "binary_view": "binary",
    "float16": "float32",
    "uint32": "int64",
    "uint64": "int64",
}


def plain_feature(feature: Any) -> Any:
    """The plain kind of a column, by the same values."""
    if isinstance(feature, Value):
        return Value(PLAIN_KINDS[feature.dtype]) if feature.dtype in PLAIN_KINDS else feature
    if isinstance(feature, List | LargeList):
        return List(plain_feature(feature.feature))
    if type(feature) is dict:
        return {name: plain_feature(own) for name, own in feature.items()}
    return feature


def with_plain_kinds(data: Dataset, image: str) -> Dataset:
    """The rows with the plain kinds of their columns; that of images stays, as images are read from any.

    Raises:
        ValueError: A number is too large.
    """
    plain = Features({name: own if name == image else plain_feature(own) for name, own in data.features.items()})
    if plain == data.features:
        return data
    info = data.info.copy()
    info.features = plain
    chosen = data._indices  # noqa: SLF001 - which rows of the table; `cast` of the library would write all images anew
    try:
        return Dataset(data.data.cast(plain.arrow_schema), info=info, split=data.split, indices_table=chosen)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{data.split or 'data'}: a column cannot be read: {error}") from error


def stream_of_plain_kinds(rows: IterableDataset) -> IterableDataset:
    """The stream with the plain kinds of its columns."""
    plain = Features({name: plain_feature(own) for name, own in (rows.features or {}).items()})
    return rows if plain == (rows.features or {}) else rows.cast(plain)
