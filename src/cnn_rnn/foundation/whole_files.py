"""Files and folders that are there whole or not at all, also after a kill or a power cut."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` in the end; an error leaves `path` as it was. Its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        flush(temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    flush(path.parent)


def write_text(path: Path, content: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process or machine takes and that ends in `.tmp`, as all that is half done."""
    return path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")


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
