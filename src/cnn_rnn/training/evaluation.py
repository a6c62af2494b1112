"""From predictions to figures, and what is fitted on held-out predictions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .fusion import fit_fusion
from .prediction import Predictions


def measure(
    predictions: Predictions, label_names: Sequence[str], thresholds: Sequence[float] | None = None, top_k: int = 3
) -> dict[str, Any]:
    """The figures of `MultiLabelMetrics`; sets by threshold use 0.5 where no thresholds are given."""
    metrics = MultiLabelMetrics(label_names, top_k=top_k, thresholds=0.5 if thresholds is None else list(thresholds))
    metrics.update(predictions.logits.sigmoid(), predictions.targets, paths=predictions.path_labels)
    return metrics.compute()


def fit_on_held_out(model: CnnRnnForImageClassification, predictions: Predictions) -> Predictions:
    """Fit fusion weights and thresholds to held-out predictions, put them into the model's config, and apply them."""
    config = model.config
    if config.fusion == "both":
        assert predictions.label_scores is not None
        assert predictions.relevance_logits is not None
        config.fusion_weights = list(
            fit_fusion(predictions.label_scores, predictions.relevance_logits, predictions.targets)
        )
        with torch.no_grad():
            predictions = replace(
                predictions, logits=model.fuse(predictions.label_scores, predictions.relevance_logits)
            )
    return predictions


def figures_table(figures: dict[str, Any]) -> str:
    """The figures as lines to read: one row a way of choosing the label set, percentages."""
    columns = ("CP", "CR", "CF1", "OP", "OR", "OF1")
    rows: list[tuple[str, ...]] = [("predicted set", *columns)]
    for name, title in (("path", "by path"), ("threshold", "by threshold"), ("top_k", "top {k}")):
        block = figures.get(name)
        if block:
            rows.append((title.format(k=block.get("k", "")), *(percent(block[column]) for column in columns)))
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    counts = figures["counts"]
    return "\n".join([*lines, f"mAP {percent(figures['mAP'])} over {counts['images']} images"])


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one decimal."""
    return "-" if fraction is None else f"{100 * fraction:.1f}"
