"""What the page shows, as HTML in which every name stands as text, whatever signs it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnn_rnn.label_answers import most_telling
from cnn_rnn.learning.suggestions import SHOWN_LABELS
from cnn_rnn.report.embedded_images import image_address

from .beam_tree import Branch
from .photo_session import PhotoSession
from .photo_tagger import Expectation, Tagger

PAGE_FOLDER = Path(__file__).parent
ROW_KEYS = "123456789qwery"  # that confirm the label of a row, and with shift rule it out; further rows have none
SMALLEST_CHANGE = 0.005  # of a probability that is told


@dataclass(frozen=True)
class LabelRow:
    """One label of the shown photo.

    Attributes:
        name: The label.
        index: Its place in the session's list of labels, which a click names.
        probability: Given what is known.
        before: While nothing was known.
        known: Confirmed (True), ruled out (False) or open (None).
        expected: Whether the model expects it: at or above its threshold, and not ruled out.
    """

    name: str
    index: int
    probability: float
    before: float
    known: bool | None
    expected: bool

    @property
    def change(self) -> str:
        """How far what is known moved the probability, such as "▲ 12"; nothing where it did not."""
        moved = self.probability - self.before
        if self.known is not None or abs(moved) < SMALLEST_CHANGE:
            return ""
        return f"{'▲' if moved > 0 else '▼'} {abs(100 * moved):.0f}"


def label_rows(tagger: Tagger, before: Expectation, now: Expectation, known: dict[str, bool]) -> list[LabelRow]:
    """The labels to show: the nine most probable at first sight, all that are expected or decided, and own ones.

    Their order is that of the first sight, so that a digit means the same label while a photo is looked at.
    """
    chosen = tagger.chosen(now.probabilities)
    rows = [
        LabelRow(
            name,
            index,
            now.probabilities[name],
            before.probabilities[name],
            known.get(name),
            known.get(name, name in chosen),
        )
        for index, name in enumerate(tagger.label_names)
    ]
    rows.sort(key=lambda row: -row.before)
    shown = [row for place, row in enumerate(rows) if place < SHOWN_LABELS or row.expected or row.known is not None]
    own = [name for name in known if name not in tagger.thresholds]  # labels that the model has never heard of
    return shown + [
        LabelRow(name, len(rows) + place, float(known[name]), 0.0, known[name], known[name])
        for place, name in enumerate(own)
    ]


def show_photo(session: PhotoSession, picture: Image.Image | None, caption: str = "", problem: str = "") -> str:
    """The photo with its place among the others, or why there is none."""
    shown = session.shown
    return _template("photo.html.jinja").render(
        name="" if shown is None else shown.name,
        place=session.place + 1,
        count=len(session.photos),
        done=session.done,
        unsaved=session.unsaved,
        kept=session.kept,
        accepted=None if shown is None else shown.accepted,
        picture=None if picture is None else image_address(picture),
        caption=caption,
        problem=problem,
        folder=session.folder is not None,
    )


def show_labels(session: PhotoSession, rows: list[LabelRow], tree: list[Branch]) -> str:
    """The labels with their scores and buttons, and the walks of the beam; which photo's, and as of which turn.

    A mark stands beside the open one of them whose yes or no tells most of all the photo's labels.
    """
    likely, decided = ([row.probability for row in rows], [row.known is not None for row in rows])
    asked = most_telling(np.array(likely), np.array(decided)) if rows else None
    return _template("labels.html.jinja").render(
        place=session.place, turn=session.turn, rows=rows, tree=tree, keys=ROW_KEYS, asked=asked
    )


def show_listed(session: PhotoSession, photos: Sequence[tuple[str, str, list[str]]]) -> str:
    """Photos to accept in one go, each with its name, a small picture's address and its labels."""
    return _template("listed.html.jinja").render(place=session.place, turn=session.turn, photos=photos)


def show_foot(progress: Mapping[str, str], order: str, notice: str) -> str:
    """What can be done beside labelling, and how well the page does."""
    return _template("foot.html.jinja").render(**progress, order=order, notice=notice)


def readable(text: str) -> str:
    r"""A text of the same kind that a browser takes: what a file's name holds beside UTF-8 as `\udce9`."""
    return type(text)(text.encode("utf-8", "backslashreplace").decode())


@cache
def _template(name: str) -> Any:
    """A template of the page in which every value is escaped and a missing one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        finalize=lambda value: readable(value) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FileSystemLoader(PAGE_FOLDER),
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.0f} %" if value >= 0.095 else f"{100 * value:.1f} %"
    return environment.get_template(name)
