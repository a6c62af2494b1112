"""A benchmark from its official server to a data set that loads, in one call."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from .archives import ARCHIVES
from .download import fetch
from .extract import extract_archive
from .sources import load_source


def download_benchmark(
    name: str, root: str | Path, checksums: Mapping[str, str] | None = None, keep_archives: bool = True
) -> DatasetDict:
    """The benchmark, loaded from ``root`` after its archives were downloaded, verified and unpacked there.

    It may be called again at any time: what is there already is verified and taken.

    Args:
        name: One of ``ARCHIVES``. Of NUS-WIDE only labels and lists can be downloaded; its photos are given on
            request, and rows without their photo hold None.
        root: Where to; the loader's root.
        checksums: SHA-256 sums by archive name, where none is published or another one is to be believed.
        keep_archives: False removes each archive once it is unpacked.
    """
    if name not in ARCHIVES:
        raise ValueError(f"benchmark {name!r} has no archives; choose one of {', '.join(ARCHIVES)}")
    folder = Path(root)
    unknown = set(checksums or {}) - {archive.name for archive in ARCHIVES[name]}
    if unknown:
        raise ValueError(f"{name} has no archive {', '.join(sorted(unknown))}")
    for archive in ARCHIVES[name]:
        given = (checksums or {}).get(archive.name)
        path = fetch(replace(archive, sha256=given, md5=None) if given else archive, folder)
        extract_archive(path, folder, archive.into)
        if not keep_archives:
            path.unlink()
    options: dict[str, Any] = {"require_images": False} if name.startswith("nus-wide") else {}
    loaded: DatasetDict = load_source(name, folder, **options)
    return loaded
