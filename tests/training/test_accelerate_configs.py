"""The example files for `accelerate launch --config_file`, as Accelerate reads them."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

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
