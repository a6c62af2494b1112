"""The page: photos in, labels with scores, one click for what a person knows, and labels saved as training reads them.

Everything that comes from a browser is checked again here: what was clicked, which label, which files.
"""

import tempfile
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from cnn_rnn.data import UnreadableImageError
from cnn_rnn.foundation.opened_folder import FolderGoneError
from cnn_rnn.label_answers import UNFAMILIAR

from .photo_session import Photo, PhotoSession
from .photo_tagger import Sight, Tagger
from .saved_labels import METADATA
from .views import PAGE_FOLDER, label_rows, readable, show_labels, show_photo

LONGEST_LABEL, LONGEST_TICKET = 100, 100  # signs
NOT_WRITTEN = {"Cc", "Cs", "Cn", "Co"}  # Unicode's categories: control signs, halves of signs, signs without a meaning
KEYS = (
    '<p class="keys"><kbd>1</kbd> to <kbd>9</kbd> confirm, with <kbd>shift</kbd> rule out, once more to take back · '
    "<kbd>←</kbd> <kbd>→</kbd> photos · <kbd>enter</kbd> accept what is green or blue, and on to the next · "
    "<kbd>s</kbd> save · <kbd>/</kbd> another label, <kbd>esc</kbd> back to the keys · "
    "a label's name shows where the network looked · ? stands beside the label whose yes or no tells most</p>"
    '<p class="touch">✓ confirms, ✗ rules out, once more takes it back · Accept takes what is green or blue, and goes '
    "on to the next photo · a label's name shows where the network looked · ? stands beside the label whose yes or no "
    "tells most</p>"
)
LEARNING_KEYS = (
    '<p class="keys"><kbd>q</kbd> <kbd>w</kbd> <kbd>e</kbd> <kbd>r</kbd> <kbd>y</kbd> confirm further rows · '
    "<kbd>u</kbd> takes the last step back · "
    "<kbd>o</kbd> which photo comes next · <kbd>a</kbd> lists those as sure as this · <kbd>t</kbd> train on these</p>"
)
DAY = 24 * 60 * 60  # seconds
PHOTO_STEPS = {"previous": -1, "next": 1}
MOST_SESSIONS = 1000  # of tabs that may open the page again
# A tab's own secret, by which a page that is opened again, after the net was away, goes on where it was.
TICKET = """() => [sessionStorage.tagging ??= Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-")]"""


