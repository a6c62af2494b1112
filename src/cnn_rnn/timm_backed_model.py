"""What transformers asks of a model whose backbone is timm's: what to load, freeze, compute again, begin with."""

from collections.abc import Mapping
from types import MethodType
from typing import Any, Self, TypeVar, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, initialization
from transformers.utils import logging

from .cooccurrence import CooccurrencePrior
from .decisions import not_finite
from .image_backbone import ImageBackbone
from .neighbours import NeighbourMemory
from .path_decoder import LearnedWeight
from .recurrent_layer import ReluLstm

logger = logging.get_logger(__name__)

MethodKind = TypeVar("MethodKind")


class TimmBackedModel(PreTrainedModel):
    """A transformers model on a timm backbone, which goes by timm's ways.

    Attributes:
        backbone: What sees the images.
        weights_left_random: Names of the weights that a checkpoint did not hold.
    """

    backbone: ImageBackbone
    weights_left_random: list[str]

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """The model of a saved folder or Hub name, as in transformers, but of safetensors alone: nothing is unpickled.

        Raises:
            OSError: There are no such weights, or the file is no safetensors.
            ValueError: Some of them are not finite.
        """
        name = str(args[0] if args else "this model")
        asked = {"use_safetensors": True, "weights_only": True, "output_loading_info": True}
        try:
            model, found = super().from_pretrained(*args, **(kwargs | asked))
        except SafetensorError as error:
            raise OSError(f"the weights of {name} are no safetensors: {error}") from error
        _check_loaded(name, model, found)
        return (model, found) if kwargs.get("output_loading_info") else model

    @property
    def base_model(self) -> nn.Module:
        """The backbone, which those freeze who freeze the base model."""
        return self.backbone

    def get_input_embeddings(self) -> None:
        """None: the model takes images, there is no embedding of tokens."""

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Refused: the model takes images.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"the model takes images: it has no token embeddings for {type(value).__name__}")

    def _set_gradient_checkpointing(self, enable: bool = True, **kwargs: Any) -> None:
        """Let timm compute the backbone's activations again in the backward pass, in its own way."""
        del kwargs
        self.backbone.timm_model.set_grad_checkpointing(enable)

    @property
    def is_activation_checkpointing(self) -> bool:
        """Whether the backbone computes its activations again; timm marks the part that does, each family another."""
        return any(getattr(part, "grad_checkpointing", False) for part in self.backbone.modules())

    def freeze_backbone(self) -> None:
        """Keep the backbone as it is, its batch statistics included, whatever `train` is told."""
        self.backbone.requires_grad_(requires_grad=False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, but leave a frozen backbone in evaluation mode."""
        super().train(mode)
        if mode:
            self.weights_left_random = []  # they are learned now
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Give fresh values to one module; values loaded from a checkpoint stay (`transformers.initialization`)."""
        if isinstance(module, nn.LSTM | nn.GRU | ReluLstm):
            for name, parameter in module.named_parameters():
                if "bias" in name:
                    initialization.zeros_(parameter)
                elif "hidden_gates" in name or "weight_hh" in name:
                    initialization.orthogonal_(parameter)
                else:
                    initialization.xavier_uniform_(parameter)
        elif isinstance(module, nn.Embedding):
            initialization.normal_(module.weight, std=module.embedding_dim**-0.5)
        elif isinstance(module, nn.Linear):
            initialization.xavier_uniform_(module.weight)
            if module.bias is not None:
                initialization.zeros_(module.bias)
        elif isinstance(module, CooccurrencePrior | NeighbourMemory | LearnedWeight):
            module.initialize()

    def initialize_weights(self) -> None:
        """Give fresh values to all that has none yet; the backbone's are timm's own."""
        super().initialize_weights()
        self.backbone.initialize_missing()


def _check_loaded(name: str, model: Any, found: Mapping[str, Any]) -> None:
    """Refuse weights that are not finite, mend an earlier memory of neighbours, and note on the model what is random.

    Args:
        name: What messages call the model.
        model: A `CnnRnnForImageClassification`.
        found: What transformers says of loading it.

    Raises:
        ValueError: Weights are not finite.
    """
    broken = not_finite(model)
    if broken:
        raise ValueError(
            f"{name}: weights are not finite numbers ({', '.join(broken[:3])}), so every label would be a guess; "
            f"take an earlier checkpoint, or dtype=torch.float32 where {model.dtype} is too narrow"
        )
    if model.neighbours is not None and model.neighbours.mend():
        logger.warning(
            "%s remembers %d photos as an earlier version did, which compared them by rounding errors: they are "
            "compared anew; train again to have fitted how much they say",
            name,
            len(model.neighbours.keys),
        )
    model.weights_left_random = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})


class InstanceMethod:
    """A method that the instances of a class have, and the class itself does not show."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: type | None = None) -> MethodType:
        """The bound method.

        Raises:
            AttributeError: The class was asked.
        """
        if instance is None:
            raise AttributeError(self.function.__name__)
        return MethodType(self.function, instance)


def of_instances(method: MethodKind) -> MethodKind:
    """The method for instances alone.

    transformers takes a class that was loaded from a folder's own code for a generator of text where the class has a
    method `generate`: it would give it another class, one that cannot be pickled, and text generation's settings.
    """
    return cast("MethodKind", InstanceMethod(method))
