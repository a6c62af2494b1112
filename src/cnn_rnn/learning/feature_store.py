"""What a frozen model sees of photos, kept on the disk beside them, by the photo's content and all that it depends on.

One file of SQLite: several pages and processes write into it at once, and a kill leaves it whole. A photo that has
another name by now is found again, one that has changed is not.
"""

import logging
import os
import sqlite3
import threading
from pathlib import Path

import numpy as np

from cnn_rnn.foundation.provenance import digest, digest_file

from .learner import Seen

logger = logging.getLogger(__name__)
FOLDER, FILE = ".cnn-rnn", "features.sqlite"
NOT_KEPT = "%s: features are not kept there (%s); they are computed again next time"
PATIENCE = 60  # seconds that one process waits for another that writes
TABLES = (
    "create table if not exists seen (photo text, eyes text, features blob, logits blob, primary key (photo, eyes))",
    "create table if not exists files (file text primary key, photo text)",
)


class FeatureStore:
    """Features of photos by their content, beside a folder of photos, or in memory where nothing may be written there.

    Args:
        folder: Of the photos; None to keep nothing on the disk.
        eyes: A digest of all that features depend on beside the photo.
        sizes: How many numbers the features and the logits are.
    """

    def __init__(self, folder: Path | None, eyes: str, sizes: tuple[int, int]) -> None:
        self.folder, self.eyes, self.sizes = folder, eyes, sizes
        self._lock = threading.Lock()
        self._table = self._open(folder)

    def find(self, path: Path) -> Seen | None:
        """What was seen of a photo; None where it was not, or where that cannot be read."""
        with self._lock:
            try:
                row = self._table.execute(
                    "select features, logits from seen where photo = ? and eyes = ?", (self._photo(path), self.eyes)
                ).fetchone()
            except sqlite3.Error as error:
                self._go_on_in_memory(error)
                return None
        if row is None or not all(isinstance(cell, bytes) for cell in row):
            return None
        features, logits = (np.frombuffer(cell[: len(cell) // 4 * 4], np.float32) for cell in row)
        if (len(features), len(logits)) != self.sizes or not (
            np.isfinite(features).all() and np.isfinite(logits).all()
        ):
            return None  # not what was written: it is looked at again
        return Seen(features, logits)

    def keep(self, path: Path, seen: Seen) -> None:
        """Keep what was seen of a photo."""
        with self._lock:
            try:
                with self._table:
                    row = (self._photo(path), self.eyes, seen.features.tobytes(), seen.logits.tobytes())
                    self._table.execute("insert or replace into seen values (?, ?, ?, ?)", row)
            except sqlite3.Error as error:
                self._go_on_in_memory(error)

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()

    def _photo(self, path: Path) -> str:
        """A digest of the photo's bytes, read once for each name, size and time of change."""
        status = path.stat()
        name = os.path.relpath(path, self.folder)
        file = digest({"file": os.fsencode(name).hex(), "size": status.st_size, "time": status.st_mtime_ns})
        row = self._table.execute("select photo from files where file = ?", (file,)).fetchone()
        if row is not None:
            return str(row[0])
        photo = digest_file(path)
        with self._table:
            self._table.execute("insert or replace into files values (?, ?)", (file, photo))
        return photo

    def _go_on_in_memory(self, error: sqlite3.Error) -> None:
        """Keep nothing on the disk any more, which is full or gone: features are worth no label."""
        logger.warning(NOT_KEPT, self.folder, error)
        self._table.close()
        self._table = _connect(":memory:")

    @staticmethod
    def _open(folder: Path | None) -> sqlite3.Connection:
        """The tables on the disk, or in memory."""
        if folder is not None:
            place = folder / FOLDER
            try:
                place.mkdir(exist_ok=True)
                return _connect(str(place / FILE))
            except (OSError, sqlite3.Error) as error:
                logger.warning(NOT_KEPT, place, error)
        return _connect(":memory:")


def _connect(name: str) -> sqlite3.Connection:
    """An open file with its tables."""
    table = sqlite3.connect(name, timeout=PATIENCE, check_same_thread=False)
    for made in TABLES:
        table.execute(made)
    return table
