"""Which name was probably meant by one that is not known."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches


def did_you_mean(
    name: object,
    names: Iterable[str],
    *,
    most: int = 1,
    cutoff: float = 0.6,
    shown: Callable[[str], str] = str,
    front: str = "",
    otherwise: str = "",
) -> str:
    """The question `did you mean X?` with the nearest names.

    Args:
        name: What is not known.
        names: What is.
        most: How many names are told.
        cutoff: How near they must be, 0..1.
        shown: How a name is written.
        front: What stands before the question.
        otherwise: What is said where no name is near.
    """
    near = get_close_matches(str(name), list(names), n=most, cutoff=cutoff)
    return f"{front}did you mean {' or '.join(map(shown, near))}?" if near else otherwise
