"""Any picture as 8-bit RGB, upright, by Pillow alone; and the formats in which it may come."""

from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

try:  # HEIC where its plug-in is there
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

Image.init()  # registers every format that this build of Pillow has
NO_PROGRAM = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "HEIF",
)  # none of them runs a program
FORMATS = tuple(name for name in NO_PROGRAM if name in Image.OPEN)  # in which an image may come
ORIENTATION_TAGS = (
    "exif",
    "xmp",
    "XML:com.adobe.xmp",
    "Raw profile type exif",
)  # where Pillow keeps it
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's orientation; 1 is upright
LONGEST_SIDE = 1000  # times the shorter one; a strip of a screenshot has 100
BAND = 256  # rows that are laid on white at once


def check_sides(width: int, height: int) -> None:
    """Refuse an image without pixels, or so long that resizing its shorter side would cost far more than a photo.

    Raises:
        ValueError: It is either.
    """
    if not width or not height:
        raise ValueError(f"{width} x {height} pixels: there is nothing in it")
    if max(width, height) > LONGEST_SIDE * min(width, height):
        raise ValueError(f"{width} x {height} pixels: a side over {LONGEST_SIDE} times the other is no photo")


def to_rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB: camera rotation undone, 16-bit tones kept, transparency laid on white.

    Raises:
        ValueError: It has 32 bits a pixel, of unknown range; no pixels; or the shape of no photo.
    """
    check_sides(*image.size)
    image = upright(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise ValueError("32-bit pixels of unknown range; save it with 8 or 16 bits a channel")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def orientation(image: Image.Image) -> Any:
    """EXIF's or else XMP's number of how the image is to be turned, as Pillow reads it; 1 where it cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - tags are anybody's, and parsers fail in many ways; the picture is whole
        return 1


def upright(image: Image.Image) -> Image.Image:
    """A copy of the image, camera rotation undone, without a tag that would turn it once more."""
    if isinstance(image, ImageFile.ImageFile) and image.format == "TIFF":
        image.filename = ""  # of which Pillow maps a part into memory, with its sides swapped where it is to be turned
    image.load()
    turn = UPRIGHT.get(orientation(image))
    if turn is None:
        return image.copy()
    turned = image.transpose(turn)
    for tag in ORIENTATION_TAGS:
        turned.info.pop(tag, None)
    return turned


def _on_white(image: Image.Image) -> Image.Image:
    """The image, laid on white where it lets light through; band by band, for whole it would be there four times."""
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND):
        layer = image.crop((0, top, image.width, min(top + BAND, image.height))).convert("RGBA")
        whole.paste(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), (0, top))
    return whole
