"""The files of cached features: one array, whole or not there, beside a description that tells damage from it."""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from cnn_rnn.foundation.whole_files import flush_folder, remove_whole, temporary_name, write_json

from .agreement import wait_until_seen
from .faults import disk_advice

logger = logging.getLogger(__name__)
FEATURES, DESCRIPTION = "features.npy", "description.json"
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
WAY_ON = "free space on that disk, or name a folder on another one with --train.feature_cache; then start again"


def write_features(
    batches: Iterator[npt.ArrayLike], count: int, folder: Path, description: dict[str, Any], *, writes: bool
) -> None:
    """Write the batches as one array, whole or not at all; a process that does not write still takes its part."""
    if not writes:
        for _ in batches:
            pass
        return
    temporary = temporary_name(folder)
    found = hashlib.sha256()
    start, shape = 0, (count,)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        with disk_advice(folder.parent, WAY_ON):
            temporary.mkdir(parents=True)
            # Written, not mapped: on a full disk a memory map ends the process without a word.
            file = (temporary / FEATURES).open("wb")
            stack.callback(close, file)
        for batch in batches:
            rows = np.ascontiguousarray(batch, dtype=np.float32)
            with disk_advice(folder.parent, WAY_ON):
                if not start:
                    shape = (count, *rows.shape[1:])
                    write_header(file, shape)
                file.write(rows.data)
            found.update(rows.data)
            start += len(rows)
        assert start == count
        with disk_advice(folder.parent, WAY_ON):
            file.close()
            size = (temporary / FEATURES).stat().st_size
            whole = {"shape": list(shape), "bytes": size, "digest": found.hexdigest()}
            write_json(temporary / DESCRIPTION, description | whole)
            flush_folder(temporary)
        try:
            temporary.replace(folder)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            wait_until_seen(folder / FEATURES)  # another run or machine was faster; its features are the same


def close(file: BinaryIO) -> None:
    """Close a file that is given up or closed already."""
    with suppress(OSError):
        file.close()


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of an array's file whose values follow."""
    fields = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)


def check_features(folder: Path) -> bool:
    """Whether a folder of the cache holds features that are what was written; damaged ones are removed, and told."""
    path = folder / FEATURES
    if not path.exists():
        return False
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        whole = path.stat().st_size == description["bytes"] and digest_values(path) == description["digest"]
    except Exception as error:  # noqa: BLE001 - of whatever stands there
        logger.warning("%s cannot be checked (%s): the features are computed again", path, error)
    else:
        if whole:
            return True
        logger.warning("%s is damaged, not what was written: the features are computed again", path)
    remove_whole(folder)
    return False


def digest_values(path: Path) -> str:
    """A digest of the values of an array's file."""
    found, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file, tqdm(total=size, desc="checking features", unit="B", unit_scale=True, delay=2) as bar:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while block := file.read(1 << 22):
            found.update(block)
            bar.update(len(block))
    return found.hexdigest()
