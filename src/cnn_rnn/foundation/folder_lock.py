"""One process at a time in a folder: a lock that ends with its holder, however that ends, and tells who it is."""

import errno
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import BaseFileLock, FileLock, Timeout

logger = logging.getLogger(__name__)
LOCK = ".lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # what disks that know no `flock` say


class FolderInUseError(OSError):
    """Another process works in the folder; the message says which."""


class FolderLock:
    """The right to write into a folder, held until `release` or until this process ends, by a kill too.

    The system keeps it (`flock`), so nothing is left to clear away; on a network disk it holds between machines where
    that disk knows `flock`, as NFS 4 does. Where a disk knows none, that is said and everybody gets it.

    Args:
        path: The file to lock; its folder is made. It stays, holding who was the last.
        what: What is done here, for the message that others get.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self._made = [folder for folder in path.parents if not folder.exists()]
        if path.parent.is_file():
            raise NotADirectoryError(f"{path.parent} is a file; expected a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = file_lock(path)
        self._held = False

    def acquire(self) -> Self:
        """Take the lock, at once.

        Raises:
            FolderInUseError: Another process has it.
        """
        if not self.try_acquire():
            holder = self.holder()
            told = "{pid} on {host} since {since}".format_map({"pid": "?", "host": "?", "since": "?"} | holder)
            raise FolderInUseError(
                f"{self.path.parent} is in use: process {told} is {holder.get('what', 'at work')} there. Wait for it, "
                "end it, or choose another folder"
            )
        return self

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it; whether that went well."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            _tell_unlocked(self.path, error)
        self._held = True
        holder = {
            "pid": os.getpid(),
            "host": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "what": self.what,
        }
        with suppress(OSError):  # a full disk: the lock counts, who has it is only told
            self.path.write_text(json.dumps(holder), encoding="utf-8")
        return True

    def holder(self) -> dict[str, Any]:
        """The process that has the lock, as far as it is known."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def release(self) -> None:
        """Give the lock back."""
        self._held = False
        self._lock.release()

    def abandon(self) -> None:
        """Give the lock back where nothing came of it: a folder made for it goes too, if it holds nothing else."""
        if self._held and self._made:
            self.path.unlink(missing_ok=True)
        self.release()
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Give the lock, which is taken already, back on leaving."""
        try:
            yield self
        finally:
            self.release()


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is in here with this file, which stays; its folder must be there."""
    path.parent.stat()  # the lock would make it
    lock = file_lock(path)
    try:
        lock.acquire()
    except OSError as error:
        _tell_unlocked(path, error)
    try:
        yield
    finally:
        lock.release()


def file_lock(path: Path) -> BaseFileLock:
    """The system's own lock, never a file whose mere being there counts: that would outlive a kill."""
    return FileLock(path, fallback_to_soft=False)


def _tell_unlocked(path: Path, error: OSError) -> None:
    """Say that a disk knows no locks; raise the error where it says something else."""
    if error.errno not in NO_LOCKS:
        raise error
    logger.warning(
        "%s lies on a disk that knows no locks (%s): nothing keeps a second process out, so start only one there",
        path.parent,
        os.strerror(error.errno),
    )
