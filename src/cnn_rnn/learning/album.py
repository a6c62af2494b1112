"""A folder of photos that several persons label and one learner learns from: what the page, and its simulation, ask.

What a person said is written down first and learnt then; a guess is never written down unless a person accepts it.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from cnn_rnn.data import UnreadableImageError, decode_image
from cnn_rnn.data.own_photos.image_folder import METADATA_NAMES
from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.data.photos.found_files import OWN_FOLDER
from cnn_rnn.foundation.provenance import file_identity
from cnn_rnn.ruled_answers import complete

from .eyes import Eyes
from .feature_store import FeatureStore, store_beside
from .journal import Journal, Step
from .known_photos import KnownPhoto, KnownPhotos
from .learner import Learner, Seen
from .ridge import Floats
from .suggestions import Suggestion, sureness

logger = logging.getLogger(__name__)
LABEL_FILE = METADATA_NAMES[0]
PhotoOrder = Literal["folder", "uncertain", "alike"]
MOST_COMPARED = 100  # photos among which the most uncertain is looked for
MOST_LISTED = 24  # photos that are accepted in one go


class Album:
    """Photos, what is known of them, and what is learnt from it.

    Args:
        eyes: What sees them.
        photos: Their files by name, in order.
        folder: Where what is said and seen is kept, below `.cnn-rnn`; None to keep nothing.
        learner: What learns; one of the eyes' labels where None.

    Raises:
        ValueError: A step that was written down cannot be read.
        OSError: The folder cannot be written to.
    """

    def __init__(
        self,
        eyes: Eyes,
        photos: Mapping[str, Path],
        folder: Path | None = None,
        learner: Learner | None = None,
    ) -> None:
        self.eyes, self.photos = eyes, dict(photos)
        self.journal = Journal(None if folder is None else folder / OWN_FOLDER)
        self.store = FeatureStore(None if folder is None else store_beside(folder))
        self.known = KnownPhotos({}, [])
        self.learner = learner or Learner(eyes.label_names)
        self.unreadable: dict[str, str] = {}
        self.near = ""  # the photo that was shown last: those after it are seen first
        self._seen: dict[str, Seen] = {}
        self._files: dict[str, str] = {}  # the identity of each file when it was looked at
        self._vectors: dict[str, Floats] = {}
        self._told: dict[str, dict[str, bool]] = {}
        self._followed = 0
        self._rows: dict[str, set[str]] = {}  # what the label file said of each photo when it was read or written last
        self._lock = threading.RLock()
        self.follow()

    def see(self, name: str) -> Seen:
        """What the eyes see of a photo, looked at once, and again where another file has its name by now.

        Raises:
            UnreadableImageError: It cannot be read.
        """
        seen = self._seen.get(name)
        if seen is None or name in self.unreadable or self._files[name] != file_identity(str(self.photos[name])):
            try:
                seen = self._look(name)
            except UnreadableImageError:
                if seen is None:
                    raise
            self._learn([name])
        return seen

    def is_unreadable(self, name: str) -> bool:
        """Whether a photo could not be read and still cannot be; a drive that was away may be there again."""
        if name in self.unreadable:
            with suppress(UnreadableImageError):
                self.see(name)
        return name in self.unreadable

    def look_around(self, ended: threading.Event) -> None:
        """See all photos one after the other: those that are accepted, then on from the one that is shown last."""
        accepted = [name for name in self.known.photos if name in self.photos and self.is_accepted(name)]
        for name in accepted:
            self._try(name, ended)
        self._learn(accepted)
        names, place, near = list(self.photos), 0, ""
        left = len(names)
        while left and not ended.is_set():
            if self.near != near:
                near = self.near
                place, left = names.index(near) if near in self.photos else 0, len(names)
            if names[place] not in self._seen and self._try(names[place], ended):
                self._learn([names[place]])
            place, left = (place + 1) % len(names), left - 1

    @property
    def looked_at(self) -> int:
        """How many photos were seen, or cannot be."""
        return len(self._seen.keys() | self.unreadable.keys())

    def expect(
        self, name: str, known: Mapping[str, bool] | None = None, given: Floats | None = None
    ) -> dict[str, float]:
        """Probability of every label that was heard of, given what is known of the photo.

        Args:
            name: The photo.
            known: Labels of it that are confirmed (True) or ruled out (False).
            given: The start's logits given what is known; found where they can be, if None.
        """
        seen = self.see(name)
        rules = self.eyes.rules
        known = complete(rules, known or {})
        if given is None and known:
            given = self.eyes.given(seen, known)
        with self._lock:
            found = self.learner.expect(seen, known, name, given)
        if rules is not None:
            scores = rules.close_upward(np.array([[found.get(label, 0.0) for label in rules.names]]))[0]
            found |= zip(rules.names, scores.tolist(), strict=True)
        return {label: found.get(label, 0.0) for label in self.known.label_names}

    def suggest(self, name: str) -> Suggestion:
        """What is suggested of a photo at first sight."""
        return Suggestion.of(self.expect(name), self.eyes.rules)

    def step(self, step: Step) -> None:
        """Write down what a person did, and learn from it."""
        self.journal.add(step)
        self.follow()

    def read_rows(self, rows: Mapping[str, Iterable[str]], at: float) -> None:
        """Take over what the label file beside the photos says by now.

        A row that says otherwise than when the file was read or written last was changed by hand: it counts where the
        file is later than the last step that tells of the photo. Either is told.

        Args:
            rows: Labels of photos, all of each one's.
            at: When the file was written, in seconds since 1970.
        """
        with self._lock:
            self.follow()
            new = {
                name: list(labels)
                for name, labels in rows.items()
                if name in self.photos and self._rows.get(name) != set(labels)
            }
            if not new:
                return
            said: dict[str, dict[str, bool | None]] = {}
            by_hand, left = [], []
            for name, labels in new.items():
                one = self.known.photos.get(name, KnownPhoto())
                there = [label for label, shown in one.labels.items() if shown]
                if one.accepted and set(there) == set(labels):
                    continue
                if name not in self.known.photos or 0 < one.at < at:
                    said[name] = {**dict.fromkeys(there, None), **dict.fromkeys(labels, True)}
                    by_hand += [name] if there else []
                else:
                    left.append(name)
            for names, told in (
                (by_hand, "changed by hand, which counts"),
                (left, "older than what the page was told"),
            ):
                if names:
                    logger.warning("%s, rows of %s: %s", LABEL_FILE, abbreviate(names), told)
            self.step(Step(said, dict.fromkeys(said, True), rows=new, actions=0, by=LABEL_FILE))

    def take_back(self, by: str) -> Step | None:
        """Take back the last step of a person; the step, or None where there is none."""
        self.journal.read()
        last = self.journal.last_of(by)
        if last is not None:
            self.step(Step(takes_back=last.name, actions=0, by=by))
        return last

    def follow(self) -> None:
        """Learn what was written down since, by whomever."""
        with self._lock:
            self.journal.read()
            new = self.journal.steps[self._followed :]
            self._rows |= {photo: set(labels) for step in new for photo, labels in step.rows.items()}
            if self._followed and all(step.takes_back is None and step.renamed is None for step in new):
                changed = {photo for step in new for photo in [*step.said, *step.accepted]}
                for step in new:
                    self.known.take(step)
            else:
                self.known = KnownPhotos.follow(self.journal.steps, self.eyes.label_names, self.eyes.rules)
                changed = {*self.known.photos, *self._told}
            self._followed = len(self.journal.steps)
            self._learn(changed)

    def next_photo(self, name: str, order: PhotoOrder) -> str | None:
        """The photo to show after one, of those that nobody accepted; None where there is none."""
        names = list(self.photos)
        place = names.index(name) if name in self.photos else -1
        open_ones = [
            one
            for one in [*names[place + 1 :], *names[: max(place, 0)]]
            if one != name and not self.is_accepted(one) and one not in self.unreadable
        ]
        looked = [one for one in open_ones if one in self._seen]
        if order == "folder" or not looked or (order == "alike" and name not in self._seen):
            return open_ones[0] if open_ones else None
        if order == "alike":
            cosines = np.stack([self._vectors[one] for one in looked]) @ self._vectors[name]
            return looked[int(cosines.argmax())]
        some = looked[:: max(1, len(looked) // MOST_COMPARED)][:MOST_COMPARED]
        return max(some, key=lambda one: sum(min(value, 1 - value) for value in self.expect(one).values()))

    def as_sure_as(self, name: str) -> dict[str, list[str]]:
        """Photos that nobody accepted of which what is suggested is as surely right as of this one, with their labels.

        Those most like it come first.
        """
        least = sureness(self.expect(name, self.known_of(name)))
        looked = [one for one in self.photos if one in self._seen and one != name and not self.is_accepted(one)]
        looked.sort(key=lambda one: -float(self._vectors[one] @ self._vectors[name]))
        found: dict[str, list[str]] = {}
        for one in looked[: 4 * MOST_LISTED]:
            probabilities = self.expect(one, self.known_of(one))
            if sureness(probabilities) >= least and len(found) < MOST_LISTED:
                found[one] = Suggestion.of(probabilities, self.eyes.rules).labels(self.known_of(one))
        return found

    def known_of(self, name: str) -> dict[str, bool]:
        """What persons said of a photo."""
        one = self.known.photos.get(name)
        return {} if one is None else dict(one.labels)

    def is_accepted(self, name: str) -> bool:
        """Whether a person has said that its labels are all of them."""
        one = self.known.photos.get(name)
        return one is not None and one.accepted

    def _learn(self, changed: Iterable[str]) -> None:
        """Tell the learner of photos whose labels are others now, as far as they were looked at."""
        with self._lock:
            told = {}
            for name in changed:
                answers = self.known.answers(name) if self.is_accepted(name) else {}
                if name in self._seen and answers != self._told.get(name, {}):
                    told[name] = (self._seen[name], answers)
                    self._told[name] = answers
            if told:
                self.learner.tell_all(told)

    def _try(self, name: str, ended: threading.Event) -> bool:
        """Look at a photo unless that is over; whether it can be read."""
        if ended.is_set() or name in self.unreadable:
            return False
        try:
            self._look(name)
        except UnreadableImageError:
            return False
        return True

    def _look(self, name: str) -> Seen:
        """What is seen of a photo, now or earlier."""
        path = self.photos[name]
        file = file_identity(str(path))
        try:
            photo = self.store.photo_of(path)
            seen = self._kept(photo)
            if seen is None:
                seen = self.eyes.look(decode_image(path, name))
                self.store.keep(photo, self.eyes.sees, seen.features)
                if self.eyes.label_names:
                    self.store.keep(photo, self.eyes.says, seen.logits)
            vector = seen.vector
        except (ValueError, OSError) as error:
            self.unreadable[name] = str(error)
            raise UnreadableImageError(str(error)) from error
        with self._lock:
            if self._told.pop(name, None):  # of the photo that had this name: it is learnt anew
                self.learner.tell(name, seen, {})
            self.unreadable.pop(name, None)
            self._files[name], self._vectors[name], self._seen[name] = file, vector, seen
        return seen

    def _kept(self, photo: str) -> Seen | None:
        """What was seen of the photo of this content earlier, as far as it was kept."""
        eyes = self.eyes
        features = self.store.find(photo, eyes.sees, eyes.size)
        if features is None or not eyes.label_names:
            return None if features is None else Seen(features, certainties=eyes.certainties)
        logits = self.store.find(photo, eyes.says, len(eyes.label_names))
        if logits is not None:
            return Seen(features, logits, certainties=eyes.certainties)
        return None if eyes.needs_places else eyes.of_features(features)
