"""How much the path and the relevance head each say, fitted on held-out data."""

import torch
from torch import Tensor

from cnn_rnn.modeling_cnn_rnn import path_log_odds


def fit_fusion(label_scores: Tensor, relevance_logits: Tensor, targets: Tensor) -> tuple[float, float, float]:
    """Weight of the path's log odds, weight of the relevance logits and bias that make held-out labels most likely.

    A logistic regression over all (image, label) pairs, so the fused logits are calibrated as well as mixed.

    Args:
        label_scores: Probability (N, C) that the path holds each label.
        relevance_logits: Logits (N, C) of each label by itself.
        targets: Multi-hot labels (N, C), negative where left out.
    """
    counts = targets >= 0
    wanted = targets[counts].double()
    inputs = torch.stack([path_log_odds(label_scores)[counts].double(), relevance_logits[counts].double()])
    weights = torch.tensor([0.5, 0.5, 0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = weights[:2] @ inputs + weights[2]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        loss.backward()
        return loss

    optimizer.step(closure)
    path, relevance, bias = weights.tolist()
    return path, relevance, bias
