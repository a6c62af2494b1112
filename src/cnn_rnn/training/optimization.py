"""What a run minimises and how it steps: the loss, optimiser, learning-rate schedule and running average."""

from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.transforms import v2
from transformers import get_scheduler

from cnn_rnn.known_labels import open_labels, sample_known, sample_known_share
from cnn_rnn.label_rules import LEFT_OUT
from cnn_rnn.losses import Balance, relevance_loss
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .run_config import TrainConfig

SEEN = 0.1  # the least share of an image in a mixture whose labels the path still walks


class Objective:
    """The loss that is trained on: the model's own, its relevance term softened where smoothing or mixing ask for it.

    The path walks the labels that can be seen in the mixture; the relevance loss wants each as much as it is there.
    A model that takes in known labels is told a random part of those of half of the images, or a random share of all.

    Raises:
        ValueError: Smoothing or mixing without a relevance loss, whose targets they soften; or a share of labels to be
            told to a model that takes in none.
    """

    def __init__(self, config: TrainConfig, model: CnnRnnForImageClassification) -> None:
        self.smoothing = config.label_smoothing
        mixers = [
            mixer(alpha=alpha) for mixer, alpha in ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix)) if alpha
        ]
        self.mixer = v2.RandomChoice(mixers) if mixers else None
        self.tells, self.known_share = model.config.known_labels == "state", config.known_share
        self.kind, self.weight = model.config.relevance_loss, model.config.relevance_loss_weight
        self.balance = Balance.of(model.config)
        if (self.mixer or self.smoothing) and not model.config.has_relevance_head:
            raise ValueError("train.mixup, cutmix and label_smoothing soften the relevance loss; this model has none")
        if self.known_share and not (self.tells or config.baseline):
            raise ValueError(
                f"train.known_share={self.known_share} tells labels to a model that takes them in: set "
                f"model.known_labels=state, which is {model.config.known_labels!r}"
            )

    def __call__(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The mean loss over the images of a batch, a scalar."""
        if self.tells:
            labels = batch["labels"]
            known = sample_known_share(labels, self.known_share) if self.known_share else sample_known(labels)
            batch = batch | {"known_labels": known}
        if not (self.mixer or self.smoothing):
            own_loss: Tensor = model(**batch).loss
            return own_loss
        labels = batch["labels"]
        soft = labels
        if self.mixer is not None:
            batch["pixel_values"], soft = self.mix(batch["pixel_values"], labels)
        hard = torch.where(soft < 0, soft, (soft >= SEEN).float())
        output = model(**(batch | {"labels": hard}))
        if self.tells:
            hard, soft = (open_labels(targets, batch["known_labels"]) for targets in (hard, soft))
        soft = torch.where(soft < 0, soft, soft * (1 - self.smoothing) + self.smoothing / 2)
        logits = output.relevance_logits
        wanted, walked = (relevance_loss(logits, targets, self.kind, self.balance) for targets in (soft, hard))
        softened = wanted - walked
        loss: Tensor = output.loss + self.weight * softened
        return loss

    def mix(self, pixel_values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images, and their labels (B, C) as shares 0..1; what either image leaves out is left out."""
        assert self.mixer is not None
        left_out = labels < 0
        both = torch.cat([labels.clamp(min=0), left_out.to(labels)], dim=1)
        pixel_values, both = self.mixer(pixel_values, both)
        shares, left_out_shares = both.chunk(2, dim=1)
        return pixel_values, shares.masked_fill(left_out_shares > 0, LEFT_OUT)


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser over what is trainable: backbone and embedding at their own rates, no decay on norms and biases.

    Embeddings are not decayed either.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = config.backbone_lr if name.startswith("backbone.") else 1.0
            if id(parameter) in embeddings:
                rate = config.embedding_lr
            groups.setdefault((rate, parameter.ndim > 1 and id(parameter) not in embeddings), []).append(parameter)
    parameters: list[dict[str, Any]] = [
        {"params": members, "lr": config.lr * rate, "weight_decay": config.weight_decay if decays else 0.0}
        for (rate, decays), members in groups.items()
    ]
    if config.optimizer == "adamw":
        # One pass over the weights in place of ten: a third of the time, on the CPU too.
        return torch.optim.AdamW(parameters, lr=config.lr, fused=True)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=config.lr, momentum=config.momentum)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def build_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int) -> Any:
    """The learning rate over `steps` optimiser steps: a rise over the warm-up, then `config.schedule`."""
    if config.schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        # one step more, since the schedule is also asked for the rate after the last; momentum stays as it is set
        return OneCycleLR(optimizer, rates, total_steps=steps + 1, pct_start=config.warmup, cycle_momentum=False)
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    return get_scheduler(name, optimizer, num_warmup_steps=round(config.warmup * steps), num_training_steps=steps)


def build_average(model: nn.Module, config: TrainConfig) -> ModelEmaV3 | None:
    """The running average of the weights (timm's), or None where `ema_decay` is 0.

    It follows closely at first and reaches `ema_decay` with the steps, so a short run gains from it too.
    """
    return ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
