"""`cnn-rnn train --launch`: accelerate's own launcher with settings that ship, and an end that can be read."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.commands_by_name import main_of

from cnn_rnn.commands.launching import split_arguments
from cnn_rnn.training.run_config import find_settings


def test_settings_are_the_commands_and_the_rest_is_the_launchers() -> None:
    given = ["--config", "digits", "--launch", "gpus", "--num_processes", "4", "--train.lr=1e-4", "--data.root", "x"]
    own, launcher = split_arguments([*given, "--main_process_ip=::1", "--resume", "auto"])
    assert own == ["--config", "digits", "--train.lr=1e-4", "--data.root", "x", "--resume", "auto"]
    assert launcher == ["--num_processes", "4", "--main_process_ip=::1"]


def test_a_bare_name_is_what_ships_and_a_path_is_a_file(tmp_path: Path) -> None:
    assert find_settings("gpus", "hub_configs/accelerate").name == "gpus.yaml"
    own = tmp_path / "own.yaml"
    own.write_text("{}")
    assert find_settings(str(own), "hub_configs/accelerate") == own
    with pytest.raises(
        FileNotFoundError, match=r"that ship \(deepspeed, fsdp, gpus, machines, one_gpu\); did you mean"
    ):
        find_settings("gpu", "hub_configs/accelerate")


@pytest.mark.parametrize("name", ["gpus", "machines", "fsdp", "deepspeed"])
def test_settings_that_share_out_gpus_are_refused_where_there_is_none(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    assert main_of("train")(["--launch", name, "--num_processes", "4"]) == 2
    assert f"error: --launch {name}: " in (told := capsys.readouterr().err)
    assert " needs GPUs, and this machine has none" in told


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "told"), [(1, "nowhere"), (2, "started a single one")])
def test_a_refused_run_ends_with_its_line(
    processes: int, told: str, settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    file = tmp_path / "cpu.yaml"
    kind = "NO" if processes == 1 else "MULTI_CPU"  # which accelerate starts as one, without a word
    launch = {"compute_environment": "LOCAL_MACHINE", "distributed_type": kind, "num_processes": processes}
    file.write_text(yaml.safe_dump(launch | {"use_cpu": True, "num_machines": 1, "main_process_port": 0}))
    command = [sys.executable, "-m", "cnn_rnn.commands.cli", "train", "--launch", str(file)]
    refused = subprocess.run(
        [*command, *settings(tmp_path / "run", train__epochs=1), "--data.root", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert refused.returncode == 2, refused.stderr
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
