"""The commands of scripts/ as functions, for tests that run them in their own process."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main_of(name: str) -> Callable[[list[str]], int]:
    """The main function of a script."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[list[str]], int] = module.main
    return main
