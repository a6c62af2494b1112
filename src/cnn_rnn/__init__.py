"""Multi-label image classification as a path of labels.

Importing the package registers its classes with transformers, so that `AutoModel`, `AutoModelForImageClassification`,
`AutoImageProcessor` and `pipeline` take a saved folder or a Hub name.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification

from .configuration_cnn_rnn import CnnRnnConfig
from .image_processing_cnn_rnn import CnnRnnImageProcessor
from .modeling_cnn_rnn import CnnRnnForImageClassification, CnnRnnGenerateOutput, CnnRnnOutput
from .pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

AutoConfig.register(CnnRnnConfig.model_type, CnnRnnConfig, exist_ok=True)
AutoModel.register(CnnRnnConfig, CnnRnnForImageClassification, exist_ok=True)
AutoModelForImageClassification.register(CnnRnnConfig, CnnRnnForImageClassification, exist_ok=True)
AutoImageProcessor.register(CnnRnnConfig, image_processor_classes={"torchvision": CnnRnnImageProcessor}, exist_ok=True)
CnnRnnConfig.pipeline_registered = True  # by the import above

__all__ = [
    "CnnRnnConfig",
    "CnnRnnForImageClassification",
    "CnnRnnGenerateOutput",
    "CnnRnnImageProcessor",
    "CnnRnnOutput",
    "MultiLabelImageClassificationPipeline",
]
