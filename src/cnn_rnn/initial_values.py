"""Fresh values for what a checkpoint does not hold; the backbone's are timm's own."""

import torch
from torch import nn
from transformers import initialization

from .cooccurrence import CooccurrencePrior
from .neighbours import NeighbourMemory
from .path_decoder import LearnedWeight
from .recurrent_layer import ReluLstm


@torch.no_grad()
def initialize_module(module: nn.Module) -> None:
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
