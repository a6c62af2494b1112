"""The commands as functions, for tests that run them in their own process."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main_of(name: str) -> Callable[[list[str]], int]:
    """The main function of a command."""
    main: Callable[[list[str]], int] = import_module(f"cnn_rnn.commands.{name}").main
    return main
