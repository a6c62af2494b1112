"""What transformers asks of a model whose backbone is timm's: what to freeze, to compute again, to begin with."""

from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, initialization

from .cooccurrence import CooccurrencePrior
from .image_backbone import ImageBackbone
from .neighbours import NeighbourMemory
from .path_decoder import LearnedWeight
from .recurrent_layer import ReluLstm


class TimmBackedModel(PreTrainedModel):
    """A transformers model on a timm backbone, which goes by timm's ways.

    Attributes:
        backbone: What sees the images.
        weights_left_random: Names of the weights that a checkpoint did not hold.
    """

    backbone: ImageBackbone
    weights_left_random: list[str]

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

    def _init_weights(self, module: nn.Module) -> None:
        """Give fresh values to one module; values loaded from a checkpoint stay."""
        _initialize(module)

    def initialize_weights(self) -> None:
        """Give fresh values to all that has none yet; the backbone's are timm's own."""
        super().initialize_weights()
        self.backbone.initialize_missing()


@torch.no_grad()
def _initialize(module: nn.Module) -> None:
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
