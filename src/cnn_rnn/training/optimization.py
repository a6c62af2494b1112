"""Optimiser and learning-rate schedule of a run."""

from typing import Any

import torch
from torch import nn
from transformers import get_scheduler

from .run_config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser over what is trainable: the backbone at its own rate, no decay on norms, biases and embeddings."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and id(parameter) not in embeddings
            groups.setdefault((name.startswith("backbone."), decays), []).append(parameter)
    parameters: list[dict[str, Any]] = [
        {
            "params": members,
            "lr": config.lr * (config.backbone_lr if in_backbone else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), members in groups.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=config.lr, momentum=config.momentum)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def build_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int) -> Any:
    """The learning rate over `steps` optimiser steps: a linear rise, then `config.schedule`."""
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    return get_scheduler(name, optimizer, num_warmup_steps=round(config.warmup * steps), num_training_steps=steps)
