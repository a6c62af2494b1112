"""The wheel, in an environment and a folder of its own: it trains, validates and predicts without a checkout.

The environment holds the libraries that the wheel asks for and what they ask for in turn, none besides. They are links
to those of this environment, which takes seconds and no room on the disk where copies take minutes and gigabytes.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.commands_by_name import ROOT

from cnn_rnn.foundation.shipped_files import PLACES

OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # which would hide the wheel
SMALL = [
    *("--model.backbone", "test_resnet", "--model.weights", "null", "--model.image_size", "32"),
    *("--train.epochs", "1", "--train.num_workers", "0", "--train.trackers", "none"),
]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


def asked_for(requirements: list[str], extras: set[str]) -> list[Distribution]:
    """The libraries of this environment that these requirements ask for, and those that each of them asks for."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    waiting = [(Requirement(text), extras) for text in requirements]
    while waiting:
        wanted, of = waiting.pop()
        key = wanted.name, frozenset(wanted.extras)
        if key in found or (wanted.marker and not any(wanted.marker.evaluate({"extra": name}) for name in {"", *of})):
            continue
        found[key] = distribution(wanted.name)
        waiting += [(Requirement(text), wanted.extras) for text in found[key].requires or []]
    return list(found.values())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment into which the wheel alone was installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)

    def pip(*arguments: str) -> None:
        command = [str(folder / "bin" / "python"), "-m", "pip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=OUTSIDE)
        assert done.returncode == 0, done.stdout + done.stderr

    pip("install", "--quiet", "--no-deps", str(wheel))
    packages = next(folder.glob("lib/python*/site-packages"))
    (own,) = Distribution.discover(name="cnn-rnn", path=[str(packages)])
    for library in asked_for(own.requires or [], {"demo"}):
        for name in {path.parts[0] for path in library.files or []} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(Path(sysconfig.get_paths()["purelib"]) / name)
    pip("check")
    return folder / "bin"


def test_it_trains_validates_and_predicts_where_no_checkout_is(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(installed / "cnn-rnn"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=OUTSIDE | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import cnn_rnn; print(cnn_rnn.__file__)"
    where = subprocess.run(
        [installed / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=OUTSIDE
    )
    assert Path(where.stdout.strip()).is_relative_to(installed.parent)
    images = json.loads(run("data", "look", "digits", "--output", "look") and (tmp_path / "look/look.json").read_text())
    half = images["splits"]["train"]["images"] // 2
    trained = run("train", "--config", "digits", "--train.output_dir", "run", "--train.batch_size", str(half), *SMALL)
    assert "held-out part, by path" in trained
    assert json.loads((tmp_path / "run" / "history.jsonl").read_text())["step"] == 2
    assert "top 3" in run("validate", "run", "--data.split", "test", "--samples", "0", "--output", "test")
    assert "4 images labelled" in run(
        "predict", "--model", "run", "--input", "digits:test", "--limit", "4", "--output", "out"
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels.parquet", "paths.png"}


def test_what_ships_is_there(installed: Path) -> None:
    package = next(installed.parent.glob("lib/python*/site-packages/cnn_rnn"))
    shipped = [*(ROOT / "hub_configs").rglob("*.*"), ROOT / "model_card.md"]
    assert all((package / path.relative_to(ROOT)).read_bytes() == path.read_bytes() for path in shipped)
    assert all(not (place / "hub_configs").exists() or place == ROOT for place in PLACES)
