"""Data sets of the Hub and prepared Parquet shards, copied or as a stream; what goes wrong is told in one line."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import (
    Dataset,
    DatasetBuilder,
    DatasetDict,
    DatasetInfo,
    Features,
    IterableDataset,
    load_dataset_builder,
)
from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError, DatasetsError
from datasets.table import InMemoryTable
from huggingface_hub import HfApi
from tqdm.auto import tqdm

from cnn_rnn.data.adapt import to_schema
from cnn_rnn.data.photos.found_files import PassedOver
from cnn_rnn.data.reading import Reading
from cnn_rnn.data.schema import LABEL_COLUMNS, check_images, label_features, label_names
from cnn_rnn.foundation.hub_errors import HTTP_ERROR, WAYS_OUT, HubError, first_line, reason_of

logger = logging.getLogger(__name__)
HTTP_WAYS_OUT = WAYS_OUT | {
    403: "the token may not read it: use one that may",
    404: "there is no such data set or revision, or the token may not see it",
}
LOG_IN = "check the name; for a private or gated one log in with `hf auth login`, or set HF_TOKEN"
EXPECTED_SHARDS = "expected Parquet shards, as 'cnn-rnn data convert' writes them"
CONVERT = "'cnn-rnn data convert hub --root NAME --output FOLDER' brings it into the schema first"
NO_SCRIPTS = (
    "code of a data set is never run here: take one of Parquet files; the Hub often has it as revision "
    "refs/convert/parquet"
)


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Turn whatever `datasets` and its clients raise into one sentence.

    Args:
        name: What the sentence calls the data set.

    Raises:
        HubError: The data set is not there, not reached, not to be read, or wants to run code.
    """
    try:
        yield
    except HubError:
        raise
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    except DatasetNotFoundError as error:
        raise HubError(f"{name} was not read; {first_line(error).rstrip('.')}: {LOG_IN}") from error
    except DataFilesNotFoundError as error:
        raise HubError(f"{name} was not read; {first_line(error)}: {EXPECTED_SHARDS}") from error
    except (HTTP_ERROR, DatasetsError, OSError, pa.ArrowException) as error:
        raise HubError(f"{name} was not read; {reason_of(error, HTTP_WAYS_OUT)}") from error
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        raise HubError(f"{name} was not read; {first_line(error)}; {NO_SCRIPTS}") from error


def open_dataset(
    name: str, revision: str | None = None, *, system_files: bool = False, **options: Any
) -> DatasetBuilder:
    """What `datasets` reads a folder, or a data set of the Hub, with.

    Args:
        name: A local folder; or a name on the Hub: `org/photos`, or `org/photos@v2` for a branch, tag or commit.
        revision: That branch, tag or commit, where the name does not tell it.
        system_files: Whether what systems leave in a local folder is taken in.
        options: Further arguments of `datasets.load_dataset_builder`.

    Raises:
        HubError: It is not there, not reached, not to be read, or wants to run code.
    """
    path, _, named = (name, "", "") if Path(name).exists() else name.partition("@")
    revision = revision or named
    with reading_errors(name):
        if not revision:
            builder = load_dataset_builder(path, **options)
            own = _own_data_files(Path(path), builder) if Path(path).is_dir() and not system_files else None
            return load_dataset_builder(path, **options, data_files=own) if own else builder
        commit = HfApi().dataset_info(path, revision=revision).sha
        builder = load_dataset_builder(path, revision=commit, **options)
    if builder.hash != commit:  # where the Hub falls silent, datasets takes whatever its cache holds of the name
        raise HubError(f"{name} was not read; the Hub did not answer, and the cache holds another revision: try again")
    return builder


def _own_data_files(folder: Path, builder: DatasetBuilder) -> dict[str, list[str]] | None:
    """The files of each split of a local folder, but for those that systems left; None where there are none such."""
    passed_over = PassedOver()
    prefix = f"{folder.resolve()}/"
    files = {str(split): list(map(str, found)) for split, found in (builder.config.data_files or {}).items()}
    own = {
        split: [
            file
            for file in found
            if not file.startswith(prefix) or not passed_over.leaves_out_path(file.removeprefix(prefix))
        ]
        for split, found in files.items()
    }
    for line in passed_over.lines():
        logger.warning("%s: %s", folder, line)
    return {split: found for split, found in own.items() if found} if passed_over.counts else None


