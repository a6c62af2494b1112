"""The page on which a learner learns from what a person says, photo after photo."""

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from cnn_rnn.data import UnreadableImageError
from cnn_rnn.learning.album import Album
from cnn_rnn.learning.journal import Step
from cnn_rnn.report.embedded_images import image_address, thumbnail

from .learning_session import PHOTO_ORDERS, LearningSession, progress
from .photo_session import Photo, PhotoSession
from .photo_tagger import Sight, read_photo
from .saved_labels import METADATA, read_saved
from .tagging_page import Desk, label_problem, typed_label
from .training_set import write_training_set
from .views import show_foot, show_labels, show_listed

ACTS = {"undo", "order", "list", "take", "leave", "train"}
Does = Callable[..., tuple[Any, ...]]


def kept_or_told(does: Does) -> Does:
    """What a person does on the page; where that cannot be written down it says so, and nothing of it counts."""

    @wraps(does)
    def done(desk: "LearningDesk", session: PhotoSession, *given: Any) -> tuple[Any, ...]:
        try:
            return does(desk, session, *given)
        except (ValueError, OSError) as error:
            return desk.show(session, problem=f"nothing of that counts: {error}")

    return done


@dataclass
class LearningDesk(Desk):
    """The page at work on a folder that is learnt from.

    Args:
        tagger: The model whose backbone sees the photos.
        folder: Where they lie.
        files: The photos.
        album: What is known and learnt of them.
    """

    album: Album = field(kw_only=True)
    learns = True

    def __post_init__(self) -> None:
        """Nobody has opened the page yet; photos are looked at meanwhile."""
        super().__post_init__()
        self.read_rows()
        self.ended = threading.Event()
        self._looking = threading.Thread(target=self.album.look_around, args=(self.ended,), daemon=True)
        self._looking.start()
        atexit.register(self.close)  # a thread that looks at a photo while Python ends would end it by force

    def close(self) -> None:
        """Look at no more photos."""
        self.ended.set()
        self._looking.join()

    @property
    def choices(self) -> list[str]:
        """The labels that were heard of."""
        return list(self.album.known.label_names)

    def new_session(self, ticket: str) -> LearningSession:
        """A session of the folder, at the first photo that nobody accepted."""
        assert self.folder is not None
        session = LearningSession.of_folder(self.folder, self.files)
        assert isinstance(session, LearningSession)
        session.by = ticket
        self.read_rows()
        session.follow(self.album)
        session.place = next((index for index, photo in enumerate(session.photos) if photo.accepted is None), 0)
        return session

    def heed(self, session: PhotoSession, act: Any) -> tuple[Any, ...] | None:
        """What a click or a key says beside what every page heeds; None where it is of another kind."""
        assert isinstance(session, LearningSession)
        session.notice = ""
        if act not in ACTS:
            return None
        photo = session.shown
        if act == "undo":
            session.listed = None
            session.take_back(self.album)
        elif act == "order":
            orders = list(PHOTO_ORDERS)
            session.order = orders[(orders.index(session.order) + 1) % len(orders)]
        elif act == "list" and photo is not None and not self.album.is_unreadable(photo.name):
            session.listed = self.album.as_sure_as(photo.name)
        elif act == "take":
            session.accept_listed(self.album)
        elif act == "leave":
            session.listed = None
        elif act == "train":
            session.notice = self.train(session)
        return self.show(session)

    click = kept_or_told(Desk.click)
    add_label = kept_or_told(Desk.add_label)

    def names_of(self, session: PhotoSession) -> list[str]:
        """The labels that the page was told of, by their places."""
        assert isinstance(session, LearningSession)
        return session.names

    def say(self, session: PhotoSession, photo: Photo, label: str, *, confirmed: bool, typed: str = "") -> None:
        """Confirm a label of a photo or rule it out; one that is typed has a place from then on."""
        assert isinstance(session, LearningSession)
        known = label in self.choices
        taken = known and typed and " ".join(typed.split()) != label
        session.notice = f"taken for {label}, which is there already" if taken else ""
        if known or typed:
            session.say(self.album, photo, label, confirmed=confirmed, again=not typed)

    @kept_or_told
    def rename(self, session: PhotoSession, old: str | None, new: str | None) -> tuple[Any, ...]:
        """Call a label otherwise on all photos, or merge it with another."""
        assert isinstance(session, LearningSession)
        names = [typed_label(old, self.choices)]
        names.append(typed_label(new, [label for label in self.choices if label != names[0]]))
        if names[0] not in self.album.known.label_names or not names[1]:
            return self.show(session, problem=f"{names[0]!r} is no label yet: write one that is, and its new name")
        if names[0] in self.album.eyes.label_names:
            return self.show(session, problem=f"{names[0]!r} is the model's own name: rule it out, and type yours")
        if problem := label_problem(names[1]):
            return self.show(session, problem=problem)
        merged = names[1] in self.album.known.label_names
        self.album.step(Step(renamed=(names[0], names[1]), by=session.by))
        session.of = ""
        session.notice = f"{names[0]} is {names[1]} on all photos{', joined' if merged else ''}; u takes it back"
        return self.show(session)

    def accept(self, session: PhotoSession) -> tuple[Any, ...]:
        """Take what is suggested and confirmed for all of the photo's labels, and go on."""
        assert isinstance(session, LearningSession)
        photo = session.shown
        if session.listed is not None:
            session.accept_listed(self.album)
        elif photo is not None and (self.album.is_unreadable(photo.name) or session.of != photo.name):
            session.move(1)
        elif photo is not None:
            session.accept_shown(self.album, photo)
        return self.show(session)

    def read_rows(self) -> None:
        """Take over what the label file beside the photos says by now, where it can be read."""
        assert self.folder is not None
        with suppress(ValueError, OSError):
            rows = read_saved(self.folder).labels
            if rows:
                self.album.read_rows(rows, (self.folder / METADATA).stat().st_mtime)

    def write(self, session: PhotoSession, *, sidecars: bool) -> tuple[str, Any]:
        """Write the labels, and note what the file says then; returns what is said of it, and a file to take away."""
        self.read_rows()  # what was changed by hand meanwhile is later than what was said
        assert isinstance(session, LearningSession)
        session.follow(self.album)
        told = super().write(session, sidecars=sidecars)
        self.read_rows()
        return told

    def train(self, session: LearningSession) -> str:
        """Write what is accepted for training; returns the command."""
        told, _ = self.write(session, sidecars=False)
        if not session.done or session.unsaved:
            return told
        assert self.folder is not None
        there, known = self.album.photos, self.album.known
        gone = sum(photo.accepted and name not in there for name, photo in known.photos.items())
        left = f" ({gone} accepted photos are not there any more, and left out)" if gone else ""
        return f"Train on these{left}: {write_training_set(self.folder, there, known, self.tagger.saved.name)}"

    def show(self, session: PhotoSession, problem: str = "", looked_for: str | None = None) -> tuple[Any, ...]:
        """The session as it is now: itself, the photo and its labels."""
        if not isinstance(session, LearningSession):
            return super().show(session, problem, looked_for)
        try:
            session.follow(self.album)
        except (ValueError, OSError) as error:  # of what another page wrote
            problem = "; ".join(filter(None, (problem, str(error))))
        foot = show_foot(progress(self.album), PHOTO_ORDERS[session.order], session.notice)
        if session.shown is not None:
            self.album.near = session.shown.name
        shown, photo, labels = super().show(session, problem, looked_for)
        return shown, photo, labels + foot

    def look(self, photo: Photo) -> Sight:
        """The photo as the model sees it; one that cannot be read is not looked at again."""
        try:
            return super().look(photo)
        except UnreadableImageError as error:
            self.album.unreadable[photo.name] = str(error)
            raise

    def labels_of(self, session: PhotoSession, photo: Photo, sight: Sight) -> tuple[str, str]:
        """A photo's labels to show, or photos that are to be accepted with it; no remark."""
        if not isinstance(session, LearningSession):
            return super().labels_of(session, photo, sight)
        rows = session.rows(self.album, photo)
        if session.listed is not None:
            listed = [(name, _small(self.album.photos[name]), labels) for name, labels in session.listed.items()]
            return show_listed(session, listed), ""
        tree = self.tagger.expect(sight, photo.known).tree if self.album.eyes.label_names else []
        return show_labels(session, rows, tree), ""

    def add_forms(self, on: Any, session: gr.State) -> None:
        """Where a label is called otherwise."""
        with gr.Accordion("Rename or merge a label", open=False, elem_id="rename"):
            old, new = (
                gr.Textbox(label=label, elem_id=place) for label, place in (("Label", "old"), ("Its new name", "new"))
            )
            button = gr.Button("Rename", elem_id="renamed")
            on(button.click, self.rename, [session, old, new])


def _small(path: Path) -> str:
    """A small picture as an address; empty where there is none."""
    try:
        return image_address(thumbnail(read_photo(path)))
    except UnreadableImageError:
        return ""
