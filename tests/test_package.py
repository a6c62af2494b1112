"""What holds for the package as a whole."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
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


def without_docstring(body: list[ast.stmt], place: str) -> Iterator[str]:
    """The classes, functions and methods of a body that say nothing of themselves."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_dunder = node.name.startswith("__") and node.name.endswith("__")
        is_overload = any(ast.unparse(one).rpartition(".")[2] == "overload" for one in node.decorator_list)
        if not is_dunder and not is_overload and not ast.get_docstring(node):
            yield f"{place}: {node.name}"
        if isinstance(node, ast.ClassDef):
            yield from without_docstring(node.body, f"{place}: {node.name}")


def test_every_function_has_a_docstring() -> None:
    package = Path(cnn_rnn.__path__[0])
    files = sorted(package.rglob("*.py"))
    trees = {file.relative_to(package).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}
    assert trees
    assert [name for place, tree in trees.items() for name in without_docstring(tree.body, place)] == []
