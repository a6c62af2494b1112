"""One person who labels a folder while a learner learns: what they are shown, and what they did."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cnn_rnn.learning.album import Album, PhotoOrder
from cnn_rnn.learning.journal import Step
from cnn_rnn.learning.suggestions import TYPED, Suggestion

from .photo_session import Photo, PhotoSession
from .views import LabelRow

PHOTO_ORDERS: dict[PhotoOrder, str] = {
    "folder": "as in the folder",
    "uncertain": "most uncertain",
    "alike": "most like this",
}


@dataclass
class LearningSession(PhotoSession):
    """The photos of one person, of which all that is said is written down at once.

    Attributes:
        by: Who it is, so that undo takes back this person's own steps.
        order: Which photo comes after one that is accepted.
        names: Labels in the order in which the page was told of them; a click names their places.
        suggestion: What was suggested of the photo that is shown, when it was shown first.
        of: Which photo that is.
        listed: Photos that are to be accepted in one go, with their labels; None where none are listed.
        notice: What is to be told once.
    """

    by: str = ""
    order: PhotoOrder = "folder"
    names: list[str] = field(default_factory=list)
    suggestion: Suggestion = field(default_factory=lambda: Suggestion([], []))
    of: str = ""
    listed: dict[str, list[str]] | None = None
    notice: str = ""

    kept = True  # what is said is on the disk before it is shown: closing the page loses nothing

    def follow(self, album: Album) -> None:
        """Take over what is known by now, by whomever it was said."""
        album.follow()
        for photo in self.photos:
            one = album.known.photos.get(photo.name)
            photo.known = {} if one is None else dict(one.labels)
            accepted = one is not None and one.accepted
            photo.accepted = [label for label, there in photo.known.items() if there] if accepted else None

    def say(self, album: Album, photo: Photo, label: str, *, confirmed: bool, again: bool = True) -> None:
        """Confirm a label or rule it out; `again`, what was said already is taken back."""
        there = None if again and photo.known.get(label) == confirmed else confirmed
        cost = 1 if label in self.suggestion.shown else TYPED
        album.step(Step({photo.name: {label: there}}, {photo.name: False}, actions=cost, by=self.by))

    def accept_shown(self, album: Album, photo: Photo) -> None:
        """Accept what is shown of a photo, and go on to the next."""
        labels = self.suggestion.labels(photo.known)
        album.step(Step({photo.name: dict.fromkeys(labels, True)}, {photo.name: True}, by=self.by))
        following = album.next_photo(photo.name, self.order)
        if following is not None:
            self.go_to(following)

    def accept_listed(self, album: Album) -> None:
        """Accept all photos that are listed, in one step."""
        if self.listed:
            said = {name: dict.fromkeys(labels, True) for name, labels in self.listed.items()}
            album.step(Step(said, dict.fromkeys(said, True), by=self.by))
            self.notice = f"{len(said)} photos accepted; u takes them back"
        self.listed = None

    def take_back(self, album: Album) -> None:
        """Take back this person's last step, and show the photo it was of."""
        step = album.take_back(self.by)
        if step is None:
            self.notice = "there is nothing of yours to take back"
            return
        self.notice = f"taken back: {step.renamed[0]} is its name again" if step.renamed else "taken back"
        photos = [*step.said, *step.accepted]
        if photos:
            self.go_to(photos[0])

    def go_to(self, name: str) -> None:
        """Show a photo of this name."""
        places = [place for place, photo in enumerate(self.photos) if photo.name == name]
        if places:
            self.place = places[0]

    def rows(self, album: Album, photo: Photo) -> list[LabelRow]:
        """The labels to show of a photo: what is suggested, what is decided, and nine that are open."""
        before = album.expect(photo.name)
        if self.of != photo.name:
            self.of, self.suggestion = photo.name, Suggestion.of(before, album.eyes.rules)
        now = album.expect(photo.name, photo.known) if photo.known else before
        self.suggestion.fill(now, photo.known)
        shown = [label for label in self.suggestion.shown if label in now]
        there = set(self.names)
        self.names += [label for label in shown if label not in there]
        places = {label: place for place, label in enumerate(self.names)}
        expected = set(self.suggestion.labels(photo.known))
        return [
            LabelRow(
                label,
                places[label],
                now[label],
                before.get(label, 0.0),
                photo.known.get(label),
                expected=label in expected,
            )
            for label in shown
        ]


def progress(album: Album) -> Mapping[str, str]:
    """What stands at the foot of the page: that it learns, and from what."""
    known, seen = album.known, album.looked_at
    done, right = len(known.order), known.right_at_once
    a_photo = f", {known.actions / done:.1f} a photo" if done else ""
    return {
        "actions": f"{known.actions} action{'s' * (known.actions != 1)}{a_photo}",
        "right": "" if right is None else f"right at once {right:.0%} of the later half",
        "learnt": f"learnt from {len(album.learner.photos)} photos, {len(known.label_names)} labels",
        "looked": "" if seen >= len(album.photos) else f"{seen} of {len(album.photos)} photos looked at",
    }
