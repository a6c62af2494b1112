"""An installation of the package without torch: the model in the box labels photos."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from cnn_rnn.foundation.shipped_files import PLACES, bundled_model

# What prediction by a graph needs, as the README says.
NEEDED = ("onnxruntime", "pillow", "pyarrow", "safetensors", "huggingface-hub", "lazy-loader", "filelock", "tqdm")


@pytest.mark.slow
def test_the_package_labels_photos_where_torch_was_never_installed(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    checkout = PLACES[1]
    for arguments in (["--no-deps", str(checkout)], list(NEEDED)):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True, cwd=tmp_path)
    photo = str(bundled_model() / "example.jpg")
    command = [str(tmp_path / "env" / "bin" / "cnn-rnn"), "predict", "--input", photo]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "example.jpg: cat 1.00" in printed.stdout
    subprocess.run([*command, "--output", "out", "--write", "csv"], check=True, cwd=tmp_path)
    assert (tmp_path / "out" / "labels.parquet").is_file()
    assert subprocess.run([python, "-c", "import torch"], check=False, capture_output=True).returncode
    code = "import sys; from cnn_rnn import CnnRnnOnnx; CnnRnnOnnx.from_pretrained(sys.argv[1])(sys.argv[2])"
    subprocess.run([python, "-c", code, str(bundled_model()), photo], check=True, cwd=tmp_path)
    assert sys.executable != python
