"""The model of a run: made new from its settings, and saved as a folder that `from_pretrained` takes."""

import shutil
from pathlib import Path

from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.whole_files import flush_folder

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
    flush_folder(temporary)
    for file in sorted(temporary.iterdir()):
        file.replace(folder / file.name)
    temporary.rmdir()
