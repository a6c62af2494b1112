"""Images in files that hold many each, Parquet files or webdataset tars, as parts of a bulk job."""

import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from cnn_rnn.data.files.packed_tables import holds_bytes
from cnn_rnn.data.files.unpacking import ArchiveTally, CheckedTarInfo
from cnn_rnn.data.photos.found_files import PassedOver, printable
from cnn_rnn.data.photos.images import LARGEST_FILE, UnreadableImageError, too_long
from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.provenance import Identity, digest_texts, file_identity

from .inputs import Input, Inputs, reached

NAME_COLUMNS = ("file_name", "path", "url")
WAY_OUT = "; get it again, or leave it out"
ROWS_AT_ONCE = 64  # of a Parquet file, which may hold the images themselves


class ShardFiles(Inputs):
    """Files that hold many images each, here or wherever fsspec reaches (`hf://`, `s3://`, `https://`).

    Args:
        files: Their paths or addresses.
        passed_over: What was found beside them.
    """

    def __init__(self, files: Sequence[str], passed_over: PassedOver | None = None) -> None:
        self.files = list(files)
        self.passed_over = passed_over or PassedOver()
        self.images = None

    def _file_identity(self, file: str, by: Identity) -> str:
        """A file's identity as far as `by` looks; of an address, what its server tells."""
        if "://" not in file:
            return file_identity(file, by)
        with reached(file):
            system, path = fsspec.core.url_to_fs(file)
            info = {} if by == "name" else system.info(path)
        told = [str(info[key]) for key in ("size", "mtime", "ETag", "etag", "LastModified", "sha") if key in info]
        return "\0".join([file, *told])


class TarShards(ShardFiles):
    """Tars as webdataset writes them, packed or not; each is a part. A member that is called like a photo is one."""

    def __init__(self, files: Sequence[str], passed_over: PassedOver | None = None) -> None:
        super().__init__(files, passed_over)
        self.parts = len(self.files)
        self.names = digest_texts(self.files)
        self._looked_at: set[int] = set()  # whose members are counted

    def part(self, number: int) -> Iterator[Input]:
        """The images of one tar, in order."""
        file = self.files[number]
        passed_over = PassedOver(self.passed_over.system_files) if number in self._looked_at else self.passed_over
        self._looked_at.add(number)
        with reached(file), told_as_broken(file, way_out=WAY_OUT, unpacks=True), fsspec.open(file, "rb") as opened:
            tally = ArchiveTally(file, getattr(opened, "size", None))
            with tarfile.open(fileobj=opened, mode="r|*", tarinfo=CheckedTarInfo) as members:
                for member in members:
                    tally.add(member.name, member.size)
                    if member.isdir() or not is_photo_name(member.name) or passed_over.leaves_out_path(member.name):
                        continue
                    name = f"{printable(file)}/{printable(member.name)}"
                    content = members.extractfile(member) if member.isfile() else None
                    if content is None:
                        why = "a link or a device in the tar: pack the files themselves (tar -h --hard-dereference)"
                        yield Input(name, UnreadableImageError(f"{name}: cannot be decoded ({why})"))
                    elif member.size > LARGEST_FILE:
                        yield Input(name, UnreadableImageError(f"{name}: cannot be decoded ({too_long(member.size)})"))
                    else:
                        yield Input(name, content.read())

    def identity(self, number: int, by: Identity) -> str:
        """A digest of the tar's name and, as far as `by` looks, of its size, time or bytes."""
        return digest_texts([self._file_identity(self.files[number], by)])


@dataclass(frozen=True)
class Slice:
    """Rows of a row group of a Parquet file.

    Attributes:
        file: Its place among the files.
        group: The row group.
        start: The first row of the group.
        rows: How many of them.
    """

    file: int
    group: int
    start: int
    rows: int

    def __str__(self) -> str:
        return f"{self.group}" + (f"\0{self.start}" if self.start else "")


