"""The model of a run: made new from its settings, and saved as a folder that `from_pretrained` takes."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn_rnn.data import count_pairs
from cnn_rnn.foundation.whole_files import flush_folder
from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .earlier_model import adopt_weights, earlier_settings
from .named_weights import is_model, model_source
from .run_config import RunConfig
from .training_data import TrainingData

# What the plain head lacks: it is trained with all else that the run's settings say.
BASELINE: dict[str, Any] = {
    "path_loss": "none",
    "fusion": "relevance",
    "label_order": "frequent_first",
    "relevance_in_path": False,
    "known_labels": "prefix",
    "cooccurrence": False,
    "neighbours": 0,
}


def rules_of_run(config: RunConfig, label_names: Sequence[str]) -> LabelRules | None:
    """The rules between labels that a run's settings give, or the earlier model that it starts from.

    Raises:
        ValueError: They name a label that the data have not, or contradict themselves.
    """
    weights = config.model.get("weights")
    earlier = earlier_settings(model_source(str(weights)), label_names) if is_model(weights) else {}
    return LabelRules.of((earlier | config.model).get("label_rules"), label_names)


def build_model(config: RunConfig, data: TrainingData) -> CnnRnnForImageClassification:
    """A new model for the data's labels, on the weights of its backbone alone or of an earlier model.

    Its co-occurrence prior is counted on the labels of the training part.

    Raises:
        ValueError: The settings contradict each other.
    """
    fields = dict(config.model)
    weights = fields.pop("weights", None)
    earlier = model_source(weights) if is_model(weights) else None
    if earlier:
        fields = earlier_settings(earlier, data.label_names) | fields
    if config.train.baseline:
        if fields.get("relevance_loss") == "none":
            raise ValueError("train.baseline trains the relevance head alone, but model.relevance_loss is none")
        fields |= BASELINE
    if fields.get("neighbours"):
        if config.data.streaming:
            raise ValueError("model.neighbours needs all rows at hand: set data.streaming to false")
        fields["neighbours"] = min(fields["neighbours"], data.train_images + data.validation_images)
    backbone = fields.pop("backbone", "resnet50")
    fields |= {"label_counts": data.label_counts, "counted_images": data.counted_images}
    model = CnnRnnForImageClassification.from_backbone(
        backbone, None if earlier else weights, id2label=data.label_names, **fields
    )
    if earlier:
        adopt_weights(model, earlier)
    if model.cooccurrence is not None:
        model.cooccurrence.fit(*count_pairs(data.train_labels))
    return model


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
