"""The command that the page prints: it trains on what was accepted, and looks at no photo that the page has seen."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.finished_runs import write_run

from cnn_rnn.app.training_set import write_training_set
from cnn_rnn.learning.album import Album
from cnn_rnn.learning.eyes import Eyes
from cnn_rnn.learning.journal import Step
from cnn_rnn.prediction import SavedModel
from cnn_rnn.training import Trainer, feature_cache, load_run_config

PHOTOS = 20


@pytest.fixture
def printed(tmp_path: Path) -> Callable[[], list[str]]:
    """What the page prints, as often as it is asked to, once twenty photos were seen and accepted."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    labels = {f"{index}.jpg": ["red", "blue"][index % 2] for index in range(PHOTOS)}
    for name, label in labels.items():
        colour = np.array([200, 40, 40] if label == "red" else [40, 40, 200])
        pixels = (colour + draw.integers(-30, 30, (700, 900, 3))).astype(np.uint8)  # larger than what is shown
        Image.fromarray(pixels).save(folder / name)
    saved = SavedModel.load(write_run(tmp_path / "start"))
    album = Album(Eyes(saved, knows=False), {name: folder / name for name in labels}, folder)
    album.look_around(threading.Event())
    album.step(Step({name: {label: True} for name, label in labels.items()}, dict.fromkeys(labels, True)))
    return lambda: shlex.split(write_training_set(folder, album.photos, album.known, saved.name))


def test_it_finds_all_features_that_the_page_saw(
    printed: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = printed()

    def looks_again(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(feature_cache, "extract_features", looks_again)
    trainer = Trainer(load_run_config(command[3], [*command[4:], "--train.num_workers", "0"]))
    features = trainer.train_loader.dataset.features
    monkeypatch.undo()
    plain = ["--train.output_dir", str(tmp_path / "plain" / "run"), "--train.num_workers", "0"]
    expected = Trainer(load_run_config(command[3], [*command[4:], *plain])).train_loader.dataset.features
    np.testing.assert_allclose(features, expected, atol=1e-4 * expected.std())
    assert len(features) == PHOTOS


@pytest.mark.slow
def test_it_trains_as_it_is_printed_and_again(printed: Callable[[], list[str]], tmp_path: Path) -> None:
    for run, features in (("run1", "as the page saw them, from"), ("run2", "from")):
        done = subprocess.run(
            [sys.executable, "-m", "cnn_rnn.commands.cli", *printed()[1:]],
            check=False, capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"image features {features} {tmp_path / 'my photos' / '.cnn-rnn' / 'features'}" in done.stdout
        assert SavedModel.load(tmp_path / "my photos" / ".cnn-rnn" / run).model.config.label_names == ["blue", "red"]
