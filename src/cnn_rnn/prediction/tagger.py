"""A saved model as a class for other people's pipelines, such as `ray.data.Dataset.map_batches`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image

from cnn_rnn.nearest_names import naming_nearest

from .bulk_prediction import Failure, Prepared, label_batch, labeller_of, prepare_image
from .inputs import Input
from .job import SCHEMA
from .worker import open_pipeline

logger = logging.getLogger(__name__)

OWN_PREFIX = "cnn_rnn_"
RESULTS = pa.schema([field for field in SCHEMA if field.name not in {"image_id", "known"}])


class CnnRnnTagger:
    """Labels for the images of a batch: `ds.map_batches(CnnRnnTagger, fn_constructor_args=("runs/voc",), ...)`.

    A batch comes as columns, of NumPy, pandas or Arrow; it goes as an Arrow table with the same columns but the images,
    and with `labels`, `path`, `path_score`, `unfamiliar` and `error`, as `cnn-rnn predict` writes them. Where the batch
    has a column of such a name, as `ray.data.read_images(..., include_paths=True)` makes `path`, that one stays and
    ours is `cnn_rnn_path`. An image that cannot be read has its reason in `error`, under the name in the batch's own
    `path` if it has one; nothing is raised for it, so that one photo does not end a job. A batch without any image that
    can be read is told in the log.

    Args:
        model: Folder of a run, or name on the Hub.
        column: Where the images are: paths, addresses, encoded bytes (of `ray.data.read_binary_files` the column
            `bytes`), undecoded rows of an image column, or arrays of pixels (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
            of 0..255.
        threshold: Least probability of a label; the model's own where None.
        device: Where the model goes; the first GPU where there is one, if None.

    Raises:
        ValueError: It is no such model, or the threshold is no probability.
        TypeError: There is no such argument; the message names the nearest.
        OSError: There is none.
    """

    @naming_nearest()
    def __init__(
        self, model: str, column: str = "image", threshold: float | None = None, device: str | None = None
    ) -> None:
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.column, self.threshold = column, threshold
        self.classify = open_pipeline(model, where, threshold)
        self.transform = labeller_of(self.classify).prepare

    def __call__(self, batch: Mapping[str, Sequence[Any]] | pa.Table) -> pa.Table:
        """The batch with its labels.

        Raises:
            KeyError: It has no column of that name.
        """
        names = list(batch.column_names if isinstance(batch, pa.Table) else batch)
        if self.column not in names:
            raise KeyError(f"the batch has no column {self.column!r}; it has {', '.join(map(str, names))}: column=NAME")
        images = _values(batch[self.column])
        called = _values(batch["path"]) if "path" in names else [None] * len(images)
        prepared = [self._prepare(*one) for one in zip(images, called, strict=True)]
        found = pa.Table.from_pylist(label_batch(self.classify, prepared, self.threshold), schema=RESULTS)
        if len(images) and all(isinstance(one, Failure) for one in prepared):
            logger.warning("none of %s images of a batch could be read: %s", len(images), found["error"][0])
        own = {str(name): as_arrow(batch[name]) for name in names if name != self.column}
        ours: dict[str, Any] = {}
        for name in RESULTS.names:
            free = name
            while free in own or free in ours:
                free = f"{OWN_PREFIX}{free}"
            ours[free] = found[name]
        return pa.table(own | ours)

    def _prepare(self, image: Any, called: Any) -> Prepared:
        """The image ready for the model, or why it is of no use."""
        name = called if isinstance(called, str) else image if isinstance(image, str) else ""
        try:
            picture = as_picture(image) if isinstance(image, np.ndarray) else image
            return prepare_image(self.transform, Input(name, picture))
        except Exception as error:  # noqa: BLE001 - of a kind that nobody foresaw: it must not end the job
            return Failure(f"{name or 'an image'}: cannot be used ({error})", lost=False)


def as_picture(pixels: npt.NDArray[Any]) -> Image.Image:
    """The picture that an array holds.

    Raises:
        ValueError: It holds none.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in {3, 4})
    if not fits or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(
            f"expected pixels (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of 0..255 (uint8), not {pixels.shape} of "
            f"{pixels.dtype}"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _values(column: Any) -> list[Any]:
    """The values of a column, one by one; those of a column of arrays as arrays."""
    if not isinstance(column, pa.Array | pa.ChunkedArray):
        return list(column)
    if not isinstance(column.type, pa.BaseExtensionType):
        return list(column.to_pylist())
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    fixed = isinstance(column.type, pa.FixedShapeTensorType)
    return [
        one for chunk in chunks for one in (chunk.to_numpy_ndarray() if fixed else chunk.to_numpy(zero_copy_only=False))
    ]


def as_arrow(column: Any) -> Any:
    """A column as Arrow holds it: arrays as tensors, of Ray's kind within Ray."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    values = np.asarray(column) if not isinstance(column, Sequence) else column
    if "ray" in sys.modules and isinstance(values, np.ndarray):
        from ray.data.block import BlockAccessor

        return BlockAccessor.batch_to_arrow_block({"column": values})["column"]
    if not isinstance(values, np.ndarray) or values.dtype == object:
        return pa.array([one.tolist() if isinstance(one, np.ndarray) else one for one in values])
    return pa.FixedShapeTensorArray.from_numpy_ndarray(values) if values.ndim > 1 else pa.array(values)
