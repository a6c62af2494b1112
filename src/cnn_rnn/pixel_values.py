"""From a picture to pixel values by Pillow and numpy: where there is no torch, a model sees the same pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .upright_rgb import check_sides, to_rgb

RESIZED_PIXELS = 2**26  # that an image may have after resizing: 192 MiB
SIMPLE_SIZES = ({"shortest_edge"}, {"height", "width"})
PROCESSING_STEPS = ("do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize")


class PixelValues:
    """Pixel values (3, h, w) of a picture, as `CnnRnnImageProcessor` makes them of these settings.

    Args:
        settings: What `preprocessor_config.json` holds.

    Raises:
        ValueError: They name something else than the steps that every model of ours is saved with.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        left_out = [name for name in PROCESSING_STEPS if settings.get(name) is not True]
        self.size = {name: side for name, side in settings["size"].items() if side}
        if left_out or set(self.size) not in SIMPLE_SIZES:
            told = ", ".join(left_out) or f"size {settings['size']}"
            raise ValueError(f"preprocessing with other steps ({told}) is done by torch alone")
        self.crop = settings["crop_size"]["width"], settings["crop_size"]["height"]
        self.resample = settings["resample"]
        # In float32 from the start, as the processor computes them.
        whole = np.float32(1.0 / settings["rescale_factor"])
        self.mean, self.std = (
            whole * np.array(settings[name], np.float32)[:, None, None] for name in ("image_mean", "image_std")
        )

    def __call__(self, picture: Image.Image) -> NDArray[np.float32]:
        """The pixel values (3, h, w), normalised.

        Raises:
            ValueError: It has no pixels, or the shape of no photo.
        """
        picture = to_rgb(picture)
        check_resized(*picture.size, self.size)
        check_crop(*self.crop)
        pixels = resized_by_pillow(picture, resized_sides(*picture.size, self.size), self.resample)
        values = cropped(pixels, *self.crop).transpose(2, 0, 1).astype(np.float32)
        values -= self.mean
        values /= self.std
        return values


def check_resized(width: int, height: int, size: Mapping[str, int]) -> None:
    """Refuse an image that resized to such a size would need far more memory than a photo.

    Raises:
        ValueError: It would.
    """
    check_sides(width, height)
    if size.get("shortest_edge") and not size.get("longest_edge"):
        pixels = size["shortest_edge"] ** 2 * max(height, width) // min(height, width)
        told = f"a shorter side of {size['shortest_edge']}"
    else:
        sides = [size.get(name) or size.get("longest_edge") or 0 for name in ("width", "height")]
        pixels, told = sides[0] * sides[1], f"{sides[0]} x {sides[1]}"
    if pixels > RESIZED_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels, resized to {told}, would be {pixels:,} (at most {RESIZED_PIXELS:,}); crop "
            "it first, or mend the size in preprocessor_config.json"
        )


def check_crop(width: int, height: int) -> None:
    """Refuse a crop that would need far more memory than a photo.

    Raises:
        ValueError: It would.
    """
    if height * width > RESIZED_PIXELS:
        raise ValueError(f"a crop of {width} x {height} has too many pixels (at most {RESIZED_PIXELS:,})")


def resized_sides(width: int, height: int, size: Mapping[str, int]) -> tuple[int, int]:
    """Width and height of an image after resizing to a size of `shortest_edge`, or of `height` and `width`."""
    if "shortest_edge" not in size:
        return size["width"], size["height"]
    shorter, longer = sorted((width, height))
    sides = size["shortest_edge"], int(size["shortest_edge"] * longer / shorter)
    return sides if width <= height else sides[::-1]


def resized_by_pillow(picture: Image.Image, sides: tuple[int, int], resample: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) of an RGB picture resized to width and height."""
    return np.asarray(picture if picture.size == sides else picture.resize(sides, resample))


def cropped(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The centre of pixels (h, w, 3), with black around it where they are fewer, as torchvision rounds it."""
    for axis, side in ((0, height), (1, width)):
        missing = side - pixels.shape[axis]
        if missing > 0:
            around = [(0, 0)] * 3
            around[axis] = missing // 2, (missing + 1) // 2
            pixels = np.pad(pixels, around)
        else:
            start = round(-missing / 2)
            pixels = pixels[start : start + side] if axis == 0 else pixels[:, start : start + side]
    return pixels
