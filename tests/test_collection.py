"""Every process collects the same tests: their names hold no time, address, hash or random number."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_two_processes_a_second_apart_collect_the_same_tests() -> None:
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-m", "", "-p", "no:cacheprovider"]
    begun = []
    for seed in ("1", "2"):  # two of one second would agree on a name that holds the time
        environment = os.environ | {"PYTHONHASHSEED": seed}
        begun.append(subprocess.Popen(collect, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))
        time.sleep(1.5)
    told = [process.communicate(timeout=600)[0].splitlines() for process in begun]
    assert [process.returncode for process in begun] == [0, 0], told[0][-5:]
    one, other = ([line for line in lines if "::" in line] for lines in told)
    assert len(one) > 1000
    assert one == other
