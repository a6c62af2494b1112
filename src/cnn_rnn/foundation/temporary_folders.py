"""Temporary folders that end with their process: what a kill leaves, the next process that needs such a folder removes.

A process holds a lock beside its files, which the system takes from it however it ends. Whoever gets the lock of
another folder knows that its process is gone, whatever numbers processes have by now.
"""

import atexit
import platform
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, Timeout

from .folder_lock import file_lock
from .own_files import is_owned

HELD, FILES = "held.lock", "files"
DRAWN = re.compile(r"[a-z0-9_]{8}")  # what `mkdtemp` adds to a name


def temporary_folder(prefix: str) -> Path:
    """A new folder that this user alone may enter; it is removed when this process ends.

    Args:
        prefix: What its name begins with; folders of that name whose processes are gone are removed first.

    Raises:
        OSError: None can be made.
    """
    place = Path(tempfile.gettempdir())
    for other in place.glob(f"{prefix}*"):
        if DRAWN.fullmatch(other.name.removeprefix(prefix)):
            _remove_abandoned(other)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    lock = file_lock(folder / HELD)
    atexit.register(_remove, folder, lock)
    with suppress(OSError):  # a disk that knows no locks, or is full: nobody finds this one abandoned
        lock.acquire(blocking=False)
        (folder / HELD).write_text(platform.node(), encoding="utf-8")  # from here on somebody may
    (folder / FILES).mkdir()
    return folder / FILES


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder whose process is gone; what is not this user's own, or is no such folder, stays.

    So does another machine's, of which not every network disk tells whether a process there holds the lock.
    """
    if not (is_owned(folder) and is_owned(folder / HELD)):  # a link is neither
        return
    lock = file_lock(folder / HELD)
    with suppress(Timeout, OSError, ValueError):  # it is at work, or somebody else removes it
        if (folder / HELD).read_text(encoding="utf-8") == platform.node():
            lock.acquire(blocking=False)
            _remove(folder, lock)


def _remove(folder: Path, lock: BaseFileLock) -> None:
    """Remove a folder whose lock this process has; no link in it is followed."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.release(force=True)
    shutil.rmtree(folder, ignore_errors=True)  # on systems where what is open stays
