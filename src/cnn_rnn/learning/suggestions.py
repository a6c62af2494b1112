"""Which labels are suggested, and which are shown beside them, so that a person has the least to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from cnn_rnn.closed_sets import obeying
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.ruled_answers import complete

SHOWN_LABELS = 9  # as many as there are digits to take them with
# A suggestion that is taken back costs one action, and so does a label that is missing and shown. (For labels that are
# not shown and would have to be typed, a quarter would be right; in the first photos it was worse.)
LEAST_SHOWN = 0.5
TYPED = 3  # actions


@dataclass
class Suggestion:
    """What is suggested of a photo at first sight, and the labels that are shown while it is put right.

    Attributes:
        expected: The labels suggested, which stay while others are put right: what a person has looked at and let stand
            is not changed under the hand.
        shown: All that are suggested, and as many others that nine are there about which nothing is said yet. Each
            keeps its place; where one is decided, another joins at the end.
        rules: Rules between labels, which all that is suggested obeys; None for none.
    """

    expected: list[str]
    shown: list[str]
    rules: LabelRules | None = None

    @classmethod
    def of(cls, probabilities: Mapping[str, float], rules: LabelRules | None = None) -> "Suggestion":
        """What is suggested at first sight."""
        ranked = _ranked(probabilities)
        there = obeying(rules, probabilities, {name for name in ranked if probabilities[name] >= LEAST_SHOWN})
        expected = [name for name in ranked if name in there]
        others = [name for name in ranked if name not in there]
        return cls(expected, [*expected, *others[: max(SHOWN_LABELS - len(expected), 0)]], rules)

    def fill(self, probabilities: Mapping[str, float], known: Mapping[str, bool]) -> None:
        """Show other labels in place of those that are decided, the most probable given what is known first."""
        there = set(self.shown)
        self.shown += [name for name in known if name not in there]
        left = SHOWN_LABELS - sum(name not in known for name in self.shown)
        others = [name for name in _ranked(probabilities) if name not in there and name not in known]
        self.shown += others[: max(left, 0)]

    def labels(self, known: Mapping[str, bool]) -> list[str]:
        """All labels of the photo, as accepting takes them: what is confirmed or suggested, and not ruled out.

        What follows from what is known by the rules is known too.
        """
        known = complete(self.rules, known)
        confirmed = [name for name, there in known.items() if there]
        return list(dict.fromkeys([*confirmed, *(name for name in self.expected if known.get(name, True))]))


def _ranked(probabilities: Mapping[str, float]) -> list[str]:
    """Labels, the most probable first."""
    return sorted(probabilities, key=lambda name: -probabilities[name])


def sureness(probabilities: Mapping[str, float]) -> float:
    """Probability that all that is suggested is right, and nothing is missing, taken as independent."""
    sure = 1.0
    for value in probabilities.values():
        sure *= max(value, 1 - value)
    return sure
