"""JSON from outside, in which an object may not say something twice: it could mean either."""

import json
from collections import Counter
from typing import Any


def read_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: It is none (`json.JSONDecodeError`), an object has a name twice, or a number more digits than any.
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
