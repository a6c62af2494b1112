"""What the model returns, each field under its name; as a tuple, in the order in which they stand here."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class CnnRnnOutput(ModelOutput):
    """What `CnnRnnForImageClassification` returns; what a model has no part for is None.

    Attributes:
        loss: Weighted sum of the losses, a scalar; only with `labels`.
        logits: Label logits (B, C), whose sigmoid is the probability of each label; those of the relevance
            head alone in training; None there for a model without one, where the loss is what is asked for.
        hidden_states: The backbone's feature maps, as timm lists them; only where asked for.
        relevance_logits: Logits (B, C) of each label by itself.
        path_logits: Logits (B, T, C + 1) of every step of the true path, END after the labels; only with `labels`.
        label_scores: Probability (B, C) that the image's path holds each label; not in training.
        last_hidden_state: Places (B, P, D) of the backbone's last feature map; not in training.
        pooler_output: Image features (B, D); not in training.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    relevance_logits: Tensor | None = None
    path_logits: Tensor | None = None
    label_scores: Tensor | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None


@dataclass
class CnnRnnGenerateOutput(ModelOutput):
    """What `CnnRnnForImageClassification.generate` returns.

    Attributes:
        paths: Label ids (B, K, T) of the best paths, best first, padded with END = C.
        path_scores: Natural log probability (B, K) of each path, given what is known; -inf where fewer paths exist.
        step_scores: Natural log probability (B, K, T + 1) of each of its steps, END included.
        label_scores: Probability (B, C) that the path holds each label, from the whole beam.
        relevance_logits: Logits (B, C) of each label by itself; None without relevance head.
        logits: Fused label logits (B, C), as `forward` returns them, given what is known.
        sets: The best set of labels (B, C) of each image as a whole, as bool; only where asked for.
    """

    paths: Tensor | None = None
    path_scores: Tensor | None = None
    step_scores: Tensor | None = None
    label_scores: Tensor | None = None
    relevance_logits: Tensor | None = None
    logits: Tensor | None = None
    sets: Tensor | None = None