class ParquetShards(ShardFiles):
    """Parquet files with a column `image`, or with the names of files; each row group is a part, a large one several.

    Args:
        files: Their paths or addresses.
        part_size: The most images in a part.
        passed_over: What was found beside them.
    """

    def __init__(self, files: Sequence[str], part_size: int, passed_over: PassedOver | None = None) -> None:
        super().__init__(files, passed_over)
        self.slices: list[Slice] = []
        self.images = 0
        for number, file in enumerate(tqdm(self.files, desc="looking at shards", unit="file", delay=2, leave=False)):
            with reached(file), told_as_broken(file, way_out=WAY_OUT), fsspec.open(file, "rb") as opened:
                shard = pq.ParquetFile(opened)
                tally = ArchiveTally(file, getattr(opened, "size", None))
                for group in range(shard.num_row_groups):
                    tally.add(f"row group {group}", shard.metadata.row_group(group).total_byte_size)
                self.columns(file, shard)
                for group in range(shard.num_row_groups):
                    rows = shard.metadata.row_group(group).num_rows
                    starts = range(0, max(rows, 1), part_size)
                    self.slices += [Slice(number, group, start, min(part_size, rows - start)) for start in starts]
                self.images += shard.metadata.num_rows
        self.parts = len(self.slices)
        self.names = digest_texts(f"{self.files[one.file]}\0{one}" for one in self.slices)

    @staticmethod
    def columns(file: str, shard: pq.ParquetFile) -> tuple[str, bool]:
        """The column that holds the images or their names, and whether there are ids.

        Raises:
            ValueError: There is none.
        """
        names = shard.schema_arrow.names
        structs = [one.name for one in shard.schema_arrow if pa.types.is_struct(one.type) and holds_bytes(one.type)]
        inside = structs if len(structs) == 1 else []  # of another name, as `img`
        column = next((name for name in ("image", *inside, *NAME_COLUMNS) if name in names), None)
        if column is None:
            raise ValueError(
                f"{file} has no column image, nor one of {', '.join(NAME_COLUMNS)}; it has {', '.join(names)}: rename "
                "the one that holds the images, or their names"
            )
        return column, "image_id" in names

    def part(self, number: int) -> Iterator[Input]:
        """The images of one row group, or of one part of it, in order."""
        wanted = self.slices[number]
        file = self.files[wanted.file]
        with reached(file), told_as_broken(file, way_out=WAY_OUT), fsspec.open(file, "rb") as opened:
            shard = pq.ParquetFile(opened)
            column, has_ids = self.columns(file, shard)
            first = sum(shard.metadata.row_group(before).num_rows for before in range(wanted.group)) + wanted.start
            columns = [column, *(["image_id"] if has_ids else [])]
            batches = shard.iter_batches(ROWS_AT_ONCE, row_groups=[wanted.group], columns=columns)
            for row, entry in enumerate(_rows_from(batches, wanted.start, wanted.rows), start=first):
                named = entry[column] if isinstance(entry[column], str) else f"{file}:{row}"
                own = entry["image_id"] if has_ids else None
                yield Input(str(named if own is None else own), self._beside(file, entry[column]))

    def identity(self, number: int, by: Identity) -> str:
        """A digest of the file's name and, as far as `by` looks, of its size, time or bytes, and of the row group."""
        wanted = self.slices[number]
        return digest_texts([self._file_identity(self.files[wanted.file], by), str(wanted)])

    @staticmethod
    def _beside(file: str, image: Any) -> Any:
        """The image; a relative name counts from the folder of the Parquet file."""
        if isinstance(image, str) and "://" not in image and not image.startswith("/"):
            return f"{file.rpartition('/')[0] or '.'}/{image}"
        return image


def _rows_from(batches: Iterable[pa.RecordBatch], start: int, count: int) -> Iterator[dict[str, Any]]:
    """Rows of batches, so many of them from the row `start` on."""
    for batch in batches:
        if start < len(batch):
            rows = batch.slice(start, count).to_pylist()
            yield from rows
            count -= len(rows)
            if not count:
                return
        start = max(0, start - len(batch))
