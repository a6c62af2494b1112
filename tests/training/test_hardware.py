"""Settings that meet the machine, and what is said where they do not fit it."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.training.hardware import (
    apply_memory_settings,
    build_accelerator,
    check_launcher,
    to_memory_format,
    tracker_names,
)
from cnn_rnn.training.run_config import RunConfig, TrainConfig, load_run_config
from cnn_rnn.training.settings_file import RunConfigError


def test_trackers_are_accelerates_names() -> None:
    assert tracker_names("none") == []
    assert set(tracker_names("auto")) <= {"tensorboard"}
    with pytest.raises(RunConfigError, match=r"no tracker 'tensorbaord'.*tensorboard.*wandb"):
        tracker_names("tensorbaord")


def test_a_tracker_that_is_missing_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_rnn.training.hardware.get_available_trackers", lambda: ["tensorboard"])
    assert tracker_names("auto") == ["tensorboard"]
    with pytest.raises(RunConfigError, match="wandb is not installed: pip install wandb"):
        tracker_names("tensorboard, wandb")
    monkeypatch.setattr("cnn_rnn.training.hardware.get_available_trackers", list)
    assert tracker_names("auto") == []


def test_a_batch_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunConfigError, match="batch_size 10 does not divide into accumulation_steps 4 parts"):
        load_run_config(None, ["--train.batch_size", "10", "--train.accumulation_steps", "4"])
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 4)
    config = RunConfig(train=TrainConfig(batch_size=6, accumulation_steps=2))
    with pytest.raises(RunConfigError, match=r"batch_size 6 does not divide among 4 processes x 2 acc.*multiple of 8"):
        build_accelerator(config)


def test_a_place_among_processes_without_the_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match=r"LOCAL_RANK=0 .* RANK, WORLD_SIZE.* for one process, unset LOCAL_RANK"):
        build_accelerator(RunConfig())


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    alone: Any = SimpleNamespace(distributed_type="NO", num_processes=1, device=torch.device("cpu"))
    with pytest.raises(RunConfigError, match=r"2 processes were started .* ACCELERATE_USE_CPU=true torchrun"):
        check_launcher(alone)


@pytest.mark.slow
def test_half_precision_that_a_cpu_cannot_compute_is_refused_before_anything_is() -> None:
    code = (
        "from types import SimpleNamespace; import torch; from cnn_rnn.training.hardware import check_bfloat16\n"
        "check_bfloat16(SimpleNamespace(mixed_precision='bf16', device=torch.device('cpu')))"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # as on a CPU of some years
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "RunConfigError: train.mixed_precision bf16: this CPU has no instructions" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.epochs", "0"], "epochs must be at least 1, got 0"),
        (["--train.lr", "-1"], "lr must be at least 0"),
        (["--train.ema_decay", "1"], "ema_decay must be from 0 to below 1"),
        (["--train.freeze_backbone", "true", "--train.freeze_epochs", "2"], "give one of them"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(RunConfigError, match=message):
        load_run_config(None, arguments)


def test_a_model_is_equipped_in_place_and_keeps_its_names() -> None:
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"])
    names = list(model.state_dict())
    config = TrainConfig(channels_last=True, gradient_checkpointing=True)
    apply_memory_settings(model, config)
    assert list(model.state_dict()) == names
    assert model.backbone.timm_model.grad_checkpointing
    convolutions = [module for module in model.backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in convolutions)
    batch = to_memory_format({"pixel_values": torch.zeros(2, 3, 8, 8)}, config)
    assert batch["pixel_values"].is_contiguous(memory_format=torch.channels_last)


def test_a_compiled_backbone_keeps_names_and_features() -> None:
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"]).eval()
    names, pixel_values = list(model.state_dict()), torch.randn(2, 3, 32, 32)
    expected = model.encode_images(pixel_values)
    calls: list[int] = []
    torch.compiler.reset()

    def backend(graph: torch.fx.GraphModule, _: object) -> Any:
        calls.append(len(graph.graph.nodes))
        return graph.forward

    compiled = model.backbone.compile
    model.backbone.compile = lambda: compiled(backend=backend)  # the real one needs a C++ compiler and a minute
    apply_memory_settings(model, TrainConfig(compile=True))
    torch.testing.assert_close(model.encode_images(pixel_values), expected)
    assert calls
    assert list(model.state_dict()) == names


def test_a_backbone_that_cannot_compute_again_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"])

    def refuse(enable: bool) -> None:
        assert not enable, "gradient checkpointing not supported"

    monkeypatch.setattr(model.backbone.timm_model, "set_grad_checkpointing", refuse)
    with pytest.raises(RunConfigError, match="test_resnet does not offer it"):
        apply_memory_settings(model, TrainConfig(gradient_checkpointing=True))
