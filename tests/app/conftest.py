"""A small model behind the page, and photos to label."""

from pathlib import Path

import pytest
from PIL import Image
from tests.finished_runs import write_run

from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.prediction import SavedModel


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    """A model of random weights that knows four labels, one of them with a tag in its name."""
    return Tagger(SavedModel.load(write_run(tmp_path_factory.mktemp("tagged") / "run", fusion="path")))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (60 + 10 * index, 50), colour).save(folder / f"{index}.jpg")
    return folder
