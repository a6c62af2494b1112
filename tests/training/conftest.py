"""What the tests of training share."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SETTINGS: dict[str, Any] = {
    "model.backbone": "test_resnet",
    "model.image_size": 32,
    "model.crop_pct": 1.0,
    "model.hidden_size": 16,
    "model.embedding_size": 8,
    "data.name": "image_folder",
    "data.validation_fraction": 0.25,
    "train.epochs": 2,
    "train.batch_size": 6,
    "train.lr": 3e-3,
    "train.backbone_lr": 1.0,
    "train.num_workers": 0,
    "train.trackers": "none",
}


class Settings:
    """Command-line settings of small, quick runs on a folder of photos."""

    def __init__(self, photos: Path) -> None:
        self.photos = photos

    def __call__(self, output_dir: Path, **changes: Any) -> list[str]:
        """Arguments of `scripts/train.py`; `block__key=value` changes a setting."""
        settings = SETTINGS | {"data.root": self.photos, "train.output_dir": output_dir}
        settings |= {name.replace("__", "."): value for name, value in changes.items()}
        return [f"--{name}={value}" for name, value in settings.items()]


@pytest.fixture(scope="session")
def settings(photo_folder: Path) -> Settings:
    """Settings of small runs."""
    return Settings(photo_folder)


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
