"""Values of a run's settings: what a command line means by a text, and what is expected in place of another one."""

import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from .settings_file import parse_yaml

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


def value_of(text: str, hint: Any) -> Any:
    """What a text of the command line means where a value of this type is wanted.

    For a name or a path it is what it says, a folder called 2012 or `Rome: May #2` too, for all else YAML. Quotes
    within the text, as YAML sets them, do not count.

    Raises:
        ValueError: The text cannot be read.
    """
    if (wanted(hint) == [str] and text not in NULLS and text[0] not in "'\"") or MARK.fullmatch(text):
        return text
    return parse_yaml(text)


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
