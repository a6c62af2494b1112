"""Rows of prepared Parquet shards as they come, here or on the Hub, without a local copy."""

from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetInfo, Features, IterableDataset
from datasets.table import InMemoryTable
from tqdm.auto import tqdm

from .reading import explained, open_dataset
from .sources import load_hub


def load_stream(kind: str, root: str | None, split: str) -> IterableDataset:
    """The rows of a split as a stream, to be shared out by row group.

    Args:
        kind: The source's name; only "hub" can be streamed.
        root: A folder that ``write_parquet`` made, or a data set's name on the Hub.
        split: One of its splits.

    Raises:
        ValueError: The source is no stream of the one schema, or has no such split.
        HubError: The data set is not there or cannot be read.
    """
    if kind != "hub" or root is None:
        raise ValueError(
            f"data source {kind!r} with root {root!r} cannot be streamed: give data.name hub and a data.root that "
            "'python scripts/data.py convert' wrote, or a data set's name on the Hub"
        )
    if "+" in split:
        raise ValueError(
            f"the splits {split!r} cannot be joined in a stream: convert them into one, or leave streaming off"
        )
    rows = load_hub(str(root), split=split, streaming=True)
    assert isinstance(rows, IterableDataset)
    with explained(str(root)):  # where row groups begin stands in the files
        return rows.reshard()


def stream_labels(root: str, rows: IterableDataset) -> Dataset:
    """The label lists of all rows of a stream; no image is read.

    Args:
        root: Where ``load_stream`` read the rows from.
        rows: What it returned.

    Raises:
        ValueError: The data set does not consist of Parquet files.
        HubError: They cannot be read.
    """
    data_files: Any = open_dataset(root).config.data_files or {}
    files = [str(file) for file in data_files.get(str(rows.split), ())]
    if not files or not all(file.endswith(".parquet") for file in files):
        raise ValueError(
            f"{root}, {rows.split}: a stream needs Parquet shards; 'python scripts/data.py convert' writes them"
        )
    tables = []
    for file in tqdm(files, desc=f"labels of {rows.split}", unit="shard", leave=False):
        with explained(root), fsspec.open(file) as opened:
            tables.append(pq.read_table(opened, columns=["labels"]))
    features = Features({"labels": (rows.features or {})["labels"]})
    table = pa.concat_tables(tables).cast(features.arrow_schema)
    return Dataset(InMemoryTable(table), info=DatasetInfo(features=features))
