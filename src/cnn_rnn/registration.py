"""Registration with transformers: each class as soon as the part of transformers that must know it is loaded.

transformers loads its parts on demand. To register at once would load them all, a third of what `import torch, timm,
transformers` costs, for whoever may need none of them.
"""

from importlib import import_module
from types import ModuleType

import wrapt

AUTO = "transformers.models.auto"


@wrapt.when_imported(f"{AUTO}.configuration_auto")
def register_config(auto: ModuleType) -> None:
    """Let `AutoConfig` know the config."""
    from .configuration_cnn_rnn import CnnRnnConfig

    auto.AutoConfig.register(CnnRnnConfig.model_type, CnnRnnConfig, exist_ok=True)
    CnnRnnConfig.pipeline_registered = True  # before anybody can ask for the pipeline, see below


@wrapt.when_imported(f"{AUTO}.modeling_auto")
def register_model(auto: ModuleType) -> None:
    """Let both auto classes of models know the model."""
    from .configuration_cnn_rnn import CnnRnnConfig
    from .modeling_cnn_rnn import CnnRnnForImageClassification

    for auto_class in (auto.AutoModel, auto.AutoModelForImageClassification):
        auto_class.register(CnnRnnConfig, CnnRnnForImageClassification, exist_ok=True)


@wrapt.when_imported(f"{AUTO}.image_processing_auto")
def register_image_processor(auto: ModuleType) -> None:
    """Let `AutoImageProcessor` know the image processor."""
    from .configuration_cnn_rnn import CnnRnnConfig
    from .image_processing_cnn_rnn import CnnRnnImageProcessor

    classes = {"torchvision": CnnRnnImageProcessor}
    auto.AutoImageProcessor.register(CnnRnnConfig, image_processor_classes=classes, exist_ok=True)


@wrapt.when_imported("transformers.pipelines")
def register_pipeline(_: ModuleType) -> None:
    """Let `pipeline` know the task; the module registers it itself, here and where the package is not installed."""
    import_module(".pipeline_cnn_rnn", __package__)
