"""Names that a person may take for each other: what of one shows, and which was probably meant."""

import unicodedata
from collections.abc import Callable, Iterable
from difflib import get_close_matches


def as_seen(name: str) -> str:
    """A name as it prints: accents in one writing, blanks and hyphens of one kind, no sign that does not show."""
    composed = unicodedata.normalize("NFC", name)
    shown = (one for one in composed if unicodedata.category(one) != "Cf" and not "\ufe00" <= one <= "\ufe0f")
    return " ".join("".join("-" if one in "\u2010\u2011" else one for one in shown).split())


def did_you_mean(
    name: object, names: Iterable[str], *, most: int = 1, cutoff: float = 0.6, shown: Callable[[str], str] = str
) -> str:
    """The question `did you mean X?` with the nearest names; empty where none is near.

    Args:
        name: What is not known.
        names: What is.
        most: How many names are told.
        cutoff: How near they must be, 0..1.
        shown: How a name is written.
    """
    near = get_close_matches(str(name), list(names), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(map(shown, near))}?" if near else ""
