"""The photos of Label Studio's tasks: uploaded to it, or in a folder that was named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .asked import from_base64, has_photo
from .refusals import RefusedError

LOCAL_FILES, UPLOADS = "/data/local-files/", "/data/upload/"


def photo_of(address: Any, folders: Sequence[Path], largest: int) -> bytes:
    """The bytes of a task's photo.

    Args:
        address: As the task says it: `/data/upload/1/a.jpg`, `/data/local-files/?d=a.jpg`, a file's name, or
            `data:image/...;base64,...`.
        folders: Where photos may lie: what Label Studio serves as local files, or its folder `media`.
        largest: Bytes that a photo may have.

    Raises:
        RefusedError: It is none of these, or not there.
    """
    if not isinstance(address, str):
        raise RefusedError(422, "the task names no photo; expected its address as text")
    if address.startswith("data:image/"):
        return from_base64(address)
    name = _name_of(address)
    if not folders:
        raise RefusedError(422, f"{address[:100]!r}: no folder of photos was named; start with --photos FOLDER")
    for folder in folders:
        try:
            file = (folder / name).resolve()
            if not file.is_relative_to(folder.resolve()) or not file.is_file():
                continue
            if file.stat().st_size <= largest:
                return has_photo(file.read_bytes())
        except OSError as error:  # such as a name too long
            raise RefusedError(422, f"{name[:100]!r} cannot be read ({error.strerror})") from error
        raise RefusedError(422, f"{name[:100]!r} has more than {largest:,} bytes")
    raise RefusedError(422, f"{name[:100]!r} is in no folder of --photos ({', '.join(map(str, folders))})")


def _name_of(address: str) -> str:
    """Where below a folder a photo lies."""
    try:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            raise RefusedError(
                422,
                f"{address[:100]!r}: addresses are not fetched; upload the photo, or use local files",
            )
        if parts.path == LOCAL_FILES:
            name = parse_qs(parts.query).get("d", [""])[0]
        else:
            name = unquote(parts.path).removeprefix("/data/" if parts.path.startswith(UPLOADS) else "")
    except ValueError as error:
        raise RefusedError(422, f"{address[:100]!r} is no address of a photo") from error
    if not name or "\0" in name or name.startswith("/"):
        raise RefusedError(422, f"{address[:100]!r} names no photo below a folder")
    return name
