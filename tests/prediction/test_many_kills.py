"""Many random kills of bulk prediction."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands_by_name import ROOT


@pytest.mark.slow
def test_forty_kills_lose_double_and_mix_nothing(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kill_many.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "40"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["kills"] == 40
    for name in ("lost", "doubled", "of_another_job", "wrong_exit"):
        assert counts[name] == 0, counts
    assert counts["left_over"] == []
