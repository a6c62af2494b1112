"""One logistic regression on top of several sources, over the answers that were left out when the sources spoke.

What it says is calibrated, since it was fitted on what no source had seen; and drawn towards where it starts, it
says what that says as long as few answers are there.
"""

import numpy as np

from .ridge import Exact

NEWTON_STEPS = 30
STEP_TOLERANCE = 1e-7


def fit_stack(inputs: Exact, shown: Exact, first: Exact, strength: Exact) -> Exact:
    """Weights (K) that make the answers most likely.

    Args:
        inputs: What each source says (N, K).
        shown: The answers (N), 1 or 0.
        first: Weights (K) to which they are drawn.
        strength: How strongly (K).

    Raises:
        ValueError: A source says what is no finite number, for which no weights are better than others.
    """
    if not np.isfinite(inputs).all():
        raise ValueError("what the model says of a photo are no finite numbers: its weights are broken, or float16")
    weights = first.copy()
    value = _loss(inputs, shown, weights, first, strength)
    for _ in range(NEWTON_STEPS):
        said = 1 / (1 + np.exp(-(inputs @ weights)))
        slope = inputs.T @ (said - shown) + strength * (weights - first)
        curvature = (inputs * (said * (1 - said))[:, None]).T @ inputs + np.diag(strength)
        step = np.linalg.solve(curvature, slope)
        # Newton's step may lead too far where answers are few: it is halved until the loss falls.
        while True:
            closer = weights - step
            lower = _loss(inputs, shown, closer, first, strength)
            if lower <= value or np.abs(step).max() < STEP_TOLERANCE:
                break
            step /= 2
        weights, value = closer, lower
        if np.abs(step).max() < STEP_TOLERANCE:
            break
    return weights


def _loss(inputs: Exact, shown: Exact, weights: Exact, first: Exact, strength: Exact) -> float:
    """Minus the log likelihood, and what the distance to the first weights costs."""
    logits = inputs @ weights
    return float(np.logaddexp(0, logits).sum() - shown @ logits + (strength * (weights - first) ** 2).sum() / 2)
