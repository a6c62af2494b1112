"""What a frozen model sees of photos, kept on the disk by the photo's content and all else that it depends on.

One file of SQLite: several pages and processes write into it at once, and a kill leaves it whole. A photo that has
another name by now is found again, one that has changed is not. Beside photos that are labelled it lies where a run of
training on them keeps its features, which takes from here what is here already.
"""

import hashlib
import logging
import os
import sqlite3
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cnn_rnn.data.photos.found_files import OWN_FOLDER
from cnn_rnn.foundation.provenance import Provenance, digest, digest_file

from .ridge import Floats

logger = logging.getLogger(__name__)
STORE_FILE = "photos.sqlite"
NOT_KEPT = "%s: features are not kept there (%s); they are computed again next time"
PATIENCE = 60  # seconds that one process waits for another that writes
SQL_TABLES = (
    "create table if not exists seen (photo text, by text, numbers blob, primary key (photo, by))",
    "create table if not exists files (file text primary key, photo text)",
)


def store_beside(photos: Path) -> Path:
    """The folder of the store of a folder of photos, where a run on them has its features too."""
    return photos / OWN_FOLDER / "features"


def seen_by(provenance: Provenance, engine: str) -> str:
    """What numbers are known by that a model gave of a photo.

    Args:
        provenance: Of the model's features, or of all of it.
        engine: What computed them: `torch`, or onnxruntime with its version.
    """
    return digest(asdict(provenance) | {"engine": engine})[:32]


class FeatureStore:
    """Numbers that models gave of photos, or in memory alone where nothing may be written.

    Args:
        folder: Where the file lies; it is made. None to keep nothing on the disk.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._table = self._open(folder)

    def find(self, photo: str, by: str, size: int | None = None) -> Floats | None:
        """The numbers that were given of a photo; None where they are not there, or not what was written.

        Args:
            photo: A digest of its content, as `photo_of` has it.
            by: What they depend on beside it, as `seen_by` has it.
            size: How many they are, where that is known.
        """
        row = self._ask("select numbers from seen where photo = ? and by = ?", photo, by)
        if row is None or not isinstance(row[0], bytes) or len(row[0]) % 4:
            return None
        numbers = np.frombuffer(row[0], np.float32)
        if size not in {None, len(numbers)}:
            return None
        return numbers if np.isfinite(numbers).all() else None

    def keep(self, photo: str, by: str, numbers: Floats) -> None:
        """Keep what was given of a photo."""
        content = np.ascontiguousarray(numbers, np.float32).tobytes()
        self._ask("insert or replace into seen values (?, ?, ?)", photo, by, content)

    def photo_of(self, path: Path) -> str:
        """A digest of a photo's content, for which a file is read once for each name, size and time of change.

        Raises:
            OSError: It cannot be read.
        """
        status = path.stat()
        name = os.path.relpath(path, self.folder)
        file = digest({"file": os.fsencode(name).hex(), "size": status.st_size, "time": status.st_mtime_ns})
        row = self._ask("select photo from files where file = ?", file)
        if row is not None:
            return str(row[0])
        photo = digest_file(path)
        self._ask("insert or replace into files values (?, ?)", file, photo)
        return photo

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()

    def _ask(self, statement: str, *values: str | bytes) -> tuple[str | bytes, ...] | None:
        """The first row of an answer; where the disk is full or gone what is kept stays in memory from then on."""
        with self._lock:
            for _ in range(2):
                try:
                    with self._table:
                        row: tuple[str | bytes, ...] | None = self._table.execute(statement, values).fetchone()
                except sqlite3.Error as error:  # features are worth no label: it goes on
                    logger.warning(NOT_KEPT, self.folder, error)
                    self._table.close()
                    self._table = _connect(":memory:")
                else:
                    return row
            return None

    @staticmethod
    def _open(folder: Path | None) -> sqlite3.Connection:
        """The tables on the disk, or in memory."""
        if folder is not None:
            try:
                folder.parent.mkdir(exist_ok=True)
                folder.mkdir(exist_ok=True)
                return _connect(str(folder / STORE_FILE))
            except (OSError, sqlite3.Error) as error:
                logger.warning(NOT_KEPT, folder, error)
        return _connect(":memory:")


def digest_of_photo(photo: bytes) -> str:
    """The digest of a photo's content that `photo_of` has of its file."""
    return hashlib.sha256(photo).hexdigest()


def _connect(name: str) -> sqlite3.Connection:
    """An open file with its tables."""
    table = sqlite3.connect(name, timeout=PATIENCE, check_same_thread=False)
    for made in SQL_TABLES:
        table.execute(made)
    return table
