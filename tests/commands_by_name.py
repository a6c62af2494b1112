"""The commands as functions, for tests that run them in their own process; and a process without the package."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Runs before everything else in a process that must do without the package.
WITHOUT_PACKAGE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cnn_rnn":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
try:
    import cnn_rnn
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package can be imported here, so this shows nothing")
"""


def main_of(name: str) -> Callable[[list[str]], int]:
    """The main function of a command."""
    main: Callable[[list[str]], int] = import_module(f"cnn_rnn.commands.{name}").main
    return main
