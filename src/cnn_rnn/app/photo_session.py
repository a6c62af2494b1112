"""What one person does: which photos, at which one, and what was decided of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cnn_rnn.foundation.opened_folder import Place, place_of
from cnn_rnn.label_rules import LabelRules, keywords_of
from cnn_rnn.prediction.xmp_sidecars import SidecarError, lightroom_path, write_sidecar

from .saved_labels import METADATA, TWICE, DecidedLabels, read_saved, why_not_text, write_saved


@dataclass
class Photo:
    """One photo and what a person decided of it.

    Attributes:
        path: Its file.
        name: What it is called in the saved labels.
        known: Labels confirmed (True) or ruled out (False).
        accepted: All its labels, once the person has said so; None before.
        saved: Its labels as this person last read or wrote them; None where there were none.
        note: Why its labels are not saved, as far as that is known before.
    """

    path: Path
    name: str
    known: dict[str, bool] = field(default_factory=dict)
    accepted: list[str] | None = None
    saved: list[str] | None = None
    note: str = ""

    @property
    def unsaved(self) -> bool:
        """Whether closing the page would lose what was accepted."""
        return self.accepted is not None and self.accepted != self.saved

    def decide(self, label: str, *, confirmed: bool) -> None:
        """Confirm a label or rule it out; the same decision once more takes it back. The photo is open again."""
        if self.known.get(label) == confirmed:
            del self.known[label]
        else:
            self.known.pop(label, None)  # the latest decision comes last
            self.known[label] = confirmed
        self.accepted = None

    @property
    def decision(self) -> DecidedLabels:
        """What is to be saved of an accepted photo."""
        return DecidedLabels(self.accepted or (), [label for label, there in self.known.items() if not there])

    def accept(self, expected: Iterable[str]) -> None:
        """Take what is confirmed, and of the `expected` labels those not ruled out, for all labels of the photo."""
        confirmed = [label for label, there in self.known.items() if there]
        more = [label for label in expected if self.known.get(label, True)]
        self.accepted = list(dict.fromkeys([*confirmed, *more]))
        self.known |= dict.fromkeys(self.accepted, True)


@dataclass
class PhotoSession:
    """The photos of one person.

    Attributes:
        photos: In the order in which they are gone through.
        place: Which one is shown.
        folder: Where the photos lie and their labels are saved; None for photos that were dropped on the page.
        turn: How many clicks and keys were heard, so that the page knows an answer that is not the latest.
        opened: Which folder it is, whatever lies under its name later.
        left_out: Why the last time photos were not saved, by their names.
    """

    photos: list[Photo] = field(default_factory=list)
    place: int = 0
    folder: Path | None = None
    turn: int = 0
    opened: Place | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    kept = False  # whether what is accepted outlives the page before it is saved

    @classmethod
    def of_folder(cls, folder: Path, files: Sequence[Path]) -> Self:
        """The photos of a folder, with the labels that its `metadata.jsonl` gives them already; the first without any.

        Raises:
            ValueError: The folder has labels of another kind.
        """
        opened = place_of(folder)
        saved = read_saved(folder)
        labelled, twice = saved.labels, saved.twice
        photos = []
        for file in files:
            name = file.relative_to(folder).as_posix()
            labels = labelled.get(name)
            note = TWICE if name in twice else why_not_text(name)
            photos.append(Photo(file, name, dict.fromkeys(labels or (), True), labels, labels, note))
        first = next((index for index, photo in enumerate(photos) if photo.accepted is None), 0)
        return cls(photos, first, folder, opened=opened)

    @property
    def shown(self) -> Photo | None:
        """The photo that is shown."""
        return self.photos[self.place] if self.photos else None

    @property
    def done(self) -> int:
        """How many photos are accepted."""
        return sum(photo.accepted is not None for photo in self.photos)

    @property
    def unsaved(self) -> int:
        """How many accepted photos closing the page would lose."""
        return sum(photo.unsaved for photo in self.photos)

    def move(self, steps: int) -> None:
        """Show another photo, no further than the first and the last."""
        self.place = min(max(self.place + steps, 0), max(len(self.photos) - 1, 0))

    def add(self, files: Iterable[Path]) -> list[str]:
        """Add photos, and show the first of them; returns the names that are taken already, whose files stay out."""
        names = {photo.name for photo in self.photos}
        before, taken = len(self.photos), []
        for file in files:
            if file.name in names:
                taken.append(file.name)
                continue
            names.add(file.name)
            self.photos.append(Photo(file, file.name))
        if len(self.photos) > before:
            self.place = before
        return taken

    def save_sidecars(self, rules: LabelRules | None = None) -> list[str]:
        """Let XMP sidecars beside the accepted photos say their labels; returns why some were left alone.

        Args:
            rules: Rules between labels, by which a keyword stands below what it implies.
        """
        left = []
        for photo in self.photos:
            if photo.accepted is not None:
                try:
                    shown, out = (keywords_of(rules, labels) for labels in (photo.accepted, photo.decision.ruled_out))
                    write_sidecar(photo.path, shown, by_person=True, ruled_out=out)
                    if (other := lightroom_path(photo.path)).exists():
                        left.append(f"{other}, which has the name that Lightroom looks for")
                except (SidecarError, OSError) as error:
                    left.append(str(error))
        return left

    def save(self, folder: Path) -> Path:
        """Write the labels of the accepted photos to `metadata.jsonl` in a folder, beside what it holds of others.

        In the folder where the photos lie only what this person accepted since: another may have written the rest anew.
        What cannot be written stays unsaved, and `left_out` says why.

        Raises:
            FolderGoneError: The folder that was opened is not there.
            ValueError: Its `metadata.jsonl` is of another kind.
        """
        own = folder == self.folder
        mine = [photo for photo in self.photos if photo.unsaved or (not own and photo.accepted is not None)]
        decided = {photo.name: photo.decision for photo in mine}
        self.left_out = write_saved(folder, decided, self.opened if own else None)
        for photo in mine:
            if photo.name not in self.left_out and own == (self.folder is not None):
                photo.saved = photo.accepted
        return folder / METADATA
