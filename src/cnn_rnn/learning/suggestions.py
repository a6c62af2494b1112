"""Which labels are suggested, and which are shown beside them, so that a person has the least to do."""

from collections.abc import Mapping
from dataclasses import dataclass

SHOWN_LABELS = 9  # as many as there are digits to take them with
# A suggestion that is taken back costs one action; a label that is missing one where it is shown, three where it is
# typed. So what stands among the shown is suggested from one half on, what does not from a quarter on.
LEAST_SHOWN, LEAST_UNSHOWN = 0.5, 0.25
TYPED = 3  # actions


@dataclass(frozen=True)
class Suggestion:
    """What is said of a photo at first sight.

    Attributes:
        expected: The labels suggested, the most probable first.
        shown: The labels to choose from, the most probable first; all that are suggested, and nine at least.
    """

    expected: list[str]
    shown: list[str]


def suggest(probabilities: Mapping[str, float], known: Mapping[str, bool] | None = None) -> Suggestion:
    """The labels that are suggested and shown, of those about which nothing is known yet."""
    decided = known or {}
    ranked = sorted((name for name in probabilities if name not in decided), key=lambda name: -probabilities[name])
    expected = [
        name
        for place, name in enumerate(ranked)
        if probabilities[name] >= (LEAST_SHOWN if place < SHOWN_LABELS else LEAST_UNSHOWN)
    ]
    return Suggestion(expected, ranked[: max(SHOWN_LABELS, len(expected))])


def sureness(probabilities: Mapping[str, float]) -> float:
    """Probability that all that is suggested is right, and nothing is missing, taken as independent."""
    sure = 1.0
    for value in probabilities.values():
        sure *= max(value, 1 - value)
    return sure
