"""What is fitted on held-out predictions: how much path and relevance head each say, and thresholds."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from cnn_rnn.fusion import path_log_odds
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.metrics.thresholds import fit_class_thresholds, fit_threshold
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction import Predictions
from cnn_rnn.ruled_tensors import on_device

logger = logging.getLogger(__name__)

FEWEST_POSITIVES = 50  # held-out images a label needs for a threshold of its own; with fewer it would be noise


def fit_on_held_out(
    model: CnnRnnForImageClassification,
    predictions: Predictions,
    thresholds: Literal["each", "common"] = "each",
    unfamiliar_share: float = 0.0,
) -> Predictions:
    """Fit fusion weights and thresholds to held-out predictions, put them into the model's config, and apply them.

    Held-out images that show no label at all leave both as they are; a warning says so.

    Args:
        model: The model.
        predictions: Its own on the held-out images.
        thresholds: Whether labels have thresholds of their own, see `TrainConfig`.
        unfamiliar_share: Share of the images that may count as like nothing seen, see `TrainConfig`.
    """
    if not (predictions.targets > 0).any():  # the bias would fall for ever
        logger.warning("no label is present on the held-out images: fusion and thresholds stay as they are")
        return predictions
    config = model.config
    label_scores = None if config.fusion == "relevance" else predictions.label_scores
    relevance_logits = None if config.fusion == "path" else predictions.relevance_logits
    config.fusion_weights = list(fit_fusion(label_scores, relevance_logits, predictions.targets, model.rules))
    predictions = replace(predictions, logits=model.fuse(label_scores, relevance_logits))
    probabilities = predictions.logits.sigmoid()
    if thresholds == "common":
        config.thresholds = [fit_threshold(probabilities, predictions.targets)] * predictions.targets.shape[1]
    else:
        fitted = fit_class_thresholds(probabilities, predictions.targets, min_positives=FEWEST_POSITIVES)
        config.thresholds = fitted.tolist()
    if unfamiliar_share:
        config.familiar_from = float(probabilities.amax(dim=1).quantile(unfamiliar_share))
    return predictions


def fit_fusion(
    label_scores: Tensor | None, relevance_logits: Tensor | None, targets: Tensor, rules: LabelRules | None = None
) -> tuple[float, float, float]:
    """Weight of the path's log odds, weight of the relevance logits and bias that make held-out labels most likely.

    A logistic regression over all (image, label) pairs, so the fused logits are calibrated as well as mixed; with one
    part alone it is Platt's scaling. What is absent gets the weight 0.

    Args:
        label_scores: Probability (N, C) that the path holds each label, or None.
        relevance_logits: Logits (N, C) of each label by itself, or None.
        targets: Multi-hot labels (N, C), negative where left out.
        rules: Rules between labels that the fused logits obey.
    """
    parts = {"path": None if label_scores is None else path_log_odds(label_scores), "relevance": relevance_logits}
    present = [part for part in parts.values() if part is not None]
    *slopes, bias = fit_logistic(present, targets, rules)
    weights = dict(zip((name for name, part in parts.items() if part is not None), slopes, strict=True))
    return weights.get("path", 0.0), weights.get("relevance", 0.0), bias


def fit_logistic(parts: Sequence[Tensor], targets: Tensor, rules: LabelRules | None = None) -> tuple[float, ...]:
    """The weight of each part and the bias that make the targets most likely: a logistic regression over all pairs.

    Under rules the probabilities are those of the logits that obey them, as they are in use.

    Args:
        parts: Log odds (N, C), each from another source.
        targets: Multi-hot labels (N, C), negative where left out.
        rules: Rules between labels.
    """
    counts, ruled = targets >= 0, on_device(rules, targets.device)
    wanted = targets[counts].double()
    inputs = torch.stack([(part[counts] if ruled is None else part).double() for part in parts], dim=-1)
    weights = torch.tensor([1.0] * len(parts) + [0.0], dtype=torch.double, device=wanted.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=100, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        if ruled is not None:
            logits = ruled.constrain(logits)[counts]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return tuple(weights.tolist())
