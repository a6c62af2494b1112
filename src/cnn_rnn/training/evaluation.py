"""From predictions to figures, and what is fitted on held-out predictions."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.predictions import StoredPredictions, collect_predictions
from cnn_rnn.metrics.thresholds import fit_class_thresholds
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .fusion import fit_fusion
from .prediction import Predictions

logger = logging.getLogger(__name__)

FEWEST_POSITIVES = 50  # held-out images a label needs for a threshold of its own; with fewer it would be noise


def measure(
    predictions: Predictions, label_names: Sequence[str], thresholds: Sequence[float] | None = None, top_k: int = 3
) -> dict[str, Any]:
    """The figures of `MultiLabelMetrics`; sets by threshold use 0.5 where no thresholds are given."""
    metrics = MultiLabelMetrics(label_names, top_k=top_k, thresholds=0.5 if thresholds is None else list(thresholds))
    metrics.update(predictions.logits.sigmoid(), predictions.targets, paths=predictions.path_labels)
    return metrics.compute()


def fit_on_held_out(model: CnnRnnForImageClassification, predictions: Predictions) -> Predictions:
    """Fit fusion weights and thresholds to held-out predictions, put them into the model's config, and apply them.

    Held-out images that show no label at all leave both as they are; a warning says so.
    """
    if not (predictions.targets > 0).any():
        logger.warning("no label is present on the held-out images: fusion and thresholds stay as they are")
        return predictions
    config = model.config
    label_scores = None if config.fusion == "relevance" else predictions.label_scores
    relevance_logits = None if config.fusion == "path" else predictions.relevance_logits
    config.fusion_weights = list(fit_fusion(label_scores, relevance_logits, predictions.targets))
    predictions = replace(predictions, logits=model.fuse(label_scores, relevance_logits))
    probabilities = predictions.logits.sigmoid()
    thresholds = fit_class_thresholds(probabilities, predictions.targets, min_positives=FEWEST_POSITIVES)
    config.thresholds = thresholds.tolist()
    return predictions


def stored_predictions(predictions: Predictions, label_names: Sequence[str], **info: Any) -> StoredPredictions:
    """The predictions as they are written to a file, with whatever is worth knowing about them."""
    relevance = predictions.relevance_logits
    steps = predictions.step_scores
    return collect_predictions(
        predictions.image_ids,
        label_names,
        predictions.logits.sigmoid(),
        predictions.targets,
        relevance_scores=None if relevance is None else relevance.sigmoid(),
        paths=predictions.paths,
        path_scores=None if steps is None else steps.sum(-1),
        step_scores=steps,
        info=info,
    )
