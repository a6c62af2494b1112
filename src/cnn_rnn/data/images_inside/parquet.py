"""A labelled image set as Parquet shards with its images inside: to stream, to move, to push to the Hub."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.table import embed_table_storage
from huggingface_hub import DatasetCard, DatasetCardData
from tqdm.auto import tqdm

from cnn_rnn.data.look import look_at
from cnn_rnn.foundation.folder_lock import LOCK, FolderLock
from cnn_rnn.foundation.own_files import check_own, record_own
from cnn_rnn.foundation.whole_files import flush, flush_folder, half_done, named_on_failure, temporary_name, write_text

ROWS_A_GROUP = 100  # what a reader of a stream holds in memory at once
SHARD_BYTES = 500_000_000
CARD = "README.md"


def write_parquet(
    data: Dataset | DatasetDict,
    folder: str | Path,
    *,
    title: str = "Labelled images",
    source: str = "",
    license_name: str = "unknown",
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """The folder, now with `data/<split>-<i>-of-<n>.parquet` and a dataset card; `datasets.load_dataset` reads it.

    Rows are copied one group at a time, so that memory does not grow with the set. `data/` appears when all of it is
    on the disk; what a killed process left half done is cleared away.

    Args:
        data: Rows of the one schema.
        folder: Where to write; it must hold no `data/` yet, and no `README.md` of anybody else.
        title: The card's title.
        source: Where the images and labels come from, for the card.
        license_name: Their licence as the Hub writes it.
        shard_bytes: About how large a shard becomes; a stream is read by at most as many workers as it has shards.

    Raises:
        FileExistsError: It does.
        FolderInUseError: Another process writes there.
        UnwrittenFileError: The disk did not take it; nothing of it is left.
        ValueError: A split has no rows.
    """
    splits = data if isinstance(data, DatasetDict) else DatasetDict({str(data.split or "train"): data})
    empty = [name for name, rows in splits.items() if not len(rows)]
    if empty:
        raise ValueError(f"the split {empty[0]} has no rows to write; leave it out, or give it some")
    shards = Path(folder) / "data"
    if shards.exists() and any(shards.iterdir()):
        raise FileExistsError(f"{shards} is not empty; remove it or choose another folder")
    check_own(Path(folder) / CARD, CARD)
    lock = FolderLock(Path(folder) / LOCK, "writing shards").acquire()
    try:
        with named_on_failure(shards):
            for left in half_done(Path(folder), "data.*"):
                shutil.rmtree(left)
            _write_whole(splits, shards, shard_bytes, _card(splits, title, source, license_name))
    finally:
        lock.abandon()
    return Path(folder)


def _write_whole(splits: DatasetDict, shards: Path, shard_bytes: int, card: DatasetCard) -> None:
    """Write all splits and the card, or nothing."""
    written = temporary_name(shards)
    try:
        written.mkdir()
        for name, rows in splits.items():
            _write_split(rows, written, name, shard_bytes)
        flush_folder(written)
        record_own(str(card).encode(), CARD)
        write_text(shards.parent / CARD, str(card))
        written.replace(shards)
    except BaseException:
        shutil.rmtree(written, ignore_errors=True)
        raise
    flush(shards.parent)


def _write_split(rows: Dataset, folder: Path, name: str, shard_bytes: int) -> None:
    """Write a split in shards of about `shard_bytes`, which get their names when all are whole."""
    schema = rows.features.arrow_schema
    parts: list[Path] = []
    writer: pq.ParquetWriter | None = None
    with tqdm(total=len(rows), desc=f"writing {name}", unit="image") as bar:
        for group in _embedded_groups(rows):
            if writer is None:
                parts.append(folder / f"{name}-{len(parts):05d}")
                writer = pq.ParquetWriter(parts[-1], schema)
                written = 0
            writer.write_table(group.cast(schema))
            written += group.nbytes
            bar.update(len(group))
            if written >= shard_bytes:
                writer.close()
                writer = None
    if writer is not None:
        writer.close()
    for number, part in enumerate(parts):
        part.rename(folder / f"{name}-{number:05d}-of-{len(parts):05d}.parquet")


def _embedded_groups(rows: Dataset) -> Iterator[pa.Table]:
    """The rows in small tables, each image's bytes read in."""
    arrow = rows.with_format("arrow")
    for start in range(0, len(rows), ROWS_A_GROUP):
        yield embed_table_storage(arrow[start : start + ROWS_A_GROUP])


def _card(splits: Mapping[str, Dataset], title: str, source: str, license_name: str) -> DatasetCard:
    """The data set's card, with what the Hub asks of licence, features and files."""
    first = next(iter(splits.values()))
    info = DatasetInfo(
        features=first.features,
        splits=SplitDict({name: SplitInfo(name, num_examples=len(rows)) for name, rows in splits.items()}),
    )
    fields = DatasetCardData(
        license=license_name,
        pretty_name=title,
        task_categories=["image-classification"],
        task_ids=["multi-label-image-classification"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in splits],
            }
        ],
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(fields)
    return DatasetCard(f"---\n{fields.to_yaml()}\n---\n\n# {title}\n\n{_card_text(splits, source)}")


def _card_text(splits: Mapping[str, Dataset], source: str) -> str:
    """What the card tells people: source, columns, and counts by split and by label."""
    look = look_at(splits)
    head = ["| split | images | without label | labels per image |", "|---|---|---|---|"]
    head += [
        f"| {name} | {split.images:,} | {split.unlabelled:,} | {split.labels_per_image:.2f} |"
        for name, split in look.splits.items()
    ]
    table = [f"| label | {' | '.join(splits)} |", f"|---|{'---|' * len(splits)}"]
    for label, name in enumerate(look.names):
        table.append(f"| {name} | {' | '.join(f'{split.counts[label]:,}' for split in look.splits.values())} |")
    columns = "Columns: `image`, `image_id`, `labels` (class labels; an empty list is a valid row)"
    if "difficult" in next(iter(splits.values())).column_names:
        columns += ", `difficult` (class labels that evaluation leaves out)"
    if "unknown" in next(iter(splits.values())).column_names:
        columns += ", `unknown` (class labels that nobody looked for)"
    sections = [
        f"Source: {source}" if source else "",
        f"Images with any number of {len(look.names)} labels. {columns}.",
        "\n".join(head),
        "## Images that show each label",
        "\n".join(table),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"
