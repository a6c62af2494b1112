"""What the tests of training share."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def forked_runs() -> Iterator[Any]:
    """Runs as processes of their own."""
    spec = importlib.util.spec_from_file_location("forked_runs", Path(__file__).with_name("forked_runs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    runs = module.ForkedRuns()
    yield runs
    runs.close()
