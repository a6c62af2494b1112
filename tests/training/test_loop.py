"""Whole runs in this process: what each setting changes, and what it must not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.training import RunConfigError, Trainer, TrainingError, load_run_config

Settings = Callable[..., list[str]]
SAME_EVERYWHERE: dict[str, Any] = {
    "model__backbone": "test_convnext",
    "model__projection_dropout": 0.0,
    "train__optimizer": "sgd",
}


def train(settings: Settings, output_dir: Path, **changes: Any) -> Trainer:
    trainer = Trainer(load_run_config(None, settings(output_dir, **changes)))
    trainer.train()
    return trainer


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return load_file(trainer.output_dir / "model.safetensors")


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    for name, tensor in one.items():
        assert (tensor - other[name]).abs().max() <= tolerance * max(1.0, float(tensor.abs().max())), name


def test_a_step_is_the_same_whole_in_parts_checkpointed_or_in_another_layout(
    settings: Settings, tmp_path: Path
) -> None:
    whole = weights(train(settings, tmp_path / "whole", **SAME_EVERYWHERE))
    others: dict[str, dict[str, Any]] = {
        "parts": {"train__accumulation_steps": 3},
        "checkpointed": {"train__gradient_checkpointing": "true"},
        "channels_last": {"train__channels_last": "true"},
    }
    for name, changes in others.items():
        assert_close(whole, weights(train(settings, tmp_path / name, **(SAME_EVERYWHERE | changes))))
    different = weights(train(settings, tmp_path / "smaller", **(SAME_EVERYWHERE | {"train__batch_size": 3})))
    with pytest.raises(AssertionError):
        assert_close(whole, different)


def test_the_running_average_is_what_is_measured_and_saved(settings: Settings, tmp_path: Path) -> None:
    trainer = train(settings, tmp_path / "run", train__ema_decay=0.9, train__epochs=1)
    assert trainer.average is not None
    average, last = trainer.average.module.state_dict(), trainer.plain_model.state_dict()
    saved = weights(trainer)
    assert all(torch.equal(tensor, average[name]) for name, tensor in saved.items())
    assert not torch.equal(saved["relevance_head.weight"], last["relevance_head.weight"])


def test_a_backbone_frozen_for_a_while_moves_afterwards(settings: Settings, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Watched(Trainer):
        def _train_epoch(self) -> None:
            super()._train_epoch()
            state = self.plain_model.backbone.state_dict()
            seen.append({name: tensor.clone() for name, tensor in state.items()})

    changes = {"train__freeze_epochs": 2, "train__epochs": 3}
    Watched(load_run_config(None, settings(tmp_path / "run", **changes))).train()
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in seen[0].items())  # batch statistics too
    assert not all(torch.equal(tensor, seen[2][name]) for name, tensor in seen[1].items())


def test_training_ends_early_where_nothing_gets_better(settings: Settings, tmp_path: Path) -> None:
    changes = {"train__early_stopping": 2, "train__epochs": 30, "train__best_metric": "loss", "train__lr": 10.0}
    trainer = train(settings, tmp_path / "run", **(changes | {"train__optimizer": "sgd", "train__warmup": 0.0}))
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    best = min(history, key=lambda record: record["held_out_loss"])
    assert len(history) == best["epoch"] + 2 < 30
    assert trainer.progress.best_epoch == best["epoch"]


def test_a_loss_that_is_not_finite_stops_and_names_the_images(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(load_run_config(None, settings(tmp_path / "run", train__accumulation_steps=2)))
    objective, calls = trainer.objective, []

    def fails_later(model: Any, batch: dict[str, Any]) -> torch.Tensor:
        calls.append(batch)
        loss: torch.Tensor = objective(model, batch)
        return loss * float("nan") if len(calls) == 4 else loss

    monkeypatch.setattr(trainer, "objective", fails_later)
    before = trainer.plain_model.relevance_head
    assert isinstance(before, torch.nn.Linear)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2; its 6 images .*non_finite_loss.json"):
        trainer.train()
    assert before.weight.isfinite().all()
    written = json.loads((tmp_path / "run" / "non_finite_loss.json").read_text())
    assert (written["epoch"], written["step"], written["loss"]) == (1, 2, "nan")
    assert len(set(written["image_ids"])) == 6
    assert set(written["image_ids"]) <= set(trainer.data.train["image_id"])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_memory_that_runs_out_names_the_settings_to_turn(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    trainer = Trainer(load_run_config(None, settings(tmp_path / "run", train__accumulation_steps=2)))

    def fails(*_: Any) -> torch.Tensor:
        raise error

    monkeypatch.setattr(trainer, "objective", fails)
    with pytest.raises(TrainingError, match=r"out of memory.*accumulation_steps 4.*bf16.*gradient_checkpointing"):
        trainer.train()


def test_the_folder_of_a_run_tells_what_it_ran_on_and_draws_its_curves(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = train(settings, tmp_path / "run", train__trackers="auto")
    trainer.accelerator.end_training()
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["processes"] == 1
    assert environment["command"]
    assert Image.open(tmp_path / "run" / "curves.png").width > 100
    logged: dict[str, Any] = {}
    for file in (tmp_path / "run" / "tensorboard").rglob("events*"):
        events = EventAccumulator(str(file)).Reload()
        logged |= {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert [event.step for event in logged["train/loss"]] == list(range(1, 7))
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [event.value for event in logged["held_out/mAP"]] == pytest.approx([record["mAP"] for record in history])


@pytest.mark.parametrize("asked_by", ["settings", "launcher"])
def test_bf16_trains_and_saves_float32(forked: Any, settings: Settings, tmp_path: Path, asked_by: str) -> None:
    changes = {"train__mixed_precision": "bf16"} if asked_by == "settings" else {}
    variables = {"ACCELERATE_MIXED_PRECISION": "bf16"} if asked_by == "launcher" else {}
    arguments = settings(tmp_path / "run", train__epochs=1, **changes)
    assert forked.train(arguments, tmp_path / "log", **variables) == 0, (tmp_path / "log").read_text()
    model = CnnRnnForImageClassification.from_pretrained(tmp_path / "run")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["precision"] == "bf16"


def test_pushing_checkpoints_needs_a_repository(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(RunConfigError, match=r"needs hub\.repo"):
        load_run_config(None, settings(tmp_path / "run", hub__push_checkpoints="true"))
