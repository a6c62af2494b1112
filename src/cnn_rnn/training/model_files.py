"""The model of a run: made new from its settings, and saved as a folder that `from_pretrained` takes."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.whole_files import whole_file

from .earlier_model import adopt_weights, is_model, settings_of
from .run_config import RunConfig
from .training_data import TrainingData


def build_model(config: RunConfig, data: TrainingData) -> CnnRnnForImageClassification:
    """A new model for the data's labels, on the weights of its backbone alone or of an earlier model."""
    fields = dict(config.model)
    weights = fields.pop("weights", None)
    earlier = str(weights) if is_model(weights) else None
    if earlier:
        fields = settings_of(earlier) | fields
    backbone = fields.pop("backbone", "resnet50")
    model = CnnRnnForImageClassification.from_backbone(
        backbone, None if earlier else weights, id2label=data.label_names, label_counts=data.label_counts, **fields
    )
    if earlier:
        adopt_weights(model, earlier)
    return model


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
