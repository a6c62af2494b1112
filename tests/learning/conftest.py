"""Eyes of a small model of random weights, and photos in a folder."""

from pathlib import Path

import pytest
from PIL import Image
from tests.finished_runs import write_run

from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.prediction import SavedModel


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    """A model that knows four labels."""
    return SavedModel.load(write_run(tmp_path_factory.mktemp("eyes") / "run"))


@pytest.fixture
def eyes(saved: SavedModel) -> Eyes:
    """Eyes that start from nothing."""
    return Eyes(saved, knows=False)


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    """Six photos of one colour each."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        Image.new("RGB", (40, 30), (40 * index, 200 - 30 * index, 90)).save(folder / f"{index}.jpg")
    return {path.name: path for path in sorted(folder.iterdir())}
