"""Benchmarks from their official servers; a download survives a broken line, and its checksum must be right."""

import hashlib
import http.client
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DatasetDict
from tqdm.auto import tqdm

from cnn_rnn.data.files.unpacking import extract_archive
from cnn_rnn.data.sources import load_source
from cnn_rnn.foundation.folder_lock import LOCK, FolderLock
from cnn_rnn.foundation.whole_files import named_on_failure

from .archives import ARCHIVES, Archive

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
FRUITLESS_ATTEMPTS = 5  # attempts in a row that bring nothing
PAUSE = 1.0  # seconds before the second attempt; doubled after each


class DownloadError(OSError):
    """A file that could not be had whole and right; the message names it and the reason."""


def fetch_archive(archive: Archive, folder: Path) -> Path:
    """The archive's path in `folder`, downloaded and verified.

    A `.part` file keeps what a broken download brought, and the next one goes on from there. A file that is there
    already is verified and taken.

    Raises:
        DownloadError: The server refuses, the line stays dead, the disk is too small, or size or checksum are wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / archive.name
    if target.is_file():
        _verify(archive, target, target.stat().st_size)
        return target
    part = target.with_name(f"{target.name}.part")
    total = _complete(archive, part)
    try:
        _verify(archive, part, total)
    except DownloadError:
        part.unlink()  # going on from wrong bytes would never end well
        raise
    part.rename(target)
    return target


def _complete(archive: Archive, part: Path) -> int:
    """Adds bytes to `part` until it is whole; its length as the server told it."""
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            total = _receive(archive, part, before)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise DownloadError(f"{archive.url}: the server answers {error.code} {error.reason}") from error
            reason: Exception | str = error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = error
        else:
            have = part.stat().st_size
            if have == total:
                return total
            reason = f"the line broke after {have:,} of {total:,} bytes"
        progressed = part.exists() and part.stat().st_size > before
        fruitless = 0 if progressed else fruitless + 1
        if fruitless >= FRUITLESS_ATTEMPTS:
            raise DownloadError(f"{archive.url}: {reason}; run the command again to go on from where it broke")
        logger.warning("%s: %s; going on", archive.name, reason)
        time.sleep(PAUSE * 2**fruitless)


def _receive(archive: Archive, part: Path, have: int) -> int:
    """One request for what is missing; the whole file's length as the server tells it."""
    if not archive.url.startswith(("http://", "https://")):
        raise DownloadError(f"{archive.url}: expected an address that begins with http:// or https://")
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310  # the scheme was checked above
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the part is as long as the file, or longer
            raise
        told = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if told and int(told[1]) == have:
            return have
        part.unlink()
        return _receive(archive, part, 0)
    with response:
        told = re.fullmatch(rf"bytes {have}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        resumed = response.status == 206 and told is not None
        if response.status == 206 and not resumed:
            raise DownloadError(f"{archive.url}: asked for bytes from {have:,}, the server sent others")
        length = told[1] if told else response.headers.get("Content-Length")
        if length is None:
            raise DownloadError(f"{archive.url}: the server does not tell the file's length, so it cannot be verified")
        total = int(length)
        if archive.size is not None and total != archive.size:
            raise DownloadError(f"{archive.url}: the server offers {total:,} bytes, expected {archive.size:,}")
        start = have if resumed else 0
        free = shutil.disk_usage(part.parent).free
        if total - start > free:
            raise DownloadError(f"{part}: {total - start:,} bytes are to come, the disk has {free:,} free")
        bar = tqdm(total=total, initial=start, desc=archive.name, unit="B", unit_scale=True)
        with bar, named_on_failure(part), part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    return total


def _verify(archive: Archive, path: Path, total: int) -> None:
    """Refuse a download of wrong length or checksum; warn where no checksum is published."""
    size = path.stat().st_size
    expected_size = archive.size if archive.size is not None else total
    if size != expected_size:
        raise DownloadError(f"{path} has {size:,} bytes, expected {expected_size:,}; remove it and download again")
    kind, expected = ("sha256", archive.sha256) if archive.sha256 else ("md5", archive.md5)
    if expected is None:
        logger.warning(
            "%s: no checksum is published; its length of %s bytes is right, sha256 %s",
            archive.name, size, _file_digest(path, "sha256"),
        )  # fmt: skip
        return
    found = _file_digest(path, kind)
    if found != expected.lower():
        raise DownloadError(f"{path}: {kind} is {found}, expected {expected}; remove it and download again")


def _file_digest(path: Path, kind: str) -> str:
    """The file's checksum of this kind, in hexadecimal digits."""
    logger.info("%s: working out its %s", path.name, kind)
    with path.open("rb") as file:  # VOC publishes nothing stronger than MD5
        return hashlib.file_digest(file, partial(hashlib.new, kind, usedforsecurity=kind != "md5")).hexdigest()


def download_benchmark(
    name: str, root: str | Path, checksums: Mapping[str, str] | None = None, keep_archives: bool = True
) -> DatasetDict:
    """The benchmark, loaded from `root` after its archives were downloaded, verified and unpacked there.

    It may be called again at any time: what is there already is verified and taken.

    Args:
        name: One of `ARCHIVES`. Of NUS-WIDE only labels and lists can be downloaded; its photos are given on
            request, and rows without their photo hold None.
        root: Where to; the loader's root.
        checksums: SHA-256 sums by archive name, where none is published or another one is to be believed.
        keep_archives: False removes each archive once it is unpacked.

    Raises:
        ValueError: There is no such benchmark or archive, or an archive is unsafe.
        DownloadError: As `fetch_archive`.
        FolderInUseError: Another process downloads there.
        UnwrittenFileError: The disk is full or broken.
    """
    if name not in ARCHIVES:
        raise ValueError(f"benchmark {name!r} has no archives; choose one of {', '.join(ARCHIVES)}")
    folder = Path(root)
    unknown = set(checksums or {}) - {archive.name for archive in ARCHIVES[name]}
    if unknown:
        raise ValueError(f"{name} has no archive {', '.join(sorted(unknown))}")
    with FolderLock(folder / LOCK, f"downloading {name}").acquire().held():
        for archive in ARCHIVES[name]:
            given = (checksums or {}).get(archive.name)
            path = fetch_archive(replace(archive, sha256=given, md5=None) if given else archive, folder)
            extract_archive(path, folder, archive.into)
            if not keep_archives:
                path.unlink()
    options: dict[str, Any] = {"require_images": False} if name.startswith("nus-wide") else {}
    loaded: DatasetDict = load_source(name, folder, **options)
    return loaded
