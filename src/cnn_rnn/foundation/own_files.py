"""The files that this user's own processes wrote, told by a record in a place that nobody else may write to.

A file is not to be trusted for its name or for what it says of itself: whoever handed out a folder may have put it
there.
"""

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

RECORDS = "written"

logger = logging.getLogger(__name__)


def record_own(content: bytes | Path, what: str) -> None:
    """Record that a process of this user wrote a content, as far as there is a place for it.

    Args:
        content: What was written, or the file that holds it.
        what: What it is; the record counts for that alone.
    """
    for place in _places():
        with suppress(OSError):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
            if _is_own(place):
                (place / _name(content, what)).touch(mode=0o600)
                return


def is_own(content: bytes | Path, what: str) -> bool:
    """Whether a process of this user wrote this content as what it is to be."""
    name = _name(content, what)
    return any(_is_own(place) and _is_own(place / name) for place in _places())


def check_own(path: Path, what: str) -> None:
    """Refuse to write over a file that no process of this user wrote as it stands: it may be a person's own work.

    Raises:
        FileExistsError: There is one.
    """
    if path.exists() and not is_own(path, what):
        raise FileExistsError(
            f"{path} is there already, and not as this command wrote it: move it away to write it anew"
        )


@contextmanager
def kept_aside(paths: Sequence[Path], what: str) -> Iterator[None]:
    """What the body writes at paths is recorded as this user's; what stood there and is no such is kept, and told.

    Where the body fails before it wrote a file, what stood there is there again.

    Args:
        paths: What the body writes; it may leave some out.
        what: What they are: files of the same name that are something else are kept as well.
    """
    kept_as = {}
    for path in paths:
        if path.is_file() and not is_own(path, what):
            free = (path.with_name(f"{path.stem}.before{number or ''}{path.suffix}") for number in count())
            kept = kept_as[path] = next(name for name in free if not os.path.lexists(name))
            path.rename(kept)
            logger.warning("%s was there already, and is not %s as it was written here: kept as %s", path, what, kept)
    try:
        yield
    finally:
        for path in paths:
            if path.is_file():
                record_own(path, what)
            elif path in kept_as:
                kept_as[path].rename(path)
                logger.warning("%s was not written: what was kept of it is there again", path)


def _name(content: bytes | Path, what: str) -> str:
    """The name of a record."""
    found = hashlib.sha256(what.encode() + b"\0")
    if isinstance(content, bytes):
        found.update(content)
    else:
        with content.open("rb") as file:
            hashlib.file_digest(file, lambda: found)  # goes on with the digest of what it is
    return found.hexdigest()


def _places() -> list[Path]:
    """Where records may lie: with what else this user's programs remember, else among temporary files."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - never raises
    user = os.getuid() if hasattr(os, "getuid") else "own"
    return [Path(state) / "cnn-rnn" / RECORDS, Path(tempfile.gettempdir()) / f"cnn-rnn-{user}" / RECORDS]


def _is_own(path: Path) -> bool:
    """Whether this user alone may write to a file or folder and to the folder that it lies in; a link counts as no."""
    return all(is_owned(one) for one in (path, path.parent))


def is_owned(path: Path) -> bool:
    """Whether a file or folder is this user's and nobody else's to write."""
    try:
        status = path.lstat()
    except OSError:
        return False
    if stat.S_ISLNK(status.st_mode):
        return False
    if not hasattr(os, "getuid"):  # a system whose files have no such owners: its home folders are private
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
