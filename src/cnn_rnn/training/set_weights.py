"""What walks and labels alone count for in a whole set, fitted on held-out images as a choice among candidates."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from cnn_rnn.data.batching.batches import StreamLoader
from cnn_rnn.known_labels import Known
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction.predictions import features_of, gather_batches

logger = logging.getLogger(__name__)

# As good a guess as any before data are seen; see `hub_configs/results/sets.md`.
FIRST_WEIGHTS = (0.5, 0.5, 0.0)
# The guess counts as much as a distance of 1 costing so many images one in log probability: a held-out part of a
# hundred images tells three numbers badly.
GUESS_COUNTS = 40.0


def fit_sets(
    model: CnnRnnForImageClassification,
    loader: DataLoader | StreamLoader,
    accelerator: Accelerator,
    after_batch: Callable[[], None] | None = None,
) -> None:
    """Fit the weights of whole sets to held-out images, and put them into the model's config.

    Args:
        model: The model, its fusion and thresholds fitted before.
        loader: Batches of the held-out images, prepared.
        accelerator: Processes that share the work.
        after_batch: Called often.
    """

    def answer(batch: dict[str, Any]) -> dict[str, Tensor]:
        """What is to be said of the candidates of each image (B, M, 3), and which is right (B, M)."""
        features = features_of(model, batch, accelerator)
        known = Known.of(None, model.config, features, model.rules)
        relevance = known.obey(model.relevance(features, known))
        result = model.walker.search(features, relevance, known)
        weighed = model.weigh_sets(features, relevance, known, result, model.fuse(result.label_scores, relevance))
        labels = batch["labels"][:, None]
        return {"terms": weighed.terms, "right": ((weighed.sets == (labels > 0)) | (labels < 0)).all(dim=-1)}

    batches = gather_batches(answer, loader, accelerator, "weighing whole sets", after_batch)
    terms, right = (torch.cat([batch[name] for batch in batches]) for name in ("terms", "right"))
    model.config.set_weights = list(fit_set_weights(terms, right > 0))


def fit_set_weights(terms: Tensor, right: Tensor) -> tuple[float, ...]:
    """The weights that make the true set the most probable among the candidates, a conditional logistic regression.

    Images of which no candidate is right say nothing. Neither of the first two weights is negative.

    Args:
        terms: As `WeighedSets` has them (N, M, 3).
        right: Which candidates are the true set (N, M).
    """
    possible = terms[..., 0] > -torch.inf
    right = right & possible
    told = right.any(dim=1)
    inputs, possible, right = terms[told].double(), possible[told], right[told]
    inputs = inputs.masked_fill(~possible[..., None], 0.0)
    first = torch.tensor(FIRST_WEIGHTS, dtype=torch.double)
    weights = first.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = (inputs @ weights).masked_fill(~possible, -torch.inf)
        lost = scores.logsumexp(dim=1) - scores.masked_fill(~right, -torch.inf).logsumexp(dim=1)
        loss = lost.sum() + GUESS_COUNTS * (weights - first).square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    path, alone, each = weights.tolist()
    return max(path, 0.0), max(alone, 0.0), each
