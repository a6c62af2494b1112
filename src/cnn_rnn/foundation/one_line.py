"""Errors that a person reads in one line, whatever names and values the input that they quote holds."""

from collections.abc import Iterator
from contextlib import contextmanager


def visible(text: str) -> str:
    """A text without what could rule a terminal or turn its words around, as file names and labels may hold it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Line breaks in a `ValueError` or `OSError` of the body, or of the decorated function, become visible escapes."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.args = tuple(visible(told) if isinstance(told, str) else told for told in error.args)
        raise
