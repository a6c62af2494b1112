"""The interval of a figure from its estimate, or the reason why there is none."""

from statistics import NormalDist
from typing import Any

import numpy as np

from .influence import Estimate

NORMAL = NormalDist()
# Beyond this the bias itself would have to be known exactly; the simulated coverage falls.
MOST_BIAS = 1.5  # standard errors


def find_interval(estimate: Estimate, level: float, *, share: bool = True) -> dict[str, Any]:
    """The ends `low` and `high` of the interval, or None for both and the `reason`, if there is a figure at all.

    It reaches from the value to the value without its bias, and beyond both as far as chance goes, so that the one as
    well as the other is held at this level (Imbens and Manski, Econometrica 2004). The ends of a share, which lies
    between 0 and 1, are Wilson's, of as many trials as have this standard error (Korn and Graubard, Survey Methodology
    1998).
    """
    reason = _missing_reason(estimate, share)
    if reason is not None:
        return {"low": None, "high": None} | ({"reason": reason} if reason else {})
    error, value = estimate.standard_error, estimate.value
    lowest, highest = sorted([value, value - estimate.bias])
    if not share:
        # The bias of a difference is mostly noise: what it is taken for does not shorten the interval.
        reach = NORMAL.inv_cdf((1 + level) / 2)
        return {"low": lowest - reach * error, "high": highest + reach * error}
    reach = _find_reach(abs(estimate.bias) / error if error else 0.0, level)
    trials = estimate.trials or value * (1 - value) / error**2
    return {
        "low": min(_wilson_end(max(lowest, 0.0), trials, -reach), value),
        "high": max(_wilson_end(min(highest, 1.0), trials, reach), value),
    }


def _missing_reason(estimate: Estimate, share: bool) -> str | None:
    """Why there is no interval; None where there is one, empty where there is no figure."""
    error, bias = estimate.standard_error, estimate.bias
    if np.isnan(estimate.value):
        return ""
    if np.isnan(error):
        return "a single image does not tell how far others would be from it"
    if share and not estimate.trials and (error == 0 or not 0 < estimate.value < 1):
        return "all images give the same, which does not tell how far others would be from it"
    return None if abs(bias) <= MOST_BIAS * error else _bias_reason(bias, share)


def _bias_reason(bias: float, share: bool) -> str:
    """What the bias comes from and what can be done."""
    points = f"{100 * abs(bias):.1f} points"
    if not share:
        return f"about {points} of the difference come from classes that are too rare"
    if bias > 0:
        return f"about {points} too high, because classes have too few positives; min_positives leaves them out"
    return f"about {points} too low, because classes are rare and never predicted; min_positives leaves them out"


def _find_reach(bias: float, level: float) -> float:
    """The standard errors beyond both ends of a bias, given in them, within which either end lies at this level."""
    low, high = 0.0, NORMAL.inv_cdf((1 + level) / 2)
    for _ in range(50):
        middle = (low + high) / 2
        below = NORMAL.cdf(middle + bias) - NORMAL.cdf(-middle) < level
        low, high = (middle, high) if below else (low, middle)
    return high


def _wilson_end(share: float, trials: float, reach: float) -> float:
    """Wilson's end of the interval of a share, above it or below it by the sign of the reach in standard errors."""
    middle = share + reach**2 / (2 * trials)
    half = reach * (share * (1 - share) / trials + (reach / (2 * trials)) ** 2) ** 0.5
    return float(min(max((middle + half) / (1 + reach**2 / trials), 0.0), 1.0))
