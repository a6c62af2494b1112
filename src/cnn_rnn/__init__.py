"""Multi-label image classification as a path of labels.

Importing the package registers its classes with transformers, so that `AutoModel`, `AutoModelForImageClassification`,
`AutoImageProcessor` and `pipeline` take a saved folder or a Hub name.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_cnn_rnn import CnnRnnConfig
from .image_processing_cnn_rnn import CnnRnnImageProcessor
from .modeling_cnn_rnn import CnnRnnForImageClassification, CnnRnnGenerateOutput, CnnRnnOutput
from .pipeline_cnn_rnn import TASK, MultiLabelImageClassificationPipeline

AutoConfig.register(CnnRnnConfig.model_type, CnnRnnConfig, exist_ok=True)
AutoModel.register(CnnRnnConfig, CnnRnnForImageClassification, exist_ok=True)
AutoModelForImageClassification.register(CnnRnnConfig, CnnRnnForImageClassification, exist_ok=True)
AutoImageProcessor.register(CnnRnnConfig, image_processor_classes={"torchvision": CnnRnnImageProcessor}, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=MultiLabelImageClassificationPipeline,
    pt_model=AutoModelForImageClassification,
    type="image",
)
CnnRnnConfig.pipeline_registered = True

__all__ = [
    "CnnRnnConfig",
    "CnnRnnForImageClassification",
    "CnnRnnGenerateOutput",
    "CnnRnnImageProcessor",
    "CnnRnnOutput",
    "MultiLabelImageClassificationPipeline",
]
