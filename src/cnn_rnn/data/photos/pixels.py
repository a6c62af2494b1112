"""Pixels of a photo as torch holds them, faster than by Pillow where the photo is an ordinary JPEG."""

import io
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from cnn_rnn.upright_rgb import FORMATS, UPRIGHT, orientation

from .images import LostImageError, content_of, decode_image

try:
    from torchvision.io import decode_image as decode_encoded
except ImportError:  # torchvision will part with its decoders; Pillow gives the same pixels, slower
    decode_encoded = None

JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
JPEG_APP1 = 0xE1  # EXIF, XMP or both, one segment after the other
PLANE = (1, 2)
TURNS: Mapping[Image.Transpose, Callable[[Tensor], Tensor]] = {  # of pixels (3, H, W)
    Image.Transpose.FLIP_LEFT_RIGHT: lambda pixels: pixels.flip(2),
    Image.Transpose.FLIP_TOP_BOTTOM: lambda pixels: pixels.flip(1),
    Image.Transpose.ROTATE_90: lambda pixels: pixels.rot90(1, PLANE),
    Image.Transpose.ROTATE_180: lambda pixels: pixels.flip(PLANE),
    Image.Transpose.ROTATE_270: lambda pixels: pixels.rot90(-1, PLANE),
    Image.Transpose.TRANSPOSE: lambda pixels: pixels.transpose(*PLANE),
    Image.Transpose.TRANSVERSE: lambda pixels: pixels.transpose(*PLANE).flip(PLANE),
}


def decode_pixels(image: Any, name: str = "", *, least_size: int | None = None) -> Tensor:
    """`decode_image` as pixels (3, H, W) of 0..255, faster where the image is an ordinary JPEG."""
    content, name = content_of(image, name)
    encoded = _encoded(content, name)
    if encoded is not None and decode_encoded:
        side, has_tags = _plain_jpeg(encoded.data)
        if side and side < 2 * (least_size or side):  # else Pillow may skip a part of the work
            with suppress(Exception):  # Pillow tells better what is wrong
                turn = _turn(encoded.data) if has_tags else None
                pixels: Tensor = decode_encoded(torch.from_numpy(encoded), "RGB")
                return TURNS[turn](pixels) if turn is not None else pixels
    picture = decode_image(content, name, least_size=least_size)
    return torch.as_tensor(pil_to_tensor(picture))


def _encoded(content: Any, name: str) -> npt.NDArray[np.uint8] | None:
    """The encoded bytes of a file or of bytes; None of anything else."""
    if isinstance(content, bytes):
        return np.frombuffer(bytearray(content), np.uint8)
    if not isinstance(content, str | Path):
        return None
    try:
        return np.fromfile(content, np.uint8)
    except (OSError, MemoryError) as error:
        raise LostImageError(f"{name}: cannot be read ({error})") from error


def _plain_jpeg(content: memoryview) -> tuple[int, bool]:
    """Of a JPEG with 8-bit grey or colour its shorter side, and whether it has EXIF or XMP; 0 for anything else."""
    place, has_tags = 2, False
    while bytes(content[:2]) == b"\xff\xd8" and place + 10 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        has_tags |= marker == JPEG_APP1
        if marker in JPEG_FRAMES:
            precision, height, width, components = struct.unpack_from(">BHHB", content, place + 4)
            plain = precision == 8 and components in {1, 3} and height * width <= 2 * (Image.MAX_IMAGE_PIXELS or 0)
            return (min(height, width) if plain else 0), has_tags
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return 0, has_tags


def _turn(content: memoryview) -> Image.Transpose | None:
    """What puts a JPEG upright, by the word that `to_rgb` goes by; torchvision reads the first APP1 segment alone."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        return UPRIGHT.get(orientation(opened))
