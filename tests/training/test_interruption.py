"""Runs that are killed, stopped, or fill the disk, as processes of their own."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMPARED = ("model.safetensors", "config.json", "history.jsonl", "metrics.json", "preprocessor_config.json")

Settings = Callable[..., list[str]]


def saved(output_dir: Path) -> set[str]:
    """What checkpoints there are, whole or not."""
    return {path.name for path in output_dir.glob("checkpoints/step-*")}


def wait_for(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Wait for what a process does; what has not come after five minutes never comes, and its log says where it is."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, log and log.read_text()
        time.sleep(0.002)


def assert_same_runs(one: Path, other: Path) -> None:
    for name in COMPARED:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert not [path for path in other.rglob("*") if path.name.endswith(".tmp") or path.name.startswith(".saving")]


ALL_OPTIONS = {
    "train__accumulation_steps": 2,
    "train__ema_decay": 0.9,
    "train__mixup": 0.4,
    "train__cutmix": 1.0,
    "train__label_smoothing": 0.1,
    "train__schedule": "one_cycle",
    "train__freeze_epochs": 2,
    "train__num_workers": 1,
    "data__rand_augment": 5,
}


@pytest.mark.parametrize(
    ("changes", "at_least"),
    [
        pytest.param({}, 12, id="plain", marks=pytest.mark.slow),
        pytest.param(ALL_OPTIONS, 12, id="all options", marks=pytest.mark.slow),
        pytest.param(ALL_OPTIONS | {"train__epochs": 5}, 4, id="all options, a few times"),
    ],
)
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(
    forked: Any, settings: Settings, tmp_path: Path, changes: dict[str, Any], at_least: int
) -> None:
    changes = {"train__epochs": 10, "train__save_steps": 1} | changes
    assert forked.train(settings(tmp_path / "whole", **changes), tmp_path / "whole.log") == 0
    moments = random.Random(len(changes))  # noqa: S311 - chooses moments, keeps no secret
    log = tmp_path / "killed.log"
    kills = runs = 0
    while kills < at_least:
        runs += 1
        output_dir, code = tmp_path / f"killed-{runs}", -signal.SIGKILL
        arguments = [*settings(output_dir, **changes), "--resume=auto"]
        while code == -signal.SIGKILL:
            before = saved(output_dir)
            process = forked.start(arguments, log)
            if kills < at_least and kills % 3:  # some time after a new step, so that the run comes to an end
                wait_for(lambda: bool(saved(output_dir) - before) or forked.ended(process), log)  # noqa: B023
                time.sleep(moments.uniform(0, 0.1))
            elif kills < at_least:
                time.sleep(moments.uniform(0, 0.6))
            if kills < at_least:
                os.killpg(process, signal.SIGKILL)
            code = forked.wait(process)
            kills += code == -signal.SIGKILL
        assert code == 0, log.read_text()
        assert_same_runs(tmp_path / "whole", output_dir)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves_with_a_code_of_its_own(
    forked: Any, settings: Settings, tmp_path: Path, number: int, code: int
) -> None:
    changes = {"train__epochs": 20, "train__num_workers": 1}
    process = forked.start(settings(tmp_path / "run", **changes), tmp_path / "log")
    wait_for(lambda: bool(saved(tmp_path / "run")), tmp_path / "log")
    os.killpg(process, number)  # the processes that load images get it too, as on a cluster or from a terminal
    assert forked.wait(process) == code
    log = (tmp_path / "log").read_text()
    assert "--resume auto" in log
    assert "Traceback" not in log
    newest = max(path for path in saved(tmp_path / "run"))
    assert newest in log
    assert (tmp_path / "run" / "curves.png").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_second_signal_leaves_at_once(forked: Any, settings: Settings, tmp_path: Path) -> None:
    process = forked.start(settings(tmp_path / "run", train__epochs=20), tmp_path / "log")
    wait_for(lambda: bool(saved(tmp_path / "run")), tmp_path / "log")
    os.kill(process, signal.SIGSTOP)  # so that both are there before the run can look
    before = saved(tmp_path / "run")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        os.kill(process, number)
    assert forked.wait(process) in {130, 143}
    assert {name for name in saved(tmp_path / "run") if not name.endswith(".tmp")} <= before
    assert "saved" not in (tmp_path / "log").read_text()


ONE_PROCESS = ["--cpu", "--num_processes=1"]
TWO_PROCESSES = ["--multi_gpu", "--num_processes=2"]  # on the CPU, as ACCELERATE_USE_CPU says


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launch", "number", "code"),
    [(ONE_PROCESS, signal.SIGTERM, -signal.SIGTERM), (TWO_PROCESSES, signal.SIGINT, 1)],
    ids=["one process", "two processes"],
)
def test_a_signal_to_the_launcher_saves_and_leaves_no_process(
    settings: Settings, tmp_path: Path, launch: list[str], number: int, code: int
) -> None:
    """The launcher is told alone: that of one process dies and passes nothing on, that of several passes it on."""
    variables = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch, f"--main_process_port={free_port()}"]
    run = subprocess.Popen(
        [*command, str(ROOT / "scripts" / "train.py"), *settings(tmp_path / "run", train__epochs=400)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: bool(saved(tmp_path / "run")) or run.poll() is not None)
    run.send_signal(number)
    log, _ = run.communicate(timeout=300)  # the pipe ends with the last process that could write into it
    assert run.returncode == code, log
    newest = max(saved(tmp_path / "run"))
    assert f"{newest}, go on with --resume auto" in log
    assert not newest.endswith(".tmp")
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_run_stopped_again_and_again_ends_as_if_it_had_not_been(
    forked: Any, settings: Settings, tmp_path: Path
) -> None:
    changes = {"train__epochs": 5, "train__ema_decay": 0.9}
    assert forked.train(settings(tmp_path / "whole", **changes), tmp_path / "whole.log") == 0
    moments = random.Random(1)  # noqa: S311 - chooses moments, keeps no secret
    codes = []
    while 0 not in codes:
        before = saved(tmp_path / "run")
        process = forked.start([*settings(tmp_path / "run", **changes), "--resume=auto"], tmp_path / "log")
        wait_for(lambda: bool(saved(tmp_path / "run") - before) or forked.ended(process), tmp_path / "log")  # noqa: B023
        time.sleep(moments.uniform(0, 0.05))
        os.kill(process, signal.SIGTERM)
        codes.append(forked.wait(process))
    assert codes.count(143) >= 3
    assert set(codes) == {0, 143}
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_a_full_disk_leaves_the_last_checkpoint_whole(forked: Any, settings: Settings, tmp_path: Path) -> None:
    changes = {"train__epochs": 10}
    assert forked.train(settings(tmp_path / "whole", **changes), tmp_path / "whole.log") == 0
    process = forked.start(settings(tmp_path / "run", **changes), tmp_path / "log")
    wait_for(lambda: any(not name.endswith(".tmp") for name in saved(tmp_path / "run")), tmp_path / "log")
    resource.prlimit(process, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # no larger file can be written
    assert forked.wait(process) == 2
    last_line = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert last_line.startswith(f"error: could not write into {tmp_path / 'run'}: ")
    assert "--resume auto" in last_line
    assert saved(tmp_path / "run")
    assert not [name for name in saved(tmp_path / "run") if name.endswith(".tmp")]
    assert forked.train([*settings(tmp_path / "run", **changes), "--resume=auto"], tmp_path / "log") == 0
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_two_processes_train_what_one_does(forked: Any, settings: Settings, tmp_path: Path) -> None:
    """No batch statistics and no dropout: these alone see a process's half of the batch."""
    from safetensors.torch import load_file

    changes = {
        "model__backbone": "test_convnext",
        "model__projection_dropout": 0.0,
        "train__optimizer": "sgd",
        "train__lr": 0.01,
        "train__freeze_epochs": 1,
        "train__epochs": 3,
        "train__accumulation_steps": 1,
    }
    assert forked.train(settings(tmp_path / "one", **changes), tmp_path / "one.log") == 0
    processes = forked.start_two(settings(tmp_path / "two", **changes), tmp_path / "log")
    codes = [forked.wait(process) for process in processes]
    assert codes == [0, 0], (tmp_path / "log.0").read_text() + (tmp_path / "log.1").read_text()
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["processes"] == 2
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        assert (tensor - two[name]).abs().max() <= 1e-5 * max(1.0, float(tensor.abs().max())), name
    histories = [
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for record, other in zip(*histories, strict=True):
        assert record == pytest.approx(other, rel=1e-4)
    figures = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert figures[0]["mAP"] == pytest.approx(figures[1]["mAP"], rel=1e-4)
    assert figures[0]["counts"] == figures[1]["counts"]
    for kind in ("path", "threshold", "top_k"):
        for key in ("CP", "CR", "CF1", "OP", "OR", "OF1"):
            assert figures[0][kind][key] == pytest.approx(figures[1][kind][key], rel=1e-4), (kind, key)


def free_port() -> int:
    import socket

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
