"""Labels that may be another label under a mark, with a score, or in other letters: asked about, never guessed."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from .reading import Reading

SCORED = re.compile(r".*\S\s*[:=(]\s*(0?\.\d+|[01](\.\d+)?)\)?")  # cat:0.9, cat (0.9)
JOINING = "+/&:_-#"  # what may stand between labels, and within one
CONJUNCTIONS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "e", "en", "och", "og"})
A_CLASS = "name it in labels.json or data.class_names for a class"


def tell_apart(
    rows: Mapping[int, list[str]],
    where: Callable[[int], str],
    reading: Reading,
    class_names: Sequence[str] | None,
    *,
    parted: bool,
) -> dict[int, list[str]]:
    """The labels of each row; those that differ in case alone joined where that is asked for.

    Args:
        rows: The labels of each row by its number.
        where: Names a row, for messages.
        reading: What a person decided.
        class_names: The classes in order, where they are known.
        parted: Whether the labels came as lists, so that no mark within one can part it.

    Raises:
        ValueError: A label may be another one under a mark, with a score, or in other letters; both readings are told.
    """
    first: dict[str, int] = {}
    for number, labels in rows.items():
        for label in labels:
            first.setdefault(label, number)
    known = frozenset(class_names or ())
    _refuse_marked(first, where, known)
    if not parted and reading.separator is None:
        _refuse_joined(first, where, known)
    spelt: dict[str, list[str]] = defaultdict(list)
    for label in first:
        spelt[unicodedata.normalize("NFC", label).casefold()].append(label)
    alike = [group for group in spelt.values() if len(group) > 1 and not set(group) <= known]
    if not alike or reading.case == "keep":
        return dict(rows)
    if reading.case is None:
        one, other = sorted(alike[0], key=lambda label: first[label])[:2]
        raise ValueError(
            f"{where(first[other])}: {other!r} and {one!r} ({where(first[one]).rpartition(', ')[2]}) differ in case or "
            f"in the writing of accents alone: one class (data.case ignore) or two (data.case keep)? {len(alike)} such"
        )
    counts = Counter(label for labels in rows.values() for label in labels)
    usual = {label: max(group, key=lambda one: (one in known, counts[one])) for group in alike for label in group}
    joined = {number: dict.fromkeys(usual.get(label, label) for label in own) for number, own in rows.items()}
    return {number: list(labels) for number, labels in joined.items()}


def _refuse_joined(first: Mapping[str, int], where: Callable[[int], str], known: frozenset[str]) -> None:
    """Refuse labels that could be several joined by a mark, unless they are known classes."""
    for label, number in first.items():
        if label in known:
            continue
        between = [word for word in label.split()[1:-1] if word.casefold() in CONJUNCTIONS]
        for mark in (*JOINING, *between):
            parts = re.split(rf"\s{mark}\s", label) if mark.isalpha() else label.split(mark)
            pieces = [piece.strip() for piece in parts]
            if mark == "#" and label.startswith("#"):  # hash tags without a blank between them
                pieces = pieces[1:]
            labels = [f"#{piece}" in first if mark == "#" else piece in first or piece in known for piece in pieces]
            if len(pieces) > 1 and (all(labels) if mark in "_-" else any(labels)):
                raise ValueError(
                    f"{where(number)}: {label!r} could be the labels {pieces} (data.separator {mark!r}) or one label "
                    f"(data.separator none, or that which does part the labels; or {A_CLASS})"
                )


def _refuse_marked(first: Mapping[str, int], where: Callable[[int], str], known: frozenset[str]) -> None:
    """Refuse labels that could be another one under a mark, or hold a score, unless they are known classes."""
    for label, number in first.items():
        if label in known:
            continue
        bare = label.lstrip("-!~").rstrip("?").strip()
        if bare != label and (bare in first or bare in known):
            raise ValueError(
                f"{where(number)}: {label!r} may be a class of its own, or say something of {bare!r} (absent, or "
                f"unsure): columns not_labels and unknown hold such labels; {A_CLASS}"
            )
        if SCORED.fullmatch(label):
            raise ValueError(
                f"{where(number)}: {label!r} may be a label with its score: write a row a label with a column "
                f"confidence; {A_CLASS}"
            )
