"""A saved model as a class for other people's pipelines, such as `ray.data.Dataset.map_batches`."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from cnn_rnn.data.images import DECODER_ERRORS

from .bulk_prediction import Failure, PreparedBatch, PreparedImages, label_rows
from .inputs import Input
from .job import SCHEMA
from .worker import open_pipeline

RESULTS = pa.schema([field for field in SCHEMA if field.name not in {"image_id", "known"}])


class CnnRnnTagger:
    """Labels for the images of a batch: `ds.map_batches(CnnRnnTagger, fn_constructor_args=("runs/voc",), ...)`.

    A batch comes as a mapping of columns; it goes as an Arrow table with the same columns but the images, and with
    `labels`, `path`, `path_score` and `error`, as `cnn-rnn predict` writes them. An image that cannot be read has its
    reason in `error`; nothing is raised for it, so that one photo does not end a job.

    Args:
        model: Folder of a run, or name on the Hub.
        column: Where the images are: paths, addresses, encoded bytes, or undecoded rows of an image column.
        threshold: Least probability of a label; the model's own where None.
        device: Where the model goes; the first GPU where there is one, if None.

    Raises:
        ValueError: It is no such model, or the threshold is no probability.
        OSError: There is none.
    """

    def __init__(
        self, model: str, column: str = "image", threshold: float | None = None, device: str | None = None
    ) -> None:
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.column, self.threshold = column, threshold
        self.classify = open_pipeline(model, where, threshold)
        self.images = PreparedImages(self.classify.image_processor)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> pa.Table:
        """The batch with its labels.

        Raises:
            KeyError: It has no column of that name.
        """
        if self.column not in batch:
            raise KeyError(f"the batch has no column {self.column!r}; it has {', '.join(batch)}")
        prepared = PreparedBatch.of([self._prepare(image) for image in batch[self.column]])
        labelled = pa.Table.from_pylist(label_rows(self.classify, prepared, self.threshold), schema=RESULTS)
        for place, (name, values) in enumerate((key, batch[key]) for key in batch if key != self.column):
            labelled = labelled.add_column(place, name, pa.array(list(values)))
        return labelled

    def _prepare(self, image: Any) -> torch.Tensor | Failure:
        """The image ready for the model, or why it is of no use."""
        try:
            return self.images.prepare(Input("" if not isinstance(image, str) else image, image))
        except DECODER_ERRORS as error:  # of a kind that nobody foresaw: it must not end the job
            return Failure(f"cannot be used ({error})", lost=False)
