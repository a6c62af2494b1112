"""The images of a bulk job, in numbered parts that are read one at a time.

Whatever the images lie in (a list, a folder, Parquet files, webdataset tars, a split), memory holds the places where
parts begin and no more. Names of files are written down once, in the job's folder, so that every process sees the same.
"""

import hashlib
import os
import tarfile
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from cnn_rnn.data.archive_bounds import BROKEN_ARCHIVE, ArchiveTally, CheckedTarInfo
from cnn_rnn.data.images import LARGEST_FILE, UnreadableImageError, too_long
from cnn_rnn.data.photo_suffixes import is_photo_name
from cnn_rnn.foundation.provenance import Identity, digest_texts, file_identity

from .found_images import PassedOver, printable

NAME_COLUMNS = ("file_name", "path", "url")


@dataclass(frozen=True)
class Input:
    """One image: its name, and what it is decoded from (a path, an address, bytes, an undecoded row), or why not."""

    name: str
    image: Any
    truth: Sequence[str] | None = None


class Inputs(ABC):
    """Images in parts; as an iterable, their names.

    Attributes:
        parts: How many parts there are.
        images: How many images, where that is known before all is read.
        names: A digest of what the parts are, in their order.
        passed_over: What was found beside images.
    """

    parts: int
    images: int | None
    names: str
    passed_over: PassedOver

    @abstractmethod
    def part(self, number: int) -> Iterator[Input]:
        """The images of one part, in order."""

    def __iter__(self) -> Iterator[str]:
        """The names of all images, in order; shards are read through for them."""
        for number in range(self.parts):
            for image in self.part(number):
                yield image.name

    @abstractmethod
    def identity(self, number: int, by: Identity) -> str:
        """A digest that changes with the images of a part, as far as `by` looks."""


class NamedFiles(Inputs):
    """Files by name, written down in an index.

    Args:
        names: The files.
        folder: On whose disk the index is kept; it is made where it is missing.
        part_size: Images in each part.
        passed_over: What was found beside them; filled while `names` is read.
        limit: Take the first so many.
    """

    def __init__(
        self,
        names: Iterable[str],
        folder: Path,
        part_size: int,
        passed_over: PassedOver | None = None,
        limit: int | None = None,
    ) -> None:
        self.passed_over = passed_over or PassedOver()
        self.starts = array("Q", [0])
        found = hashlib.sha256()
        made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        # Without a name: nothing is left of it, however this process ends.
        self._index = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the job
        count, place = 0, 0
        try:
            with tqdm(desc="listing", unit="image", delay=2, leave=False) as bar:
                for name in islice(names, limit):
                    entry = os.fsencode(name) + b"\0"
                    self._index.write(entry)
                    found.update(entry)
                    place += len(entry)
                    count += 1
                    if not count % part_size:
                        self.starts.append(place)
                        bar.update(part_size)
            self._index.flush()
        finally:
            if not count:
                _remove_if_empty(*made)
        if count % part_size:
            self.starts.append(place)
        self.images, self.names, self.parts = count, found.hexdigest(), len(self.starts) - 1

    def part(self, number: int) -> Iterator[Input]:
        """The images of one part, in order."""
        for name in self._names(number):
            yield Input(printable(name), name)

    def identity(self, number: int, by: Identity) -> str:
        """A digest of names and, as far as `by` looks, of what lies there."""
        return digest_texts(file_identity(name, by) for name in self._names(number))

    def _names(self, number: int) -> list[str]:
        """The names of one part's images, in order."""
        start, end = self.starts[number : number + 2]
        entries = os.pread(self._index.fileno(), end - start, start)
        return [os.fsdecode(entry) for entry in entries.split(b"\0")[:-1]]


def _remove_if_empty(*folders: Path) -> None:
    """Remove folders, one after the other, up to the first that cannot be removed."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


class SplitRows(Inputs):
    """Rows of a split of a data set, with their true labels.

    Args:
        dataset: Rows of the one schema, images undecoded.
        label_names: Names of its labels.
        part_size: Images in each part.
    """

    def __init__(self, dataset: Any, label_names: Sequence[str], part_size: int) -> None:
        self.dataset, self.label_names, self.part_size = dataset, label_names, part_size
        self.images = len(dataset)
        self.parts = -(-len(dataset) // part_size)
        self.names = digest_texts(dataset["image_id"])
        self.passed_over = PassedOver()

    def part(self, number: int) -> Iterator[Input]:
        """The images of one part, in order."""
        for row in self._rows(number):
            yield Input(row["image_id"], row["image"], [self.label_names[label] for label in row["labels"]])

    def identity(self, number: int, by: Identity) -> str:
        """A digest of ids and, as far as `by` looks, of the images."""
        return digest_texts(part for row in self._rows(number) for part in (row["image_id"], _look(row["image"], by)))

    def __iter__(self) -> Iterator[str]:
        """The ids of all rows, in order."""
        yield from self.dataset["image_id"]

    def _rows(self, number: int) -> Iterator[dict[str, Any]]:
        """The rows of one part, in order."""
        for index in range(number * self.part_size, min((number + 1) * self.part_size, len(self.dataset))):
            yield self.dataset[index]


def _look(image: dict[str, Any] | None, by: Identity) -> str:
    """What tells whether an image changed: a digest of its bytes or its file's identity; empty by name alone."""
    if image is None or by == "name":
        return ""
    if image["bytes"] is not None:
        return hashlib.sha256(image["bytes"]).hexdigest()
    return file_identity(image["path"], by)


