"""Which name was probably meant by one that is not known."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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


def check_arguments(given: Iterable[str], taken: Iterable[str]) -> None:
    """Refuse an argument that is not taken.

    Raises:
        TypeError: There is one; the message names the nearest that is, or all.
    """
    taken = list(taken)
    for name in given:
        if name not in taken:
            meant = did_you_mean(name, taken, otherwise=f"there are {', '.join(taken)}")
            raise TypeError(f"there is no argument {name!r}; {meant}")


def arguments_of(function: Callable[..., object]) -> list[str]:
    """The arguments that a function takes by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(function).parameters
    return [name for name, one in found.items() if one.kind in kinds and name != "self"]


def naming_nearest(*beside: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """A decorator of a function that others hand their own arguments on to: of one that is not taken it tells which is.

    Args:
        *beside: What those others take by themselves.
    """

    def decorated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        taken = arguments_of(function)

        @wraps(function)
        def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            check_arguments([name for name in kwargs if name not in taken], [*taken, *beside])
            return function(*args, **kwargs)

        return checked

    return decorated
