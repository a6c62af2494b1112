"""The images of a bulk job, in numbered parts that are read one at a time.

Whatever the images lie in (a list, a folder, a split; in `shards` Parquet files and webdataset tars), memory holds the
places where parts begin and no more. Names of files are written down once, in the job's folder, so that every process
sees the same.
"""

import errno
import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from cnn_rnn.data.photos.found_files import PassedOver, printable
from cnn_rnn.foundation.provenance import Identity, digest_texts, file_identity
from cnn_rnn.foundation.whole_files import named_on_failure

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


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
            with tqdm(desc="listing", unit=" images", delay=2, leave=False) as bar:
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
        except OSError as error:
            if error.errno not in DISK_FULL:  # of the images' own disk
                raise
            with named_on_failure(folder):
                raise
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


@contextmanager
def reached(address: str) -> Iterator[None]:
    """What goes wrong on the way to an address, as fsspec tells it, comes out as one line that names it.

    Of a path on this machine errors stay as they are.

    Raises:
        OSError: It is not there, or cannot be reached.
    """
    try:
        yield
    except Exception as error:
        from cnn_rnn.foundation.hub_errors import HTTP_ERROR, first_line, history_of

        if "://" not in address or not isinstance(error, OSError | HTTP_ERROR):
            raise
        *_, first = history_of(error)
        told = first_line(first if first_line(error) in address else error)  # some libraries say the address alone
        raise OSError(
            f"{printable(address)} cannot be reached ({told}): see how it is written, and whether the network answers"
        ) from error


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
        return digest_texts(
            part for row in self._rows(number) for part in (row["image_id"], image_identity(row["image"], by))
        )

    def __iter__(self) -> Iterator[str]:
        """The ids of all rows, in order."""
        yield from self.dataset["image_id"]

    def _rows(self, number: int) -> Iterator[dict[str, Any]]:
        """The rows of one part, in order."""
        for index in range(number * self.part_size, min((number + 1) * self.part_size, len(self.dataset))):
            yield self.dataset[index]


def image_identity(image: dict[str, Any] | None, by: Identity = "time") -> str:
    """What tells an image from any other: a digest of its bytes or its file's identity; empty by name, or of none."""
    if image is None or by == "name":
        return ""
    if image["bytes"] is not None:
        return hashlib.sha256(image["bytes"]).hexdigest()
    return file_identity(image["path"], by)
