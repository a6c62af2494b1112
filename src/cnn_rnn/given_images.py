"""Whatever a person may give as images: one told from many, and each made a picture."""

import base64
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .photos_from_the_web import LONGEST_WAIT, fetch
from .upright_rgb import FORMATS, to_rgb

AT_ONCE = 16  # images of a list that the model sees at once


def is_tensor(value: Any) -> bool:
    """Whether a value is one of torch's tensors; torch need not be there."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "movedim")


def images_of(inputs: Any, one_by_one: Callable[[Sequence[Any]], Any]) -> Any:
    """The inputs as transformers' pipelines tell one image from many: a list, a data set or a generator for many.

    Args:
        inputs: As `MultiLabelImageClassificationPipeline` takes them.
        one_by_one: Makes a data set of a sequence whose images are read when their turn comes.

    Raises:
        ValueError: A data set has several splits, or not one column of images.
    """
    if isinstance(inputs, Mapping) and hasattr(inputs, "column_names"):
        raise ValueError(
            f"data of the splits {', '.join(inputs)}: give one of them, such as data[{next(iter(inputs))!r}]"
        )
    if hasattr(inputs, "column_names") and hasattr(inputs, "features"):  # the library `datasets` need not be there
        columns = [name for name, feature in (inputs.features or {}).items() if type(feature).__name__ == "Image"]
        if len(columns) != 1:
            raise ValueError(
                f"a data set with one column of images is expected, this one has {columns}: give a column, such as "
                "data['image']"
            )
        if not hasattr(inputs, "__len__"):
            return (row[columns[0]] for row in inputs)
        inputs = inputs[columns[0]]
    if isinstance(inputs, np.ndarray) or is_tensor(inputs):
        return list(inputs) if inputs.ndim == 4 else inputs
    if isinstance(inputs, tuple):
        return list(inputs)
    if isinstance(inputs, Iterator) and not hasattr(inputs, "read"):  # an open file is one too
        return (image for image in inputs)
    return one_by_one(inputs) if isinstance(inputs, Sequence) and not isinstance(inputs, list | str | bytes) else inputs


def read_image(source: Any, timeout: float | None = None) -> Image.Image:
    """The picture as RGB, upright; a format that runs a program to decode itself (EPS) is not read.

    Args:
        source: As `MultiLabelImageClassificationPipeline` takes it.
        timeout: Seconds that an image from the web may take in all; 60 where None.

    Raises:
        ValueError: It cannot be read; the message names it in one line.
    """
    try:
        return to_rgb(_opened(source, LONGEST_WAIT if timeout is None else timeout))
    except UnidentifiedImageError as error:  # whose own message is an address in memory
        reason = "cannot identify the format of its bytes, or it is none that is read"
        raise ValueError(f"{_named(source)} is no readable image: {reason}") from error
    except Exception as error:  # Pillow's parsers and the web raise many kinds
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{_named(source)} is no readable image: {reason}") from error


def _named(source: Any) -> str:
    """What to call an image in a message: its path or address, or the beginning of other text, or else its kind."""
    if isinstance(source, Mapping) and isinstance(source.get("path"), str):
        source = source["path"]
    if isinstance(source, str | os.PathLike):
        return repr(str(source)[:300])
    path = getattr(source, "filename", "") or getattr(source, "name", "")  # of Pillow's images, of open files
    return repr(path) if path and isinstance(path, str) else f"what was given ({type(source).__name__})"


def _opened(source: Any, timeout: float) -> Image.Image:
    """The picture as it is.

    Raises:
        Exception: It cannot be read; of many kinds.
    """
    if isinstance(source, Mapping):
        if not {"path", "bytes"} & set(source):
            raise ValueError(f"a row with {', '.join(map(str, source))}; give its image alone")
        source = source["path"] if source.get("bytes") is None else source["bytes"]
    if is_tensor(source):
        source = to_array(source)
    if isinstance(source, np.ndarray):
        source = from_array(source)
    if isinstance(source, str) and source[:8].lower().startswith(("http://", "https://")):
        source = fetch(source, timeout)
    elif isinstance(source, str) and not os.path.isfile(source):  # noqa: PTH113  # Path raises at a text too long
        source = bytes_of_base64(source)
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if not isinstance(source, Image.Image):
        if not isinstance(source, str | os.PathLike) and not hasattr(source, "read"):
            raise ValueError(f"{type(source).__name__} is no kind of image: give a path, a URL, bytes or pixels")
        source = Image.open(source, formats=FORMATS)
    return source


def from_array(pixels: np.ndarray) -> Image.Image:
    """Pixels (h, w, 3), (h, w, 4), (h, w, 1) or (h, w) of 0..255 -> an image.

    Raises:
        ValueError: They are of another shape or type, fractions among them, which would become a nearly black image.
    """
    with suppress(TypeError):
        if pixels.ndim > 1:  # Pillow takes a row, such as the bytes of a file, for the pixels of a strip
            return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    raise ValueError(
        f"an array of shape {pixels.shape} and {pixels.dtype}; expected (h, w, 3) or (h, w) of uint8, 0..255 "
        "(where it is of 0..1, give `(255 * pixels).round().astype('uint8')`; the bytes of a file as `bytes`)"
    )


def to_array(pixels: Any) -> np.ndarray:
    """Pixels (3, h, w), (1, h, w) or (h, w) of 0..255 -> (h, w, 3) or (h, w).

    Raises:
        ValueError: They are of another shape or type.
    """
    shaped = pixels.dim() == 2 or (pixels.dim() == 3 and len(pixels) in (1, 3))
    if str(pixels.dtype) != "torch.uint8" or not shaped:
        raise ValueError(
            f"a tensor of shape {tuple(pixels.shape)} and {pixels.dtype}; expected (3, h, w) of uint8, 0..255 (the "
            "range of fractions would be a guess: give `(255 * pixels).round().byte()` where it is 0..1)"
        )
    array: np.ndarray = (pixels.movedim(0, -1).squeeze(-1) if pixels.dim() == 3 else pixels).cpu().numpy()
    return array


def bytes_of_base64(text: str) -> bytes:
    """The bytes that text such as `data:image/png;base64,...` holds.

    Raises:
        IsADirectoryError: It is a folder's path, some of which could be base64.
        FileNotFoundError: It is no base64, so it was meant as a path.
    """
    if os.path.isdir(text):  # noqa: PTH112
        raise IsADirectoryError("it is a folder: give the paths of its files")
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:image/") else text, validate=True)
    except ValueError as error:
        raise FileNotFoundError("there is no such file, and it is neither an http(s) address nor base64") from error
