"""Small models and jobs that the tests of prediction share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.foundation.provenance import Provenance
from cnn_rnn.prediction.inputs import Inputs, NamedFiles
from cnn_rnn.prediction.job import Job
from cnn_rnn.prediction.job_folder import JobFolder

LABELS = ["blue", "green", "red"]
MODEL = Provenance("w", {"backbone": "b", "thresholds": [0.5, 0.5, 0.5]}, {"size": 32}, "c")


def small_model(**changes: Any) -> CnnRnnForImageClassification:
    """A random model, the same every time."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32}
    return CnnRnnForImageClassification.from_backbone("test_resnet", id2label=LABELS, **(fields | changes)).eval()


def pipeline_of(model: CnnRnnForImageClassification) -> MultiLabelImageClassificationPipeline:
    """Its pipeline."""
    return MultiLabelImageClassificationPipeline(model, image_processor=CnnRnnImageProcessor.from_config(model.config))


def job_of(inputs: Inputs, part_size: int = 3, **changes: Any) -> Job:
    """A job over inputs."""
    return replace(Job(MODEL, inputs.names, inputs.parts, 0.0, part_size), **changes)


def job_folder(folder: Path, files: list[str], part_size: int = 3, *, keep_lost: bool = False, **changes: Any) -> Any:
    """The claimed folder of a job over files."""
    inputs = NamedFiles(files, folder, part_size)
    claimed = JobFolder(folder, job_of(inputs, part_size, **changes), inputs, keep_lost=keep_lost)
    claimed.claim()
    return claimed
