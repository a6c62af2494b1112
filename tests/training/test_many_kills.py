"""Many random kills of a training run on two processes: it ends as the one that nobody killed, to the last bit.

A kill comes after a share of the processor time that the whole run took: a busy or sleeping machine does not move it.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

KILLS = 20


@pytest.mark.slow
def test_twenty_kills_change_nothing(forked: Any, settings: Callable[..., list[str]], tmp_path: Path) -> None:
    changes = {"train__epochs": 6, "train__save_steps": 1}
    whole = forked.start_two(settings(tmp_path / "whole", **changes), tmp_path / "whole")
    took = 0.0
    while not all(forked.ended(process) for process in whole):
        took = max(took, worked(whole))
        time.sleep(0.05)
    assert [forked.wait(process) for process in whole] == [0, 0], (tmp_path / "whole.0").read_text()

    chance = random.Random(0)  # noqa: S311 - moments to kill at
    resume = [*settings(tmp_path / "run", **changes), "--resume", "auto"]
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        processes = forked.start_two(resume, tmp_path / "run-log")
        until = took * chance.uniform(0.05, 1.0)
        while worked(processes) < until and not all(forked.ended(process) for process in processes):
            time.sleep(0.005)
        for process in processes:  # the machine goes, not one process
            if not forked.ended(process):
                os.kill(process, signal.SIGKILL)
        codes = [forked.wait(process) for process in processes]
        assert all(code in {0, -signal.SIGKILL} for code in codes), (tmp_path / "run-log.0").read_text()
        kills += -signal.SIGKILL in codes
        if codes == [0, 0]:  # done: the next kills are another run's
            same(tmp_path)
            (tmp_path / "run").rename(tmp_path / f"done-{rounds}")
    last = forked.start_two(resume, tmp_path / "run-log")
    assert [forked.wait(process) for process in last] == [0, 0], (tmp_path / "run-log.0").read_text()
    same(tmp_path)


def worked(processes: list[int]) -> float:
    """Seconds that the processors gave to processes that were not waited for yet."""
    return sum(sum(psutil.Process(process).cpu_times()[:2]) for process in processes)


def same(folder: Path) -> None:
    """The weights are those of the run that nobody killed."""
    expected, got = (load_file(folder / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    lines = [(folder / name / "history.jsonl").read_text() for name in ("whole", "run")]
    assert lines[0] == lines[1]
