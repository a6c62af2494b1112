"""JSON from outside: one reader of values and one of lines, in which nothing is said twice."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: It is none (`json.JSONDecodeError`), an object has a name twice, which could mean either, or a
            number more digits than any.
        RecursionError: It is nested too deep.
    """
    return json.loads(text, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError where a name comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice!r} stands there twice")
    return found


def read_json_lines(path: Path, expected: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, counted from 1, and object of each line of a UTF-8 file but blank ones.

    Args:
        path: The file.
        expected: Such a line, for messages.

    Raises:
        ValueError: A line holds anything else; it is named.
        OSError: The file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    yield from objects_of_lines(text, path, expected)


def objects_of_lines(text: str, path: Path, expected: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `read_json_lines`, of the file's text."""
    for number, line in enumerate(text.split("\n"), start=1):  # a name may hold U+2028, at which `splitlines` parts
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        except RecursionError as error:
            raise ValueError(f"{path}, line {number} is nested too deep to be a row") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected an object such as {expected}")  # noqa: TRY004
        yield number, row