@dataclass
class Desk:
    """The page at work: what every event does to one person's session, and what is shown then.

    Args:
        tagger: The model, the same for all persons.
        folder: Where photos lie that are gone through; None where photos are dropped on the page.
        files: The photos of that folder.
    """

    tagger: Tagger
    folder: Path | None = None
    files: list[Path] = field(default_factory=list)

    learns = False  # whether it learns from what is said

    def __post_init__(self) -> None:
        """Nobody has opened the page yet."""
        self._sessions: OrderedDict[str, PhotoSession] = OrderedDict()

    def add_forms(self, on: Any, session: gr.State) -> None:
        """Further forms of the page, none here; `on` listens to an event as to all others."""

    def begin(self, ticket: str | None = None) -> tuple[Any, ...]:
        """A session of one's own, for whoever opens the page; the same one for a tab that opens it again."""
        ticket = ticket[:LONGEST_TICKET] if isinstance(ticket, str) else ""
        session = self._sessions.pop(ticket, None)
        if session is None:
            try:
                session = self.new_session(ticket)
            except (ValueError, OSError) as error:  # until it is mended, and the page is opened again
                return self.show(PhotoSession(folder=self.folder), problem=f"{error}; then open this page again")
        if ticket:
            self._sessions[ticket] = session
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return self.show(session)

    @property
    def choices(self) -> list[str]:
        """The labels that can be chosen by name."""
        return self.tagger.label_names

    def new_session(self, ticket: str) -> PhotoSession:  # noqa: ARG002 - who it is matters where steps are kept
        """A session with the photos of the folder, or none yet."""
        return PhotoSession() if self.folder is None else PhotoSession.of_folder(self.folder, self.files)

    def heed(self, session: PhotoSession, act: Any) -> tuple[Any, ...] | None:  # noqa: ARG002
        """What a click or a key says that this page does not heed: nothing."""
        return None

    def drop(self, session: PhotoSession, files: list[str] | None) -> tuple[Any, ...]:
        """Add what was dropped."""
        named = files if isinstance(files, list) else []
        taken = session.add(Path(file) for file in named if isinstance(file, str))
        problem = f"left out, since photos of that name are here already: {', '.join(taken)}" if taken else ""
        return self.show(session, problem=problem)

    def click(self, session: PhotoSession, event: gr.EventData) -> tuple[Any, ...]:
        """What a click or a key says: go to another photo, accept this one, or decide about a label of it.

        What was meant for another photo, since the browser did not show this one yet, counts for nothing.
        """
        data = getattr(event, "_data", None)
        told: dict[str, Any] = data if isinstance(data, dict) else {}
        act = told.get("act") if isinstance(told.get("act"), str) else None
        if act == "show":  # the browser shows an answer that is not the latest
            return self.show(session)
        session.turn += 1
        if (heeded := self.heed(session, act)) is not None:
            return heeded
        if act in PHOTO_STEPS:
            session.move(PHOTO_STEPS[act])
        elif _is_number(told.get("photo")) and told["photo"] == session.place:
            return self.accept(session) if act == "accept" else self.decide(session, act, told.get("label"))
        return self.show(session)

    def decide(self, session: PhotoSession, act: Any, index: Any) -> tuple[Any, ...]:
        """Confirm a label, rule it out, or show where the network looked for it."""
        names = self.names_of(session)
        if session.shown is None or not _is_number(index) or not 0 <= index < len(names):
            return self.show(session)
        if act == "explain":
            return self.show(session, looked_for=names[index])
        if act in {"confirm", "reject"}:
            self.say(session, session.shown, names[index], confirmed=act == "confirm")
        return self.show(session)

    def names_of(self, session: PhotoSession) -> list[str]:
        """The labels of the photo that is shown, by the places that a click names."""
        known = {} if session.shown is None else session.shown.known
        return [*self.tagger.label_names, *(name for name in known if name not in self.tagger.thresholds)]

    def say(self, session: PhotoSession, photo: Photo, label: str, *, confirmed: bool, typed: str = "") -> None:  # noqa: ARG002
        """Confirm a label of a photo, perhaps one that was typed so, or rule it out."""
        photo.decide(label, confirmed=confirmed)
        photo.known = self.tagger.agreeing(photo.known)

    def add_label(self, session: PhotoSession, label: str | None) -> tuple[Any, ...]:
        """Confirm a label by name, one that the model does not know too."""
        photo = session.shown
        name = typed_label(label, [*self.choices, *(() if photo is None else photo.known)])
        if problem := label_problem(name):
            return self.show(session, problem=problem)
        if photo is not None and name and photo.known.get(name) is not True:
            self.say(session, photo, name, confirmed=True, typed=str(label))
        return self.show(session)

    def accept(self, session: PhotoSession) -> tuple[Any, ...]:
        """Take what is expected and confirmed for all of the photo's labels, and go on."""
        photo = session.shown
        if photo is None:
            return self.show(session)
        try:
            probabilities = self.tagger.expect(self.tagger.look(photo.path), photo.known).probabilities
        except UnreadableImageError:
            session.move(1)
            return self.show(session)
        chosen = self.tagger.chosen(probabilities)
        photo.accept(name for name in probabilities if name in chosen)
        session.move(1)
        return self.show(session)

    def save(self, session: PhotoSession, sidecars: bool = False) -> tuple[Any, ...]:
        """Write the labels of the accepted photos, and XMP `sidecars` where the photos lie in a folder.

        Returns what is said of it, a file to take away, and what `show` returns.
        """
        told, written = self.write(session, sidecars=bool(sidecars))
        return readable(told), written, *self.show(session)

    def write(self, session: PhotoSession, *, sidecars: bool) -> tuple[str, Any]:
        """Write the labels; returns what is said of it, and a file to take away."""
        if not session.done:
            return "Nothing is accepted yet: enter accepts the labels of a photo.", gr.skip()
        left = len(session.photos) - session.done
        more = f" {left} not accepted yet, left out." if left else ""
        folder = session.folder or _new_folder()
        try:
            written = session.save(folder)
        except FolderGoneError as error:
            return self.write_elsewhere(session, error)
        except (ValueError, OSError) as error:
            return f"Not saved: {error}", gr.skip()
        left_out = session.left_out
        if left_out:
            more += f" {len(left_out)} left out: {'; '.join(f'{name}, {why}' for name, why in left_out.items())}."
        if sidecars and session.folder:
            problems = session.save_sidecars(self.tagger.saved.model.rules)
            more += f" XMP sidecars left as they are: {'; '.join(problems)}." if problems else " XMP sidecars too."
        where = f"to {written}" if session.folder else f"as {METADATA}: put it beside the photos, in PHOTOS/train"
        shown = gr.skip() if session.folder else gr.File(str(written), visible=True)
        saved = session.done - len(left_out)
        return f"Saved the labels of {'1 photo' if saved == 1 else f'{saved} photos'} {where}.{more}", shown

    def write_elsewhere(self, session: PhotoSession, error: FolderGoneError) -> tuple[str, Any]:
        """Hand out all labels as a file where their folder is away; they count as not saved still."""
        written = session.save(_new_folder())
        told = f"Not saved: {error}. Nothing is lost: the file below holds all labels meanwhile."
        return told, gr.File(str(written), visible=True)

    def show(self, session: PhotoSession, problem: str = "", looked_for: str | None = None) -> tuple[Any, ...]:
        """The session as it is now: itself, the photo and its labels."""
        photo, picture, caption, labels = session.shown, None, "", show_labels(session, [], [])
        told = [problem]
        if photo is not None:
            told.append(photo.note and f"what you decide here is not saved: {photo.note}")
            try:
                sight = self.look(photo)
                labels, remark = self.labels_of(session, photo, sight)
                picture, caption = self.look_again(sight, looked_for)
                caption = caption or remark
            except UnreadableImageError as error:
                told.append(str(error))
        return session, show_photo(session, picture, caption, "; ".join(filter(None, told))), labels

    def look(self, photo: Photo) -> Sight:
        """The photo as the model sees it; UnreadableImageError where it cannot be read."""
        return self.tagger.look(photo.path)

    def labels_of(self, session: PhotoSession, photo: Photo, sight: Sight) -> tuple[str, str]:
        """A photo's labels to show, and a remark on it."""
        before = self.tagger.expect(sight, {})
        now = self.tagger.expect(sight, photo.known) if photo.known else before
        remark = f"This photo is {UNFAMILIAR}." if self.tagger.is_unfamiliar(now.probabilities) else ""
        return show_labels(session, label_rows(self.tagger, before, now, photo.known), now.tree), remark

    def look_again(self, sight: Sight, looked_for: str | None) -> tuple[Any, str]:
        """The photo to show and what stands below it."""
        if looked_for is None:
            return sight.photo, ""
        if looked_for not in self.tagger.thresholds:
            return sight.photo, f"{looked_for} is a label of yours: the network does not know it."
        try:
            return self.tagger.explain(sight, looked_for), f"Bright: where the network looked for {looked_for}."
        except ImportError as error:
            return sight.photo, str(error)


