"""The example files for `accelerate launch --config_file`, as Accelerate reads them."""

from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from tests.commands_by_name import main_of

from cnn_rnn.training import RunConfigError
from cnn_rnn.training.hardware import build_accelerator
from cnn_rnn.training.run_config import RunConfig, TrainConfig

FILES = sorted((Path(__file__).parents[2] / "hub_configs" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_knows_every_key_and_what_to_start(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert config.num_processes % config.num_machines == 0
    assert f"cnn-rnn train --launch {path.stem} " in path.read_text(encoding="utf-8")
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(path), "--main_process_ip", "127.0.0.1", "scripts/train.py"]
    )
    resolved, _, _ = _validate_launch_command(arguments)
    assert resolved.num_processes == config.num_processes
    known = set(vars(arguments))
    assert set(config.fsdp_config) | set(config.deepspeed_config) <= known


def test_there_is_one_for_each_way_to_spread_a_run() -> None:
    assert {path.stem for path in FILES} == {"one_gpu", "gpus", "machines", "fsdp", "deepspeed"}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine can do what is asked for")
@pytest.mark.parametrize("settings", ["fsdp", "deepspeed"])
def test_what_needs_gpus_is_refused_without_them(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_of("train")(["--launch", settings, "--config", "digits"]) == 2
    assert f"--launch {settings}: {settings.upper()} needs GPUs" in capsys.readouterr().err


FALLEN_BACK = {
    "FSDP": {"ACCELERATE_USE_FSDP": "true"},
    "DEEPSPEED": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_USE_CPU": "true"},
    "several processes": {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"},
}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine can do what is asked for")
@pytest.mark.parametrize("asked", FALLEN_BACK)
def test_one_plain_process_in_place_of_what_was_asked_for_is_noticed(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    # Where DeepSpeed is not installed Accelerate says so itself; where it is, it falls back here.
    monkeypatch.setattr("accelerate.accelerator.is_deepspeed_available", lambda: True)
    monkeypatch.setattr("accelerate.accelerator.compare_versions", lambda *_: False)
    config = RunConfig(train=TrainConfig(output_dir=str(tmp_path), trackers="none"))
    build_accelerator(config)
    for name, value in FALLEN_BACK[asked].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunConfigError, match=f"asked for {asked}"):
        build_accelerator(config)
