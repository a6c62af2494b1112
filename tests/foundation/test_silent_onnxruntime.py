"""What labels photos tells nobody of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnn_rnn.foundation.shipped_files import PLACES, bundled_model
from cnn_rnn.foundation.silent_onnxruntime import SILENT

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("given", [None, "0"])
def test_the_engine_is_loaded_silent_unless_the_environment_says_otherwise(given: str | None) -> None:
    load = "from cnn_rnn.foundation.silent_onnxruntime import load_onnxruntime; load_onnxruntime()"
    code = f"{load}; import os; print(os.environ['{SILENT}'])"
    environment = {name: value for name, value in os.environ.items() if name != SILENT}
    environment |= {} if given is None else {SILENT: given}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == (given or "1")


def test_a_labelled_photo_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != SILENT}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    photo = str(bundled_model() / "example.jpg")
    command = [sys.executable, "-m", "cnn_rnn.commands.cli", "predict", "--input", photo]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=PLACES[1])
    assert "cat" in run.stdout
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_nothing_else_imports_the_engine() -> None:
    sources = [path for path in (PLACES[1] / "src").rglob("*.py") if path.name != "silent_onnxruntime.py"]
    assert not [path.name for path in sources if "import onnxruntime\n" in path.read_text(encoding="utf-8")]
