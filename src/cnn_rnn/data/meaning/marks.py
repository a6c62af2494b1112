"""What parts the labels of a text: every reading that its column allows is tried, one is taken, several are shown."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import punctuation

from cnn_rnn.data.reading import WHOLE, mark_of, told_mark

from .column import Column

HARD_MARKS = "|;,\t\n\uff0c\u3001\uff1b\uff5c\u060c\u061b"  # a label's own name hardly holds them, but for the comma
CONJUNCTIONS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "e", "en", "och", "og"})

SplitText = Callable[[str], list[str]]
Texts = Mapping[str, int]  # each text of a column once, and the first row that has it


@dataclass(frozen=True)
class Candidate:
    """A way to read the texts of a column.

    Attributes:
        mark: What parts a text, or `WHOLE` where it is one label.
        first: The first text that it parts, or of which that is doubtful.
    """

    mark: str
    first: str = ""

    @property
    def split(self) -> SplitText:
        """What makes labels of a text."""
        return (lambda text: [text.strip()]) if self.mark == WHOLE else parted_by(self.mark)

    @property
    def told(self) -> str:
        """How it reads a text, for people."""
        return "a cell is one label" if self.mark == WHOLE else f"labels parted by {told_mark(self.mark)}"

    def way(self, text: str) -> str:
        """What it makes of a text, and the setting that asks for it."""
        if self.mark == WHOLE:
            return "one label (data.separator none)"
        told, labels = told_mark(self.mark), self.split(text)
        counted = f"{len(labels)} labels" if self.mark == " " else "the labels"
        return f"{counted} {labels} (data.separator {told if told.isalpha() else repr(told)})"


def find_mark(column: Column) -> tuple[SplitText, str]:
    """What makes labels of a text that is no list, and how to tell it.

    The names of the classes, where they are known, decide where one reading alone fits them.

    Raises:
        ValueError: The texts could be read in several ways, which are shown with the settings that decide.
    """
    texts, where, reading = column.texts, column.where, column.reading
    lists = any(value is not text for text, value in column.parsed.items())  # that were written as text
    if reading.separator is not None:
        given = Candidate(mark_of(reading.separator) or WHOLE)
        return given.split, f"{given.told} (data.separator)"
    candidates = list(_candidates(texts, lists))
    if len(candidates) > 1 and column.names:
        known = set(column.names)
        fitting = [one for one in candidates if all(known.issuperset(one.split(text)) for text in texts)]
        if len(fitting) == 1:
            return fitting[0].split, f"{fitting[0].told}, by the names of the classes"
    taken = candidates[0]
    if len(candidates) > 1 and candidates[-1].mark == WHOLE:  # one text, read in several ways
        *ways, whole = [one.way(taken.first) for one in candidates]
        beside = " stands beside cells that are lists and" if lists else ""
        raise ValueError(f"{where(texts[taken.first])}: {taken.first!r}{beside} could be {', '.join(ways)} or {whole}")
    lines = [where(texts[one.first]).rpartition(", ")[2] for one in candidates if one.mark != WHOLE]
    if len(candidates) > 1:  # each parts other texts
        ways = [
            f"data.separator {told_mark(one.mark)} reads {line} {one.first!r} as {one.split(one.first)}"
            for line, one in zip(lines, candidates, strict=True)
        ]
        raise ValueError(f"{where(texts[taken.first])}: the column holds several marks: {'; '.join(ways)}")
    if taken.mark != WHOLE:
        return taken.split, f"{taken.told} (first in {lines[0]}: {taken.first!r})"
    told = "labels are lists written as text; a plain cell is one label" if lists else taken.told
    return taken.split, told if texts or lists else ""


def _candidates(texts: Texts, lists: bool) -> Iterator[Candidate]:
    """The readings that the texts allow, `WHOLE` last; a mark that hardly stands in a name leaves no text whole."""
    hard = [
        Candidate(mark, first)
        for mark in HARD_MARKS
        if (first := next((text for text in texts if mark in text.strip()), None)) is not None
    ]
    doubtful = _doubtful_comma(texts) if [one.mark for one in hard] == [","] else None
    if hard and (lists or doubtful):
        yield from (Candidate(hard[0].mark, doubtful or hard[0].first), Candidate(WHOLE))
        return
    yield from hard
    spaced = [] if lists or hard else [text for text in texts if re.search(r"\s", text.strip())]
    joined = ((word, text) for text in spaced for word in text.split()[1:-1] if joins(word))
    word, first = next(joined, (" ", spaced[0] if spaced else ""))
    if word != " ":
        yield Candidate(word, first)
    if spaced and (word == " " or word.isalpha()):
        yield Candidate(" ", first)
    if not hard:
        yield Candidate(WHOLE)


def joins(word: str) -> bool:
    """Whether a word between others may stand between labels: a mark, or "and"."""
    return set(word) <= set(punctuation) or word.casefold() in CONJUNCTIONS


def parted_by(mark: str) -> SplitText:
    """What parts a text at a mark; one before the first label or after the last parts nothing.

    A mark that is a word, such as "and", parts where it stands as a word.
    """
    word = re.compile(rf"(?:^|\s){re.escape(mark.strip())}(?=\s|$)") if mark.strip().isalpha() else None

    def split(text: str) -> list[str]:
        pieces = text.split() if mark == " " else word.split(text) if word else text.split(mark)
        names = [name.strip() for name in pieces]
        return names[not names[0] : len(names) - (not names[-1])] if any(names) else names

    return split


def _doubtful_comma(texts: Texts) -> str | None:
    """A text whose comma may belong to a label's name: followed by a blank, of words that never stand apart."""
    places = Counter(piece for text in texts for piece in {part.strip() for part in text.split(",")})
    loose = [text for text in texts if ", " in text]
    alone = [text for text in loose if not any(places[part.strip()] > 1 for part in text.split(","))]
    tight = any(re.search(r",\S", text) for text in texts)
    return alone[0] if alone and (tight or len(alone) == len(loose)) else None
