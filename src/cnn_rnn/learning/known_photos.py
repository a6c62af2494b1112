"""What is known of every photo of a folder, as it follows from the steps of the persons who label it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cnn_rnn.label_rules import LabelRules
from cnn_rnn.ruled_answers import agreeing, complete

from .journal import Step


@dataclass
class KnownPhoto:
    """What is known of one photo.

    Attributes:
        labels: Those that are there (True) or not (False).
        accepted: Whether the labels that are there are all of them.
        heard: How many labels had been heard of then: about later ones nothing is known.
        corrected: Whether anything was put right before it was first accepted.
        right: Whether all was right at once; None while it was not accepted.
        at: When the last step told of it, in seconds since 1970; 0 where nobody knows.
    """

    labels: dict[str, bool] = field(default_factory=dict)
    accepted: bool = False
    heard: int = 0
    corrected: bool = False
    right: bool | None = None
    at: int = 0


@dataclass
class KnownPhotos:
    """What is known of all photos.

    Attributes:
        photos: By name.
        label_names: Every label that was heard of, in that order.
        actions: What all steps cost.
        order: Photos in the order in which they were first accepted.
        rules: Rules between labels, by which more is known than was said; None for none.
    """

    photos: dict[str, KnownPhoto]
    label_names: list[str]
    actions: int = 0
    order: list[str] = field(default_factory=list)
    rules: LabelRules | None = field(default=None, compare=False)

    @classmethod
    def follow(
        cls, steps: Sequence[Step], label_names: Sequence[str] = (), rules: LabelRules | None = None
    ) -> "KnownPhotos":
        """What follows from the steps that nobody took back.

        Args:
            steps: In their order.
            label_names: Labels that are heard of before.
            rules: Rules between labels; of answers that contradict each other the latest count.
        """
        known = cls({}, list(label_names), rules=rules)
        gone = {step.takes_back for step in steps}
        for step in steps:
            if step.name not in gone:
                known.take(step)
        return known

    def take(self, step: Step) -> None:
        """Add a step at the end, which takes none back."""
        self.actions += step.actions
        if step.renamed is not None:
            self._rename(*step.renamed)
            for one in self.photos.values():
                one.at = step.at
        for photo, labels in step.said.items():
            self._hear(label for label, there in labels.items() if there is not None)
            one = self.photos.setdefault(photo, KnownPhoto())
            one.at = step.at
            one.corrected |= not step.accepted.get(photo, False)
            for label, there in labels.items():
                if there is None or (self.rules and there != one.labels.get(label)):
                    one.labels.pop(label, None)
                if there is not None:
                    one.labels[label] = there
            one.labels = agreeing(self.rules, one.labels)
        for photo, accepted in step.accepted.items():
            one = self.photos.setdefault(photo, KnownPhoto())
            one.accepted, one.at = accepted, step.at
            if accepted:
                one.heard = len(self.label_names)
                if one.right is None and photo not in step.rows:  # what a file says was never suggested
                    one.right = not one.corrected
                    self.order.append(photo)

    def answers(self, photo: str) -> dict[str, bool]:
        """What is known of a photo's labels; of an accepted one all that had been heard of."""
        one = self.photos.get(photo)
        if one is None:
            return {}
        said = complete(self.rules, one.labels)
        return (dict.fromkeys(self.label_names[: one.heard], False) if one.accepted else {}) | said

    @property
    def right_at_once(self) -> float | None:
        """Share of the photos that were right at once, of the second half of those accepted; None before there are."""
        half = self.order[len(self.order) // 2 :]
        return sum(bool(self.photos[photo].right) for photo in half) / len(half) if half else None

    def _hear(self, labels: Iterable[str]) -> None:
        """Give labels that are new a place."""
        there = set(self.label_names)
        for label in labels:
            if label not in there:
                there.add(label)
                self.label_names.append(label)

    def _rename(self, old: str, new: str) -> None:
        """Call a label otherwise; where the other name is a label already, a photo has it that had one of both."""
        if old == new or old not in self.label_names:
            return
        merged = new in self.label_names
        for one in self.photos.values():
            place = self.label_names.index(old)
            if old not in one.labels:
                absent = one.accepted and place < one.heard
                there: bool | None = False if absent else None
            else:
                there = one.labels.pop(old)
            other = one.labels.get(new)
            if merged and other is None and one.accepted and self.label_names.index(new) < one.heard:
                other = False
            if there or other:
                one.labels[new] = True
            elif not merged and there is not None:
                one.labels[new] = there
            elif there is False and other is False:
                one.labels[new] = False
        if not merged:
            self.label_names[self.label_names.index(old)] = new
            return
        place = self.label_names.index(old)
        del self.label_names[place]
        for one in self.photos.values():
            one.heard -= place < one.heard
