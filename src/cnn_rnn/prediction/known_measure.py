"""What a saved model makes of known labels, compared with plain heads with and without the statistics of the labels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from cnn_rnn.known_labels import SMALLEST_SCORE
from cnn_rnn.metrics.asking import ORDERS, count_questions, questions_figures
from cnn_rnn.metrics.conditioning import (
    ScoreFunction,
    ToldLabels,
    count_looks,
    looks_figures,
    reveal,
    reveal_share,
    told_figures,
)
from cnn_rnn.metrics.label_sets import Figures

from .predictions import PlacedFeatures

STATISTICS_WEIGHT = 0.5  # of log p(l|k)/p(l) beside a plain head's logits
SCORED_AT_ONCE = 256


class KnownLabelScores:
    """A model's scores given what is known, on image features that are computed once.

    Args:
        models: One model, or several whose logits are averaged.
        features: The features of the images by the backbone of each.
        statistics: What known labels (B, C) add to the relevance logits (B, C), for models that do not take them in
            themselves; None to let a model take them in.
    """

    def __init__(
        self,
        models: Sequence[Any],
        features: Sequence[PlacedFeatures],
        statistics: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.models, self.features, self.statistics = models, features, statistics

    @torch.inference_mode()
    def __call__(self, known: ToldLabels, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities (M, C) of the images of these rows, given what is known of them (M, C)."""
        parts = []
        for start in range(0, len(rows), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            given = torch.from_numpy(known[part])
            logits = [
                self._logits(model, torch.from_numpy(features.take(rows[part])), given)
                for model, features in zip(self.models, self.features, strict=True)
            ]
            parts.append(torch.stack(logits).mean(dim=0).sigmoid().float().cpu())
        return torch.cat(parts).numpy()

    def _logits(self, model: Any, features: Tensor, known: Tensor) -> Tensor:
        """One model's logits (B, C) given known labels, by the model itself or by the statistics."""
        features, known = features.to(model.device), known.to(model.device)
        if self.statistics is None:
            given = known if known.any() else None
            logits: Tensor = model(image_features=features, known_labels=given).logits
            return logits
        output = model(image_features=features)
        said = STATISTICS_WEIGHT * self.statistics(known).to(model.device)
        fused: Tensor = model.fuse(output.label_scores, output.relevance_logits + said)
        return fused


def said_of_known(model: Any, known: Tensor) -> Tensor:
    """What known labels (B, C), present and absent, say of every other by the counts of a model: log ratios (B, C).

    Of an absent label k that is `log p(l | not k) / p(l)`, which follows from `p(l | k)` and the frequency of k.
    """
    prior, config = model.cooccurrence, model.config
    counted = torch.as_tensor(config.counted_images).reshape(-1, 1)  # of all labels, or of each
    frequency = (torch.tensor(config.label_counts) + 0.5)[:, None] / (counted + 1)
    table = prior.left if prior.right is None else prior.left @ prior.right
    without = (1 - frequency * table.cpu().exp()).clamp(min=SMALLEST_SCORE) / (1 - frequency)
    absent = (known < 0).float().cpu() @ without.log()
    said: Tensor = prior(known) + absent.to(known.device)
    return said


def rows_of_scores(
    models: Sequence[Any], features: Sequence[PlacedFeatures], *, of_absent: bool = False
) -> dict[str, ScoreFunction]:
    """By name of its row what scores labels given what is known: a model and its rivals, plain heads.

    The rows are `model`; `baseline`, the first rival; `baseline_with_statistics`; and where there are more rivals
    `baselines_averaged` and `baselines_averaged_with_statistics`. The statistics are those of the model.

    Args:
        models: The model, and after it its rivals.
        features: The image features of each, of the same rows.
        of_absent: Whether the statistics hear of absent labels too, not of confirmed ones alone.
    """
    model, *plain = models
    scores: dict[str, ScoreFunction] = {"model": KnownLabelScores([model], features[:1])}
    if plain:
        scores["baseline"] = KnownLabelScores(plain[:1], features[1:2])
    if len(plain) > 1:
        scores["baselines_averaged"] = KnownLabelScores(plain, features[1:])
    prior = model.cooccurrence
    if prior is not None:
        said = partial(said_of_known, model) if of_absent else prior
        for name, members in (("baseline", 1), ("baselines_averaged", len(plain))):
            if name in scores:
                scores[f"{name}_with_statistics"] = KnownLabelScores(plain[:members], features[1 : 1 + members], said)
    return scores


def measure_known(
    models: Sequence[Any],
    features: Sequence[PlacedFeatures],
    truth: NDArray[np.int8],
    told: Sequence[int],
    **settings: Any,
) -> Figures:
    """The figures of a model and its rivals where so many present labels are known, ready for JSON.

    Under `told`, by how many labels are revealed and by the rows of `rows_of_scores`, what `told_figures` gives of the
    images that have so many; under `looks` what `looks_figures` gives.

    Args:
        models: As `rows_of_scores` takes them.
        features: As `rows_of_scores` takes them.
        truth: (N, C) 1 present, 0 absent, -1 left out, in the order of the rows.
        told: How many labels to reveal.
        **settings: Of `MultiLabelMetrics`.

    Raises:
        ValueError: A rival needs more than its relevance head to score labels.
    """
    scores, config = rows_of_scores(models, features), models[0].config
    ids = list(features[0].rows["image_id"])
    figures: Figures = {"told": {}, "looks": {}}
    for count in told:
        known = reveal(ids, config.label_names, truth, count)
        rows = np.flatnonzero((known == 1).sum(axis=1) >= count)
        figures["told"][str(count)] = {
            name: told_figures(score, truth, known, rows, label_counts=config.label_counts, **settings)
            for name, score in tqdm(scores.items(), desc=f"{count} labels known", leave=False)
        }
    for name, score in scores.items():
        with tqdm(total=len(truth), desc=f"looks, {name}", unit="image", leave=False) as bar:
            looks = count_looks(score, truth, bar.update)
        figures["looks"][name] = looks_figures(looks)
    return figures


def measure_asked(models: Sequence[Any], features: Sequence[PlacedFeatures], truth: NDArray[np.int8]) -> Figures:
    """By row and by the order of questions, how many are answered until the set is right, see `questions_figures`.

    The arguments are those of `measure_known`.
    """
    figures: Figures = {}
    for name, score in rows_of_scores(models, features).items():
        figures[name] = {}
        for order, worth in ORDERS.items():
            with tqdm(total=len(truth), desc=f"questions, {name}, {order}", unit="image", leave=False) as bar:
                figures[name][order] = questions_figures(count_questions(score, truth, worth, bar.update))
    return figures


def measure_known_share(
    models: Sequence[Any],
    features: Sequence[PlacedFeatures],
    truth: NDArray[np.int8],
    shares: Sequence[float],
    seed: int = 0,
    **settings: Any,
) -> Figures:
    """By share of the labels told, present and absent alike, and by row, what `told_figures` gives of all images.

    Each share is 0 to below 1, the seed decides which labels are told; other arguments are those of `measure_known`.
    """
    scores, ids = rows_of_scores(models, features, of_absent=True), list(features[0].rows["image_id"])
    counts, rows = models[0].config.label_counts, np.arange(len(truth))
    figures: Figures = {}
    for share in shares:
        known = reveal_share(ids, truth, share, seed)
        figures[f"{share:g}"] = {
            name: told_figures(score, truth, known, rows, label_counts=counts, **settings)
            for name, score in tqdm(scores.items(), desc=f"{share:.0%} known", leave=False)
        }
    return figures
