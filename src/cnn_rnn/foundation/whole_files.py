"""Files and folders that are there whole or not at all, also after a kill or a power cut."""

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HALF_DONE = re.compile(r".+\.[0-9a-f]{12}\.tmp")  # as `temporary_name` makes them
SHORT_NAME = 100  # bytes that every disk takes
NOT_TAKEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)  # by the disk; the system names no file


class UnwrittenFileError(OSError):
    """The disk did not take a file; the message names it, and what was there before is whole."""


@contextmanager
def whole_file(path: Path, *, make_folder: bool = True) -> Iterator[Path]:
    """Where to write what becomes `path` in the end; an error leaves `path` as it was.

    A link stays one: what it leads to is replaced. What is replaced hands on its mode and, if that may be, its owner.

    Args:
        path: The file.
        make_folder: Whether its folder is made where it is not there, which otherwise is an error.

    Raises:
        UnwrittenFileError: The disk is full, broken or not to be written.
    """
    with named_on_failure(path):
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            yield temporary
            _hand_on_owner(path, temporary)
            flush(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        temporary.replace(path)
        flush(path.parent)


def _hand_on_owner(path: Path, temporary: Path) -> None:
    """Give what replaces a file that file's owner, where this process may, and its mode."""
    try:
        before = path.stat()
    except OSError:  # there is none
        return
    with suppress(OSError):  # only root may give files away
        os.chown(temporary, before.st_uid, before.st_gid)
    with suppress(OSError):  # a disk without modes
        temporary.chmod(stat.S_IMODE(before.st_mode))


@contextmanager
def named_on_failure(path: Path) -> Iterator[None]:
    """Name the file that the disk did not take.

    Raises:
        UnwrittenFileError: It did not.
    """
    try:
        yield
    except UnwrittenFileError:
        raise
    except OSError as error:
        if error.errno not in NOT_TAKEN:
            raise
        way_on = "free space on that disk" if error.errno in NOT_TAKEN[:2] else "look at that disk, or choose another"
        raise UnwrittenFileError(
            f"could not write {path}: {os.strerror(error.errno)}; what was there before is whole. To go on, {way_on}"
        ) from error


def write_text(path: Path, content: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process or machine takes and that ends in `.tmp`, as all that is half done.

    It is no longer than `path` itself where that is long: a disk that takes the one takes the other.
    """
    ending = f".{secrets.token_hex(6)}.tmp"
    most = max(len(os.fsencode(path.name)), SHORT_NAME) - len(ending)
    return path.with_name(os.fsencode(path.name)[:most].decode("utf-8", "ignore") + ending)


def half_done(folder: Path, pattern: str = "*") -> list[Path]:
    """What a killed process left of `whole_file` and `remove_whole` in a folder; nobody else names files so."""
    return [path for path in sorted(folder.glob(pattern)) if HALF_DONE.fullmatch(path.name)]


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, so that a power cut finds them there."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def flush_folder(folder: Path) -> None:
    """`flush` of all files below a folder and of the folders themselves."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_file() or path.is_dir():
            flush(path)


def remove_whole(folder: Path) -> None:
    """Remove a folder; killed in between, it leaves what counts as half done and nothing under the old name."""
    doomed = temporary_name(folder)
    try:
        folder.replace(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)
