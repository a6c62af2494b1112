"""Registration with transformers: each class as soon as the part of transformers that must know it is loaded.

transformers loads its parts on demand. To register at once would load them all, a third of what `import torch, timm,
transformers` costs, for whoever may need none of them.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt

from .foundation.shipped_files import bundled_model

AUTO = "transformers.models.auto"


# What takes the place of transformers' functions stands first: a part that is loaded already is told at once, below.
def _default_model(
    default: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, str]:
    """The model that a pipeline takes where none is named, and its revision: for our task the one in the box."""
    from .pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

    if args[0]["impl"] is MultiLabelImageClassificationPipeline:
        return str(bundled_model()), "main"
    found: tuple[str, str] = default(*args, **kwargs)
    return found


def _in_evaluation(forward: Callable[..., Any], pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the model of a pipeline gives; ours in evaluation mode, whatever mode it is in."""
    from .modeling_cnn_rnn import CnnRnnForImageClassification
    from .pipeline_cnn_rnn import evaluation_of

    if not isinstance(pipeline.model, CnnRnnForImageClassification):
        return forward(*args, **kwargs)
    with evaluation_of(pipeline.model):
        return forward(*args, **kwargs)


def _features(forward: Callable[..., Any], pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the model of a pipeline sees in its inputs: our model's image features, any other's outputs."""
    from .modeling_cnn_rnn import CnnRnnForImageClassification
    from .pipeline_cnn_rnn import evaluation_of

    if not isinstance(pipeline.model, CnnRnnForImageClassification):
        return forward(*args, **kwargs)
    (inputs,) = args
    with evaluation_of(pipeline.model):
        return pipeline.model.get_image_features(inputs["pixel_values"], return_dict=True)


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
def register_pipeline(pipelines: ModuleType) -> None:
    """Let `pipeline` know the task, and the model in the box as the one that it takes where none is named.

    The module registers the task itself, here and where the package is not installed.
    """
    import_module(".pipeline_cnn_rnn", __package__)
    # Not in the registry: what stands there is written into the config of every model that a pipeline saves.
    wrapt.wrap_function_wrapper(pipelines, "get_default_model_and_revision", _default_model)


@wrapt.when_imported("transformers.pipelines.image_classification")
def register_classification(stock: ModuleType) -> None:
    """Let the stock pipeline of labels leave our model as it was, straight after training too."""
    wrapt.wrap_function_wrapper(stock, "ImageClassificationPipeline._forward", _in_evaluation)


@wrapt.when_imported("transformers.pipelines.image_feature_extraction")
def register_features(stock: ModuleType) -> None:
    """Let the stock pipeline of features ask our model for them: it takes the first output, here the label logits."""
    wrapt.wrap_function_wrapper(stock, "ImageFeatureExtractionPipeline._forward", _features)
