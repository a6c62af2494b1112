"""What a person reads in a terminal, whatever names and values it quotes: one line, and nothing that rules it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

# Control signs but for tab and line ends, and those that turn words around.
RULING = [*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
SHOWN = {sign: chr(sign).encode("unicode_escape").decode("ascii") for sign in RULING}
MOVES = re.compile(r"(\n|\r|\x1b\[A)+")  # of progress bars, from line to line


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


class CalmStream:
    """A stream on which nothing rules the terminal."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, what would rule a terminal as visible escapes; returns how long it is."""
        self.stream.write(text if MOVES.fullmatch(text) else text.translate(SHOWN))
        return len(text)


@contextmanager
def calm_terminal() -> Iterator[None]:
    """What is printed and told in the body rules no terminal, whoever gave files and labels their names."""
    with redirect_stdout(CalmStream(sys.stdout)), redirect_stderr(CalmStream(sys.stderr)):
        yield
