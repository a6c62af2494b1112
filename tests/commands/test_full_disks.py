"""A disk that is full ends every command that writes with one line, and the same command goes on when there is room."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.commands_by_name import ROOT, main_of

from cnn_rnn.metrics.stored_predictions import collect_predictions, write_predictions


def test_validation_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = collect_predictions(list("abcdef"), ["x", "y"], torch.rand(6, 2), torch.eye(2).repeat(3, 1))
    write_predictions(tmp_path / "p.parquet", stored)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cnn_rnn.foundation.whole_files.os.fsync", fail)
    assert main_of("validate")([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "out"), "--samples", "0"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: could not write {tmp_path}/out/predictions.parquet: No space left on device")
    assert told.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which needs root")
def test_every_command_goes_on_from_a_full_disk(tmp_path: Path) -> None:
    script = Path(__file__).with_name("fill_disks.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "work"), "2"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    for command, found in counts.items():
        for trouble in ("not_one_line", "differs", "left_over"):
            assert found[trouble] == 0, (command, found)
