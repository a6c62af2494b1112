"""From what the path and the relevance head say of a label to one logit."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .configuration_cnn_rnn import CnnRnnConfig
from .known_labels import SMALLEST_SCORE
from .label_rules import LabelRules
from .ruled_tensors import on_device


def fuse(label_scores: Tensor | None, relevance_logits: Tensor | None, weights: Sequence[float]) -> Tensor:
    """Label logits (B, C), a weighted sum of log odds.

    Args:
        label_scores: Probability (B, C) that the image's path holds each label; None where it has no say.
        relevance_logits: Logits (B, C) of each label by itself; None where they have no say.
        weights: Of the path's log odds, of the relevance logits, and the bias.
    """
    path_weight, relevance_weight, bias = weights
    terms = []
    if label_scores is not None:
        terms.append(path_weight * path_log_odds(label_scores))
    if relevance_logits is not None:
        # Half precision would be coarser than the path's part, and is no type of numpy's.
        exact = torch.promote_types(relevance_logits.dtype, torch.float32)
        terms.append(relevance_weight * relevance_logits.to(exact))
    return torch.stack(terms).sum(dim=0) + bias


def path_log_odds(label_scores: Tensor) -> Tensor:
    """Log odds of the path's label scores, finite also for certain ones."""
    return torch.logit(label_scores, eps=SMALLEST_SCORE)


def fuse_parts(
    config: CnnRnnConfig,
    label_scores: Tensor | None,
    relevance_logits: Tensor | None,
    rules: LabelRules | None = None,
) -> Tensor:
    """Label logits (B, C) of the parts that a model's config lets have a say, weighted as it says, as rules allow."""
    assert config.fusion_weights is not None
    fused = fuse(
        None if config.fusion == "relevance" else label_scores,
        None if config.fusion == "path" else relevance_logits,
        config.fusion_weights,
    )
    # Each part obeys by itself, but for the sum of exclusive labels a bias or a steep slope may be too much.
    ruled = on_device(rules, fused.device)
    return fused if ruled is None else ruled.constrain(fused)
