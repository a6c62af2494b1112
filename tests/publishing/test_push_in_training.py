"""Checkpoints that training pushes as it goes, through a Hub on this machine and the real client."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file
from tests.commands_by_name import main_of
from tests.loopback_hub import CUT, LoopbackHub
from transformers import AutoModel

from cnn_rnn.publishing.push import push_checkpoint

NAME = "org/cnn-rnn-photos"
Settings = Callable[..., list[str]]


def train(settings: Settings, folder: Path) -> None:
    """Three epochs, each pushed."""
    options = {"train__epochs": 3, "hub__repo": NAME, "hub__private": "true", "hub__push_checkpoints": "true"}
    assert main_of("train")(settings(folder, **options)) == 0


def test_each_epoch_is_a_commit_that_loads(settings: Settings, hub: LoopbackHub, tmp_path: Path) -> None:
    train(settings, tmp_path / "run")
    repo = hub.repo(NAME)
    assert repo.private
    assert [message for message in repo.messages if message != "initial commit"] == [
        f"Training, step {step}" for step in (3, 6, 9)
    ]
    assert set(repo.files("main")) == {".gitattributes"}
    pushed = [files for files in repo.commits.values() if "model.safetensors" in files]
    assert len({files["model.safetensors"] for files in pushed}) == 3
    model = AutoModel.from_pretrained(NAME, revision="training")
    last = load(repo.files("training")["model.safetensors"])
    assert all(torch.equal(tensor, last[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("pattern", "fault"), [("/commit/", 500), ("PUT /lfs/", CUT)])
def test_a_push_that_fails_is_told_and_training_goes_on(
    pattern: str,
    fault: int,
    settings: Settings,
    hub: LoopbackHub,
    tmp_path: Path,
    *,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(settings, tmp_path / "whole")
    hub.repos.clear()
    hub.objects.clear()
    # all that the client tries again for the first epoch fails
    pushes = []

    def first_fails(*arguments: Any, **options: Any) -> Any:
        pushes.append(arguments)
        hub.faults = {pattern: fault} if len(pushes) == 1 else {}
        return push_checkpoint(*arguments, **options)

    monkeypatch.setattr("cnn_rnn.training.loop.push_checkpoint", first_fails)
    caplog.clear()
    train(settings, tmp_path / "run")
    told = [record.message for record in caplog.records if "stays at home" in record.message]
    assert len(told) == 1
    assert f"{NAME} was not published" in told[0]
    assert [message for message in hub.repo(NAME).messages if message.startswith("Training")] == [
        "Training, step 6",
        "Training, step 9",
    ]
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
