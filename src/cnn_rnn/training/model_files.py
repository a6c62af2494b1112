"""The model of a run: made new from its settings, and saved as a folder that `from_pretrained` takes."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.whole_files import whole_file

from .run_config import RunConfig
from .training_data import TrainingData


def build_model(config: RunConfig, data: TrainingData) -> CnnRnnForImageClassification:
    """A new model for the data's labels."""
    fields = dict(config.model)
    backbone = fields.pop("backbone", "resnet50")
    return CnnRnnForImageClassification.from_backbone(
        backbone, fields.pop("weights", None), id2label=data.label_names, label_counts=data.label_counts, **fields
    )


def save_model(model: CnnRnnForImageClassification, processor: CnnRnnImageProcessor, folder: Path) -> None:
    """Write weights, config, preprocessing and code, each file whole or not at all."""
    from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

    temporary = folder / ".saving"
    shutil.rmtree(temporary, ignore_errors=True)
    MultiLabelImageClassificationPipeline(model=model, image_processor=processor).save_pretrained(temporary)
    for file in sorted(temporary.iterdir()):
        file.replace(folder / file.name)
    temporary.rmdir()


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by name as safetensors, whole or not at all."""
    with whole_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
