"""How much the path and the relevance head each say, fitted on held-out data."""

import torch
from torch import Tensor

from cnn_rnn.modeling_cnn_rnn import path_log_odds


def fit_fusion(
    label_scores: Tensor | None, relevance_logits: Tensor | None, targets: Tensor
) -> tuple[float, float, float]:
    """Weight of the path's log odds, weight of the relevance logits and bias that make held-out labels most likely.

    A logistic regression over all (image, label) pairs, so the fused logits are calibrated as well as mixed; with one
    part alone it is Platt's scaling. What is absent gets the weight 0.

    Args:
        label_scores: Probability (N, C) that the path holds each label, or None.
        relevance_logits: Logits (N, C) of each label by itself, or None.
        targets: Multi-hot labels (N, C), negative where left out.
    """
    counts = targets >= 0
    wanted = targets[counts].double()
    parts = [None if label_scores is None else path_log_odds(label_scores), relevance_logits]
    absent = torch.zeros_like(wanted)
    inputs = torch.stack([absent if part is None else part[counts].double() for part in parts])
    weights = torch.tensor([float(part is not None) for part in parts] + [0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=100, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = weights[:2] @ inputs + weights[2]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        loss.backward()
        return loss

    optimizer.step(closure)
    path, relevance, bias = weights.tolist()
    return path, relevance, bias
