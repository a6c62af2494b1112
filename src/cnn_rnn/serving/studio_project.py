"""One project of Label Studio: what its words are to the model, and what its annotations teach."""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_rnn.closed_sets import obeying
from cnn_rnn.learning.feature_store import FeatureStore
from cnn_rnn.learning.journal import Journal, Step
from cnn_rnn.learning.learner import Learner, Seen
from cnn_rnn.learning.suggestions import LEAST_SHOWN
from cnn_rnn.ruled_answers import complete

from .at_work import ModelAtWork
from .label_config import labels_in, read_controls

MOST_LEARNT = 20_000  # photos of one project


@dataclass(frozen=True)
class Expected:
    """What is expected of a photo: the probability of each label, and which of them are taken for present."""

    probabilities: Mapping[str, float]
    present: Sequence[str]


class StudioProject:
    """What is known of a project, learnt anew when its configuration gives it other words.

    What an annotation says is a step of the journal, written before it counts; a later step of the same annotation
    replaces it. Photos are named by their task and, as the last word, by their content.

    Args:
        model: What sees the photos.
        xml: How it is labelled.
        folder: Where its journal lies; None to keep nothing.
        store: What was seen of photos.

    Raises:
        RefusedError: It is no configuration, or has no choices over a photo.
        ValueError, OSError: The journal cannot be read, or not be written.
    """

    def __init__(self, model: ModelAtWork, xml: Any, folder: Path | None, store: FeatureStore) -> None:
        self.model, self.store = model, store
        self.journal = Journal(folder)
        self._lock = threading.Lock()
        self._photos: dict[str, Seen] = {}  # those that annotations tell of, as far as they were seen
        self._said: dict[str, dict[str, dict[str, bool]]] = {}  # of each photo what each annotation says
        self._photo_of: dict[str, str] = {}  # of each annotation
        self._followed = 0
        self.xml: str | None = None
        self.configure(xml)
        with self._lock:
            self._follow()

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
            self.learner.tell_all(
                {photo: (self._own(seen), self._answers(photo)) for photo, seen in self._photos.items()}
            )

    @property
    def version(self) -> str:
        """What its predictions are called: the model, and a digest of all that was learnt."""
        if not self._photos:
            return self.model.version
        told = [(photo, self._answers(photo)) for photo in sorted(self._photos)]
        return f"{self.model.version}-{len(told)}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:6]}"

    def named(self, labels: Sequence[str]) -> list[str]:
        """Labels by their names here."""
        return [self.names[label.casefold()] for label in labels if label.casefold() in self.names]

    def knows(self, annotation: str, answers: Mapping[str, bool]) -> bool:
        """Whether that an annotation says this was learnt already."""
        photo = self._photo_of.get(annotation, "")
        return self._said.get(photo, {}).get(annotation, {}) == answers and (not photo or photo in self._photos)

    def learn(self, annotation: str, photo: str, seen: Seen, answers: Mapping[str, bool]) -> bool:
        """Learn what an annotation says of a photo; whether there is room for it.

        Args:
            annotation: What tells it from others.
            photo: Its name.
            seen: As the model sees it, nothing of it known.
            answers: Labels that are there or not.

        Raises:
            OSError: The disk does not take it.
        """
        with self._lock:
            if photo not in self._photos and len(self._photos) >= MOST_LEARNT:
                return False
            self._photos[photo] = seen
            self._step(Step({photo: answers}, by=annotation, actions=0))
            return True

    def forget(self, annotation: str) -> bool:
        """Forget what an annotation said; whether it said anything.

        Raises:
            OSError: The disk does not take it.
        """
        with self._lock:
            if annotation not in self._photo_of:
                return False
            self._step(Step(by=annotation, actions=0))
            return True

    def expect(self, photo: str, seen: Seen, given: Seen, known: Mapping[str, bool]) -> Expected:
        """What is expected of a photo.

        Args:
            photo: Its name.
            seen: As the model sees it, nothing of it known.
            given: As the model sees it given what is known.
            known: What is known of it, by the names here.
        """
        rules = self.model.labeller.answers.rules
        known = complete(rules, known)
        with self._lock:
            probabilities = self.learner.expect(self._own(seen), known, photo, given.logits[self._places])
            learnt = bool(self._photos)
        if not learnt and 1 / (1 + np.exp(-given.logits.max())) < self.model.familiar_from:
            return Expected(probabilities, [name for name, there in known.items() if there and name in probabilities])
        least = {} if learnt else self.model.thresholds
        wanted = [name for name, value in probabilities.items() if value >= least.get(name, LEAST_SHOWN)]
        present = obeying(rules, probabilities, wanted)
        return Expected(probabilities, [name for name in probabilities if name in present])

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

    def kept(self, photo: str) -> Seen | None:
        """What was seen of a photo earlier, nothing of it known."""
        numbers = self.store.find(photo.rsplit(maxsplit=1)[-1], self.model.known_by)
        features = 0 if numbers is None else len(numbers) - len(self.model.label_names)
        return None if numbers is None or features < 1 else self.model.seen(numbers[:features], numbers[features:])

    def keep(self, photo: str, seen: Seen) -> None:
        """Keep what is seen of a photo, nothing of it known."""
        self.store.keep(photo.rsplit(maxsplit=1)[-1], self.model.known_by, np.concatenate([seen.features, seen.logits]))
        with self._lock:
            if photo in self._said and photo not in self._photos:
                self._tell([photo])

    @property
    def unseen(self) -> list[str]:
        """Photos that annotations tell of, of which nothing is kept that this model saw: they teach nothing so far."""
        return [photo for photo in self._said if photo not in self._photos and self._answers(photo)]

    def _step(self, step: Step) -> None:
        """Write down what an annotation says by now, and learn it."""
        self.journal.add(step)
        self._follow()

    def _follow(self) -> None:
        """Learn what was written down since, by whatever server."""
        steps = self.journal.steps[self._followed :]
        self._followed += len(steps)
        self._tell(dict.fromkeys(photo for step in steps for photo in self._take(step)))

    def _tell(self, photos: Iterable[str]) -> None:
        """Tell the learner what is said of photos by now, as far as they were seen."""
        told: dict[str, tuple[Seen, dict[str, bool]]] = {}
        for photo in photos:
            answers = self._answers(photo)
            seen = self._photos.pop(photo, None) or self.kept(photo)
            if seen is not None:
                told[photo] = self._own(seen), answers
                if answers:
                    self._photos[photo] = seen
        if told:
            self.learner.tell_all(told)

    def _take(self, step: Step) -> set[str]:
        """Take over what an annotation says by now; returns the photos of which something else is said."""
        changed = set(step.said)
        before = self._photo_of.pop(step.by, None)
        if before is not None:
            changed.add(before)
            del self._said[before][step.by]
        for photo, answers in step.said.items():
            self._photo_of[step.by] = photo
            self._said.setdefault(photo, {})[step.by] = {label: bool(there) for label, there in answers.items()}
        return changed

    def _answers(self, photo: str) -> dict[str, bool]:
        """What all annotations of a photo say, the latest last."""
        return {label: there for said in self._said.get(photo, {}).values() for label, there in said.items()}

    def _own(self, seen: Seen) -> Seen:
        """A photo as the learner takes it: with logits of the project's labels alone."""
        return replace(seen, logits=seen.logits[self._places])
