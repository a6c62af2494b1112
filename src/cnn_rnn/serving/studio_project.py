"""One project of Label Studio: what its words are to the model, and what its annotations teach."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_rnn.learning.learner import Learner, Seen
from cnn_rnn.learning.suggestions import LEAST_SHOWN

from .at_work import ModelAtWork
from .label_config import labels_in, read_controls
from .studio_eyes import Sight

MOST_LEARNT = 20_000  # photos of one project


@dataclass(frozen=True)
class Expected:
    """What is expected of a photo: the probability of each label, and which of them are taken for present."""

    probabilities: Mapping[str, float]
    present: Sequence[str]


class StudioProject:
    """What is known of a project, learnt anew when its configuration gives it other words.

    Args:
        model: What sees the photos.
        xml: How it is labelled.

    Raises:
        RefusedError: It is no configuration, or has no choices over a photo.
    """

    def __init__(self, model: ModelAtWork, xml: Any) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._told: dict[str, tuple[Sight, dict[str, bool]]] = {}
        self._annotated: dict[Any, str] = {}  # photos by the annotation that tells of them
        self.xml: str | None = None
        self.configure(xml)

    def configure(self, xml: Any) -> None:
        """Take its configuration, another one by now perhaps.

        Raises:
            RefusedError: It is none.
        """
        if self.xml is not None and self.xml == xml:
            return
        self.controls = read_controls(xml)
        self.xml = xml
        words = [label for control in self.controls for label in control.labels]
        # By its name in small letters, what a label is called here: as the model calls it where it does.
        first = dict(reversed([(word.casefold(), word) for word in words]))
        self.names = {low: self.model.ids.get(low, first[low]) for low in dict.fromkeys(map(str.casefold, words))}
        self.own = [name for name in dict.fromkeys(self.names.values()) if name not in self.model.thresholds]
        self._start = [name for name in self.model.label_names if name in set(self.names.values())]
        self._places = [self.model.label_names.index(name) for name in self._start]
        with self._lock:
            self.learner = Learner(self._start)
            self.learner.tell_all({photo: (self._seen(sight), told) for photo, (sight, told) in self._told.items()})

    @property
    def version(self) -> str:
        """What its predictions are called: the model, and a digest of all that was learnt."""
        if not self._told:
            return self.model.version
        learnt = json.dumps({photo: told for photo, (_, told) in sorted(self._told.items())}, sort_keys=True)
        return f"{self.model.version}-{len(self._told)}-{hashlib.sha256(learnt.encode()).hexdigest()[:6]}"

    def named(self, labels: Sequence[str]) -> list[str]:
        """Labels by their names here."""
        return [self.names[label.casefold()] for label in labels if label.casefold() in self.names]

    def knows(self, photo: str, annotation: Any) -> bool:
        """Whether an annotation of a photo was learnt already."""
        return self._annotated.get(annotation) == photo

    def learn(self, photo: str, annotation: Any, sight: Sight, answers: Mapping[str, bool]) -> bool:
        """Learn what an annotation says of a photo; whether there is room for it.

        Args:
            photo: What tells it from others.
            annotation: What tells the annotation from others.
            sight: The photo as the model sees it, nothing of it known.
            answers: Labels that are there or not; none to forget it.
        """
        with self._lock:
            if photo not in self._told and len(self._told) >= MOST_LEARNT:
                return False
            self.learner.tell(photo, self._seen(sight), answers)
            if answers:
                self._told[photo] = (sight, dict(answers))
                self._annotated[annotation] = photo
            else:
                self._told.pop(photo, None)
            return True

    def forget(self, annotation: Any) -> bool:
        """Forget what an annotation said; whether anything was learnt from it."""
        photo = self._annotated.pop(annotation, None)
        told = self._told.get(photo or "")
        return photo is not None and told is not None and self.learn(photo, annotation, told[0], {})

    def expect(self, photo: str, sight: Sight, given: Sight, known: Mapping[str, bool]) -> Expected:
        """What is expected of a photo.

        Args:
            photo: What tells it from others.
            sight: As the model sees it, nothing of it known.
            given: As the model sees it given what is known.
            known: What is known of it, by the names here.
        """
        with self._lock:
            probabilities = self.learner.expect(self._seen(sight), known, photo, given.logits[self._places])
            learnt = bool(self._told)
        if not learnt and 1 / (1 + np.exp(-given.logits.max())) < self.model.familiar_from:
            return Expected(probabilities, list(known))
        least = {} if learnt else self.model.thresholds
        present = [name for name, value in probabilities.items() if value >= least.get(name, LEAST_SHOWN)]
        return Expected(probabilities, present)

    def answers(self, results: Any) -> dict[str, bool]:
        """What an annotation says: what was chosen is there, what else could have been chosen beside it is not.

        Of a control in which nothing was chosen at all nothing is known: it may have been passed over.
        """
        found: dict[str, bool] = {}
        for control in self.controls:
            chosen = self.named(labels_in(results, [control]))
            if chosen:
                found = dict.fromkeys(self.named(control.labels), False) | found | dict.fromkeys(chosen, True)
        return found

    def _seen(self, sight: Sight) -> Seen:
        """A photo as the learner takes it."""
        return Seen(sight.features, sight.logits[self._places])