def typed_label(text: object, labels: Iterable[str]) -> str:
    """The label that a person types: one that is there by now, where it differs by small and large letters alone."""
    name = unicodedata.normalize("NFC", " ".join(text.split())) if isinstance(text, str) else ""
    alike = {label for label in labels if _letters(label) == _letters(name)}
    return alike.pop() if len(alike) == 1 else name


def _letters(label: str) -> str:
    """A label without what its letters may differ by where they read alike."""
    return unicodedata.normalize("NFC", label).casefold()


def label_problem(name: str) -> str:
    """Why a name cannot be a label; empty where it can."""
    if any(unicodedata.category(sign) in NOT_WRITTEN for sign in name):
        return f"{name!r} is no label: it holds a sign that nobody sees or writes"
    return f"a label of {len(name)} signs: {LONGEST_LABEL} are the most" if len(name) > LONGEST_LABEL else ""


def _is_number(value: Any) -> bool:
    """Whether what a browser sent is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _new_folder() -> Path:
    """A folder whose files a browser may fetch."""
    return Path(tempfile.mkdtemp(dir=gr.utils.get_upload_folder()))


def build_page(desk: Desk) -> gr.Blocks:
    """The page, not served yet."""
    # What is dropped is removed again after a day.
    with gr.Blocks(title="Label photos", analytics_enabled=False, delete_cache=(DAY, DAY)) as page:
        session = gr.State()
        dropped = gr.File(
            label="Drop photos", file_count="multiple", file_types=["image"], height=110, visible=desk.folder is None,
            elem_id="dropped",
        )  # fmt: skip
        with gr.Row():
            with gr.Column(scale=6, min_width=240):
                photo = gr.HTML(elem_id="photo", js_on_load=None)
                with gr.Row():  # heard by the script, which says what they are pressed for
                    gr.Button("← Back", elem_id="previous", min_width=80)
                    gr.Button("Accept", elem_id="accept", variant="primary", min_width=80)
                    gr.Button("Next →", elem_id="next", min_width=80)
            with gr.Column(scale=5, min_width=240):
                script = (PAGE_FOLDER / "tagging_page.js").read_text(encoding="utf-8")
                labels = gr.HTML(elem_id="labels", js_on_load=script)
                other = gr.Dropdown(
                    desk.choices, value=None, label="Another label", allow_custom_value=True,
                    elem_id="other", filterable=True,
                )  # fmt: skip
                sidecars = gr.Checkbox(
                    label="XMP sidecars too, for photo managers", visible=desk.folder is not None, elem_id="sidecars"
                )
                save = gr.Button("Save", elem_id="save")
                said = gr.Markdown(elem_id="said", sanitize_html=True)
                taken_away = gr.File(label=METADATA, visible=False, interactive=False, elem_id="file")
        gr.HTML(KEYS + (LEARNING_KEYS if desk.learns else ""), js_on_load=None)
        shown = [session, photo, labels]

        def on(listen: Callable[..., Any], does: Callable[..., Any], inputs: list[Any], **options: Any) -> Any:
            """Let an event do something to the session and show it; no click is lost while another is at work."""
            return listen(
                does, inputs, shown, trigger_mode="multiple", concurrency_id="desk", show_progress="hidden",
                api_visibility="private", **options,
            )  # fmt: skip

        ticket = gr.Textbox(visible=False)
        on(page.load, desk.begin, [ticket], js=TICKET)
        on(dropped.upload, desk.drop, [session, dropped]).then(lambda: None, None, dropped, api_visibility="private")

        def clicked(one: PhotoSession, event: gr.EventData) -> tuple[Any, ...]:
            return desk.click(one, event)

        on(labels.select, clicked, [session])
        on(other.input, desk.add_label, [session, other]).then(
            lambda: gr.update(value=None, choices=desk.choices), None, other, api_visibility="private"
        )
        desk.add_forms(on, session)
        save.click(
            desk.save, [session, sidecars], [said, taken_away, *shown], trigger_mode="multiple", concurrency_id="desk",
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
    return page
