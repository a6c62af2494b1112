"""Files and bytes into RGB pixels, in one place, so that training and evaluation see the same picture.

Camera rotation is undone, CMYK and 16-bit images keep their tones, transparency is laid on white. What cannot be
decoded whole is refused by name; nothing half grey ever reaches the network.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

Image.init()  # registers every format that this build of Pillow has
NO_PROGRAM = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")  # none of them runs a program
FORMATS = tuple(name for name in NO_PROGRAM if name in Image.OPEN)
# whatever Pillow's parsers throw at a hostile file
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError, AttributeError,
    struct.error, zlib.error, Image.DecompressionBombError, RuntimeError,
)  # fmt: skip


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message names the file and the reason."""


def decode_image(image: Any, name: str = "", *, small: bool = False) -> Image.Image:
    """The picture as 8-bit RGB, upright.

    Args:
        image: A path, encoded bytes, a Pillow image, or an undecoded row of an image column (``bytes`` and ``path``).
        name: What an error calls the image; its path where none is given.
        small: Decode a JPEG at an eighth of its size: all of the file is read, in a third of the time.

    Raises:
        UnreadableImageError: The file is absent, empty, cut off, of an unknown format, or declares more pixels
            than Pillow's guard against image bombs admits (179 million).
    """
    if isinstance(image, Mapping):
        path = image.get("path")
        name = name or str(path or "image")
        image = image.get("bytes") if image.get("bytes") is not None else path
    if image is None:
        raise UnreadableImageError(f"{name or 'image'}: there is no image, only labels (was it missing when loading?)")
    name = name or (str(image) if isinstance(image, str | Path) else "image")
    try:
        if isinstance(image, Image.Image):
            return _to_rgb(image)
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=FORMATS) as opened:
            if small:
                opened.draft("RGB", (opened.width // 8, opened.height // 8))
            return _to_rgb(opened)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(f"{name}: cannot be decoded ({error}); replace the file or leave it out") from error


def image_name(image: Any, image_id: str) -> str:
    """What to call an image in a message: its file where it has one, else its id."""
    return str((image.get("path") if isinstance(image, Mapping) else None) or image_id)


def _to_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise ValueError("32-bit pixels of unknown range; save it with 8 or 16 bits a channel")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
