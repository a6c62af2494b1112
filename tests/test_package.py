"""What holds for the package as a whole."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import cnn_rnn


def modules() -> list[ModuleType]:
    """Every module of the package."""
    names = [info.name for info in pkgutil.walk_packages(cnn_rnn.__path__, "cnn_rnn.")]
    return [cnn_rnn, *map(importlib.import_module, names)]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_public_name_says_what_it_is(module: ModuleType) -> None:
    own = [
        value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    documented = [module, *(value for value in own if inspect.isfunction(value) or inspect.isclass(value))]
    assert [value.__name__ for value in documented if not inspect.getdoc(value)] == []
