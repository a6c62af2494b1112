"""Images inside a page: as data addresses, small, and with what the network looked at brought out."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMBNAIL = 256  # pixels of the longer side


def overlay(image: Image.Image, looked_at: NDArray[np.float32]) -> Image.Image:
    """The image, dark and grey where the map (h, w) is 0, in its own colours, warmed, where it is 1."""
    levels = Image.fromarray((255 * np.clip(looked_at, 0, 1)).astype(np.uint8))
    weight = np.asarray(levels.resize(image.size, Image.Resampling.BICUBIC), np.float32)[..., None] / 255
    pixels = np.asarray(image.convert("RGB"), np.float32)
    grey = pixels.mean(axis=2, keepdims=True) * 0.35 + 20
    shown = grey + weight * (pixels * 1.1 + np.array([40.0, 15.0, -10.0]) - grey)
    return Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8))


def thumbnail(image: Image.Image) -> Image.Image:
    """A small copy."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def image_address(image: Image.Image) -> str:
    """The image as a data address."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def plot_address(plot: "Figure") -> str:
    """The plot as a data address."""
    out = io.BytesIO()
    plot.savefig(out, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"
