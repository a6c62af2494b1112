from .configuration_cnn_rnn import CnnRnnConfig
from .foundation.shipped_files import bundled_model
from .image_processing_cnn_rnn import CnnRnnImageProcessor
from .model_outputs import CnnRnnGenerateOutput, CnnRnnOutput
from .modeling_cnn_rnn import CnnRnnForImageClassification
from .pipeline_cnn_rnn import MultiLabelImageClassificationPipeline
from .prediction.onnx_pipeline import CnnRnnOnnx

__all__ = [
    "CnnRnnConfig",
    "CnnRnnForImageClassification",
    "CnnRnnGenerateOutput",
    "CnnRnnImageProcessor",
    "CnnRnnOnnx",
    "CnnRnnOutput",
    "MultiLabelImageClassificationPipeline",
    "bundled_model",
]
