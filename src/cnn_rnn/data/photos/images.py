"""Files and bytes into RGB pixels, in one place, so that training and evaluation see the same picture.

Odd kinds of image become RGB as the image processor of a saved model does it. What cannot be decoded whole is refused
by name; nothing half grey ever reaches the network.
"""

import errno
import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from cnn_rnn.foundation.file_kinds import kind_of, kind_of_file
from cnn_rnn.foundation.hub_errors import HTTP_ERROR
from cnn_rnn.photos_from_the_web import LONGEST_WAIT, fetch
from cnn_rnn.upright_rgb import FORMATS, to_rgb

from .photo_suffixes import way_to_read

LARGEST_FILE = 2**30  # bytes
LOCAL_DISKS = ("", "file", "local")  # what fsspec calls this machine's own disks
NO_FILES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"} | dict.fromkeys(
    (stat.S_IFCHR, stat.S_IFBLK), "a device"
)
OF_CONTENT = (None, errno.EINVAL, errno.EOVERFLOW)  # numbers of errors that a file's content leads to, not the system


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message names the file and the reason."""


class LostImageError(UnreadableImageError):
    """An image that could not be had: absent, an error of the disk or the net, no memory. Later it may be there."""


def decode_image(image: Any, name: str = "", *, least_size: int | None = None) -> Image.Image:
    """The picture as 8-bit RGB, upright.

    Args:
        image: A path, encoded bytes, a Pillow image, an undecoded row of an image column (`bytes` and `path`), or the
            error that says why there is none.
        name: What an error calls the image; its path where none is given.
        least_size: A JPEG may come out a half, a quarter or an eighth as large, if no side falls below this many
            pixels. All of the file is read, in far less time.

    Raises:
        UnreadableImageError: The file is absent, empty, cut off, of an unknown format, or declares more pixels
            than Pillow's guard against image bombs admits (179 million).
        LostImageError: It is absent, or not to be read, or the disk or the net fails; one kind of unreadable image.
    """
    content, name = content_of(image, name)
    try:
        if isinstance(content, Image.Image):
            return to_rgb(content)
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as opened:
            if least_size:
                opened.draft(None, (least_size, least_size))
            return to_rgb(opened)
    except MemoryError as error:
        raise LostImageError(f"{name}: there is no memory left to decode it") from error
    except Exception as error:  # Pillow's parsers throw whatever a hostile file leads to
        if isinstance(error, OSError) and error.errno not in OF_CONTENT:
            raise LostImageError(f"{name}: cannot be read ({error})") from error
        lacking = way_to_read(name)
        way_out = f"{lacking} may read it" if lacking else "replace the file or leave it out"
        why = str(error)
        if isinstance(error, UnidentifiedImageError) and not isinstance(content, Image.Image):
            kind = kind_of(content) if isinstance(content, bytes) else kind_of_file(content)
            why = f"it {kind or 'is no image of a kind that is known here'}"
        raise UnreadableImageError(f"{name}: cannot be decoded ({why}); {way_out}") from error


def content_of(image: Any, name: str) -> tuple[Any, str]:
    """What is to be decoded, a path, bytes or a Pillow image, and what to call it."""
    if isinstance(image, Mapping):
        path = image.get("path")
        name = name or str(path or "")
        image = image.get("bytes") if image.get("bytes") is not None else path
    if isinstance(image, str) and "://" in image:  # a stream's path, such as hf:// or zip://
        return _remote(image, name or image), name or image
    if isinstance(image, str | Path):
        check_file(image, name or str(image))
    if isinstance(image, UnreadableImageError):
        raise image
    if image is None:
        raise UnreadableImageError(f"{name or 'image'}: there is no image, only labels (was it missing when loading?)")
    if isinstance(image, bytes) and len(image) > LARGEST_FILE:
        raise UnreadableImageError(f"{name or 'image'}: cannot be decoded ({too_long(len(image))})")
    if not isinstance(image, bytes | str | Path | Image.Image):
        raise UnreadableImageError(
            f"{name or 'image'}: cannot be decoded (it is a {type(image).__name__}, expected a path or encoded bytes)"
        )
    return image, name or (str(image) if isinstance(image, str | Path) else "image")


def _remote(address: str, name: str) -> bytes:
    """The encoded bytes that lie at an address, within bounds of size and, from the web, of time."""
    system, _, path = address.rpartition("::")[2].rpartition("://")
    if system in LOCAL_DISKS:
        check_file(path, name)  # what lies here may wait for ever or have no end, whatever it is called
    try:
        if address.startswith(("http://", "https://")):
            return fetch(address, LONGEST_WAIT)
        import fsspec

        with fsspec.open(address) as file:
            content: bytes = file.read(LARGEST_FILE + 1)
    except (OSError, ImportError, HTTP_ERROR) as error:
        raise LostImageError(f"{name}: cannot be read ({error})") from error
    except ValueError as error:
        raise UnreadableImageError(f"{name}: cannot be read ({error})") from error
    if len(content) > LARGEST_FILE:
        raise UnreadableImageError(f"{name}: cannot be decoded (more than {LARGEST_FILE:,} bytes)")
    return content


def check_file(path: str | Path, name: str) -> None:
    """Refuse what cannot be opened, waits for ever (a pipe) or has no end (a device), before it is opened.

    Raises:
        LostImageError: It is not there, or the disk does not answer.
        UnreadableImageError: It is no regular file, empty, or far larger than a photo.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a name may be any text
    except (OSError, ValueError) as error:
        raise LostImageError(f"{name}: cannot be read ({error})") from error
    if not stat.S_ISREG(status.st_mode):
        kind = NO_FILES.get(stat.S_IFMT(status.st_mode), "something else")
        raise UnreadableImageError(f"{name}: cannot be decoded (it is {kind}, no file)")
    if status.st_size > LARGEST_FILE:
        raise UnreadableImageError(f"{name}: cannot be decoded ({too_long(status.st_size)})")


def too_long(size: int) -> str:
    """What to say of an encoded image of so many bytes."""
    return f"{size:,} bytes; at most {LARGEST_FILE:,}"


def image_name(image: Any, image_id: str | None) -> str:
    """What to call an image in a message: its file where it has one, else its id."""
    return str((image.get("path") if isinstance(image, Mapping) else None) or image_id or "an image without a name")
