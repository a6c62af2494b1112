"""What the tests of training share."""

from collections.abc import Iterator

import pytest

from .forked_runs import ForkedRuns


@pytest.fixture(scope="session")
def forked_runs() -> Iterator[ForkedRuns]:
    """Runs as processes of their own."""
    runs = ForkedRuns()
    yield runs
    runs.close()