class ShardFiles(Inputs):
    """Files that hold many images each, here or wherever fsspec reaches (`hf://`, `s3://`, `https://`).

    Args:
        files: Their paths or addresses.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = list(files)
        self.passed_over = PassedOver()
        self.images = None

    def _file_identity(self, file: str, by: Identity) -> str:
        """A file's identity as far as `by` looks; of an address, what its server tells."""
        if "://" not in file:
            return file_identity(file, by)
        system, path = fsspec.core.url_to_fs(file)
        info = {} if by == "name" else system.info(path)
        told = [str(info[key]) for key in ("size", "mtime", "ETag", "etag", "LastModified", "sha") if key in info]
        return "\0".join([file, *told])


@contextmanager
def reading_shard(file: str) -> Iterator[None]:
    """Name the file that turns out to be broken.

    Raises:
        ValueError: It is.
    """
    try:
        yield
    except (pa.ArrowException, *BROKEN_ARCHIVE) as error:
        raise ValueError(f"{file} cannot be read: {error}; get it again, or leave it out") from error


class TarShards(ShardFiles):
    """Tars as webdataset writes them, packed or not; each is a part. A member that is called like a photo is one."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(files)
        self.parts = len(self.files)
        self.names = digest_texts(self.files)

    def part(self, number: int) -> Iterator[Input]:
        """The images of one tar, in order."""
        file = self.files[number]
        with fsspec.open(file, "rb") as opened, reading_shard(file):
            tally = ArchiveTally(file, getattr(opened, "size", None))
            with tarfile.open(fileobj=opened, mode="r|*", tarinfo=CheckedTarInfo) as members:
                for member in members:
                    tally.add(member.name, member.size)
                    content = members.extractfile(member) if member.isfile() and is_photo_name(member.name) else None
                    if content is None:
                        continue
                    name = f"{printable(file)}/{printable(member.name)}"
                    if member.size > LARGEST_FILE:
                        yield Input(name, UnreadableImageError(f"{name}: cannot be decoded ({too_long(member.size)})"))
                    else:
                        yield Input(name, content.read())

    def identity(self, number: int, by: Identity) -> str:
        """A digest of the tar's name and, as far as `by` looks, of its size, time or bytes."""
        return digest_texts([self._file_identity(self.files[number], by)])


class ParquetShards(ShardFiles):
    """Parquet files with a column `image`, or with the names of files; each row group is a part."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(files)
        self.groups: list[tuple[int, int]] = []
        self.images = 0
        for number, file in enumerate(tqdm(self.files, desc="looking at shards", unit="file", delay=2, leave=False)):
            with fsspec.open(file, "rb") as opened, reading_shard(file):
                shard = pq.ParquetFile(opened)
                tally = ArchiveTally(file, getattr(opened, "size", None))
                for group in range(shard.num_row_groups):
                    tally.add(f"row group {group}", shard.metadata.row_group(group).total_byte_size)
                self.columns(file, shard)
                self.groups += [(number, group) for group in range(shard.num_row_groups)]
                self.images += shard.metadata.num_rows
        self.parts = len(self.groups)
        self.names = digest_texts(f"{self.files[number]}\0{group}" for number, group in self.groups)

    @staticmethod
    def columns(file: str, shard: pq.ParquetFile) -> tuple[str, bool]:
        """The column that holds the images or their names, and whether there are ids.

        Raises:
            ValueError: There is none.
        """
        names = shard.schema_arrow.names
        column = next((name for name in ("image", *NAME_COLUMNS) if name in names), None)
        if column is None:
            raise ValueError(
                f"{file} has no column image, nor one of {', '.join(NAME_COLUMNS)}; it has {', '.join(names)}"
            )
        return column, "image_id" in names

    def part(self, number: int) -> Iterator[Input]:
        """The images of one row group, in order."""
        place, group = self.groups[number]
        file = self.files[place]
        with fsspec.open(file, "rb") as opened, reading_shard(file):
            shard = pq.ParquetFile(opened)
            column, has_ids = self.columns(file, shard)
            row = sum(shard.metadata.row_group(before).num_rows for before in range(group))
            wanted = [column, *(["image_id"] if has_ids else [])]
            for batch in shard.iter_batches(64, row_groups=[group], columns=wanted):
                for entry in batch.to_pylist():
                    named = entry[column] if column != "image" else f"{file}:{row}"
                    yield Input(str(entry["image_id"] if has_ids else named), self._beside(file, entry[column]))
                    row += 1

    def identity(self, number: int, by: Identity) -> str:
        """A digest of the file's name and, as far as `by` looks, of its size, time or bytes, and of the row group."""
        place, group = self.groups[number]
        return digest_texts([self._file_identity(self.files[place], by), str(group)])

    @staticmethod
    def _beside(file: str, image: Any) -> Any:
        """The image; a relative name counts from the folder of the Parquet file."""
        if isinstance(image, str) and "://" not in image and not image.startswith("/"):
            return f"{file.rpartition('/')[0] or '.'}/{image}"
        return image
