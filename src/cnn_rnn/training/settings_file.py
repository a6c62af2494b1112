"""Settings as text, which may come from anybody: a YAML file of plain values, each said once, or a command line."""

import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from cnn_rnn.foundation.broken_files import reason

MARK = re.compile(r"[\s,;|/+&:#]+")  # a value that YAML would take for its own mark, such as a separator
NULLS = {"", "~", "null", "Null", "NULL"}  # as YAML writes it
IN_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list, such as '[cat, dog]'",
    dict: "pairs, such as '{kitten: cat}'",
}
MOST_SETTINGS = 100_000  # with all repetitions written out; ten thousand class names are the most that is known


class RunConfigError(ValueError):
    """A run's settings name a key or a value that cannot be; the message says which, and the way out."""


class _OnceEach(yaml.SafeLoader):
    """Plain values; a key that comes twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; an error where a key comes twice, of which only the last would count."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands there twice", key.start_mark)
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def parse_yaml(text: str) -> Any:
    """What a YAML text says in plain values.

    Raises:
        ValueError: It says none, or one of them twice.
    """
    try:
        return yaml.load(text, _OnceEach)  # noqa: S506 - a SafeLoader
    except Exception as error:  # the library trusts what a tag says of the value after it
        raise ValueError(reason(error)) from error


def read_settings(path: Path, holding: str = "the blocks model, data, train and hub") -> dict[str, Any]:
    """The mapping that a YAML file, or one of JSON, holds; an empty one where it is empty.

    Args:
        path: The file.
        holding: What it must hold, in words.

    Raises:
        RunConfigError: It is no YAML, no mapping, says something twice, or unfolds to far too much.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunConfigError(f"{path} is no readable YAML: {error}") from error
    if not isinstance(content or {}, dict):
        raise RunConfigError(f"{path} must hold {holding}, got {type(content).__name__}")
    _check_extent(path, content)
    return content or {}


def _check_extent(path: Path, content: Any) -> None:
    """Refuse what repeats itself (`*name`) until it is far too much, or for ever."""
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count + len(waiting) > MOST_SETTINGS:
            raise RunConfigError(
                f"{path} unfolds to more than {MOST_SETTINGS:,} values; write out what it repeats with '*'"
            )
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | set | tuple):
            waiting += value


def value_of(text: str, hint: Any) -> Any:
    """What a text of the command line means where a value of this type is wanted.

    For a name or a path it is what it says, a folder called 2012 or `Rome: May #2` too, for all else YAML. Quotes
    within the text, as YAML sets them, do not count.

    Raises:
        ValueError: The text cannot be read.
    """
    if (wanted(hint) == [str] and text not in NULLS and text[0] not in "'\"") or MARK.fullmatch(text):
        return text
    value = parse_yaml(text)
    if isinstance(value, dict) and any(own is None and ":" in str(key) for key, own in value.items()):
        raise ValueError("a blank belongs behind each colon, as in '{kitten: cat}'")
    return value


def coerce(value: Any, hint: Any) -> Any:
    """What was meant where YAML reads something else: `1e-4` or `1` for a float, a bare `no` for the word."""
    if value is False and "no" in get_args(hint):
        return "no"
    if float in wanted(hint) and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def expected(hint: Any) -> str:
    """The values of a type, in words."""
    told = [get_args(one) if get_origin(one) is Literal else [IN_WORDS[get_origin(one) or one]] for one in wanted(hint)]
    return " or ".join(str(one) for group in told for one in group)


def wanted(hint: Any) -> list[Any]:
    """The types of a union, or the one type, without None."""
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return [one for one in members if one is not NoneType]