def load_hub(
    name: str, split: str | None = None, *, reading: Reading | None = None, **options: Any
) -> Dataset | DatasetDict:
    """A data set of the Hub, or a prepared folder of Parquet shards, in the one schema.

    Args:
        name: The data set's name on the Hub, such as `org/photos`, or `org/photos@v2` for a branch, tag or commit
            of it; or a local folder that `write_parquet` made.
        split: One of its splits; all of them by default.
        reading: What a person decided where its columns could mean two things.
        options: Further arguments of `datasets.load_dataset_builder`, such as `revision` or `cache_dir`.

    Raises:
        HubError: The data set is not there, not reached, not to be read, or wants to run code.
        ValueError: It has no such split, or rows of another kind.
    """
    builder = open_dataset(str(name), system_files=reading is not None and reading.system_files, **options)
    with reading_errors(name):
        builder.download_and_prepare()
        asked = {str(each): own for each, own in (builder.info.splits or {}).items() if split in {None, str(each)}}
        empty = [each for each, own in asked.items() if not own.num_examples]
        if empty:
            raise ValueError(f"the split {empty[0]} has no rows; take its files away, or write them anew")
        return to_schema(builder.as_dataset(split=split), reading=reading)


def load_stream(kind: str, root: str | None, split: str) -> IterableDataset:
    """The rows of a split as a stream, to be shared out by row group.

    Args:
        kind: The source's name; only "hub" can be streamed.
        root: A folder that `write_parquet` made, or a data set's name on the Hub.
        split: One of its splits.

    Raises:
        ValueError: The source is no stream of the one schema, or has no such split.
        HubError: The data set is not there or cannot be read.
    """
    if kind != "hub" or root is None:
        raise ValueError(
            f"data source {kind!r} with root {root!r} cannot be streamed: give data.name hub and a data.root that "
            "'cnn-rnn data convert' wrote, or a data set's name on the Hub"
        )
    if "+" in split:
        raise ValueError(
            f"the splits {split!r} cannot be joined in a stream: convert them into one, or leave streaming off"
        )
    with reading_errors(root):  # the beginnings of row groups, too, stand in the files
        rows = open_dataset(root).as_streaming_dataset(split=split)
        missing = {"image", "image_id", "labels"} - set(rows.column_names or ())
        if missing:
            raise ValueError(f"it cannot be streamed without {', '.join(sorted(missing))}; {CONVERT}")
        check_images(rows.features or Features(), "image", split)
        features = label_features(label_names(rows), rows.column_names or ())
        return (rows if rows.features == features else rows.select_columns(list(features)).cast(features)).reshard()


def stream_labels(root: str, rows: IterableDataset) -> Dataset:
    """The ids and label lists of all rows of a stream; no image is read.

    Args:
        root: Where `load_stream` read the rows from.
        rows: What it returned.

    Raises:
        ValueError: The data set does not consist of Parquet files.
        HubError: They cannot be read.
    """
    data_files: Any = open_dataset(root).config.data_files or {}
    files = [str(file) for file in data_files.get(str(rows.split), ())]
    if not files or not all(file.endswith(".parquet") for file in files):
        raise ValueError(f"{root}, {rows.split}: a stream needs Parquet shards; 'cnn-rnn data convert' writes them")
    told = ("image_id", *LABEL_COLUMNS)
    features = Features({name: own for name, own in (rows.features or {}).items() if name in told})
    tables = []
    for file in tqdm(files, desc=f"labels of {rows.split}", unit="shard", leave=False):
        with reading_errors(root), fsspec.open(file) as opened:
            shard = pq.ParquetFile(opened)
            _check_label_counts(file, shard.metadata, len(label_names(rows)))
            tables.append(shard.read(columns=list(features)))
    table = pa.concat_tables(tables).cast(features.arrow_schema)
    return Dataset(InMemoryTable(table), info=DatasetInfo(features=features))


def _check_label_counts(file: str, metadata: pq.FileMetaData, num_labels: int) -> None:
    """Refuse a file whose few bytes unpack to more labels than its rows can have."""
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    columns = [group.column(column) for group in groups for column in range(group.num_columns)]
    for name in LABEL_COLUMNS:
        count = sum(column.num_values for column in columns if column.path_in_schema.partition(".")[0] == name)
        if count > metadata.num_rows * num_labels:
            raise ValueError(
                f"{file}: {count:,} {name} of {metadata.num_rows:,} rows; "
                f"there are {num_labels} labels, each once a row"
            )
