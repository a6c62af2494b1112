"""Settings as YAML, which may come from anybody: plain values, each said once, and no more than settings are."""

from pathlib import Path
from typing import Any

import yaml

MOST_VALUES = 100_000  # with all repetitions written out; ten thousand class names are the most that is known


class SettingsFileError(ValueError):
    """A file of settings that cannot be read; the message names it and why."""


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
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError) as error:
        # the library trusts what a tag says of the value after it
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def read_settings(path: Path, holding: str = "the blocks model, data, train and hub") -> dict[str, Any]:
    """The mapping that a YAML file, or one of JSON, holds; an empty one where it is empty.

    Args:
        path: The file.
        holding: What it must hold, in words.

    Raises:
        SettingsFileError: It is no YAML, no mapping, says something twice, or unfolds to far too much.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsFileError(f"{path} is no readable YAML: {error}") from error
    if not isinstance(content or {}, dict):
        raise SettingsFileError(f"{path} must hold {holding}, got {type(content).__name__}")
    _check_extent(path, content)
    return content or {}


def _check_extent(path: Path, content: Any) -> None:
    """Refuse what repeats itself (`*name`) until it is far too much, or for ever."""
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count + len(waiting) > MOST_VALUES:
            raise SettingsFileError(
                f"{path} unfolds to more than {MOST_VALUES:,} values; write out what it repeats with '*'"
            )
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | set | tuple):
            waiting += value
