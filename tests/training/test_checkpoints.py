"""A checkpoint is used as it was written, by its own run, or not at all."""

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict_saver import save as save_spread

from cnn_rnn.foundation.folder_lock import LOCK, FolderInUseError, FolderLock
from cnn_rnn.training import RunConfigError, Trainer, TrainingError, load_run_config
from cnn_rnn.training.checkpoints import (
    MANIFEST,
    check_digests,
    complete_checkpoints,
    latest_whole_checkpoint,
    load_checkpoint,
    load_weights,
    save_weights,
    write_manifest,
)
from cnn_rnn.training.faults import CheckpointError, NonFiniteLossError
from cnn_rnn.training.resuming import own_settings

Settings = Callable[..., list[str]]


@pytest.fixture(scope="module")
def finished(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs with a checkpoint of each."""
    output_dir = tmp_path_factory.mktemp("checkpoints") / "run"
    Trainer(load_run_config(None, settings(output_dir))).train()
    return output_dir


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; its end is still to come."""
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    (copy / "metrics.json").unlink()
    return copy


def resumed(settings: Settings, output_dir: Path, resume: str = "auto", **changes: Any) -> Trainer:
    return Trainer(load_run_config(None, settings(output_dir, **changes)), resume)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {"cut off": cut_off, "flipped": flip, "gone": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "custom_checkpoint_1.pkl", MANIFEST])
def test_a_damaged_checkpoint_is_noticed(name: str, damage: str, run: Path) -> None:
    older, newer = complete_checkpoints(run)
    DAMAGE[damage](newer / name)
    found, damaged = latest_whole_checkpoint(run)
    assert found == older
    assert list(damaged) == [newer]
    assert name in str(damaged[newer])


def test_training_goes_back_to_the_last_whole_one_says_so_and_ends_the_same(
    run: Path, finished: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = complete_checkpoints(run)
    flip(newer / "model.safetensors")
    trainer = resumed(settings, run)
    said = capsys.readouterr().out
    assert f"{newer / 'model.safetensors'} is damaged: it is not what was written; going back to {older}" in said
    assert not newer.exists()
    trainer.train()
    check_digests(newer)
    expected, got = (load_file(folder / "model.safetensors") for folder in (finished, run))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_without_a_whole_checkpoint_there_is_a_way_out(run: Path, settings: Settings) -> None:
    for checkpoint in complete_checkpoints(run):
        cut_off(checkpoint / "optimizer.bin")
    with pytest.raises(CheckpointError, match=r"optimizer\.bin is damaged.*no other checkpoint.*Train anew"):
        resumed(settings, run)


def test_a_file_that_was_added_is_no_part_of_it(run: Path) -> None:
    newest = complete_checkpoints(run)[-1]
    (newest / "custom_checkpoint_9.pkl").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="does not belong"):
        check_digests(newest)


class Crafted:
    """What runs code where it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


def test_the_index_of_spread_tensors_is_read_and_nothing_else_in_its_place(tmp_path: Path) -> None:
    weights = {"weight": torch.ones(2, 3), "statistics": torch.zeros(3, dtype=torch.int64), "name": "a"}
    save_spread(weights, checkpoint_id=tmp_path, no_dist=True)
    accelerator: Any = SimpleNamespace(distributed_type=DistributedType.FSDP, load_state=lambda _: None)
    load_checkpoint(accelerator, tmp_path)
    proof = tmp_path / "executed"
    for index in (Crafted(proof), torch.load, os.system):
        (tmp_path / ".metadata").write_bytes(pickle.dumps(index))
        with pytest.raises(CheckpointError, match="holds more than tensors and plain values and is not loaded"):
            load_checkpoint(accelerator, tmp_path)
    assert not proof.exists()


RECORDS = {  # as DeepSpeed itself has them, but for the last
    "deepspeed.runtime.fp16.loss_scaler": ("DynamicLossScaler", "LossScaler"),
    "deepspeed.runtime.zero.config": ("ZeroStageEnum",),
    "deepspeed.utils.tensor_fragment": ("fragment_address", "Another"),
}


def test_the_records_of_deepspeed_are_read_in_its_runs_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", ModuleType("deepspeed"))
    for path, names in RECORDS.items():
        module = ModuleType(path)
        for name in names:
            setattr(module, name, type(name, (), {"__module__": path}))
        monkeypatch.setitem(sys.modules, path, module)
    file = tmp_path / "optimizer.pt"

    def run(kind: DistributedType) -> Any:
        return SimpleNamespace(distributed_type=kind, load_state=lambda _: torch.load(file, weights_only=False))

    for path, names in RECORDS.items():
        for name in names:
            torch.save({"weight": torch.ones(2), "record": getattr(sys.modules[path], name)()}, file)
            known = name != "Another"
            for kind in (DistributedType.DEEPSPEED, DistributedType.NO):
                with nullcontext() if known and kind == DistributedType.DEEPSPEED else pytest.raises(CheckpointError):
                    load_checkpoint(run(kind), tmp_path)
    proof = tmp_path / "executed"
    torch.save(Crafted(proof), file)
    with pytest.raises(CheckpointError, match="holds more than tensors and plain values"):
        load_checkpoint(run(DistributedType.DEEPSPEED), tmp_path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "name", ["custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl", "optimizer.bin", "random_states_0.pkl"]
)
@pytest.mark.parametrize("plain", [True, False])
def test_nothing_that_a_checkpoint_holds_is_run(
    name: str, plain: bool, run: Path, settings: Settings, tmp_path: Path
) -> None:
    newest = complete_checkpoints(run)[-1]
    proof = tmp_path / "executed"
    if plain:
        (newest / name).write_bytes(pickle.dumps(Crafted(proof)))
    else:
        torch.save(Crafted(proof), newest / name)
    write_manifest(newest, own_settings(load_run_config(None, settings(run))))  # whoever crafts one can do this too
    if name == "random_states_0.pkl":  # accelerate goes on without it, and so may we: nothing depends on it
        resumed(settings, run)
    else:
        with pytest.raises(CheckpointError, match="holds more than tensors and plain values and is not loaded"):
            resumed(settings, run)
    assert not proof.exists()


def test_a_checkpoint_of_another_run_is_refused_by_its_settings(run: Path, settings: Settings, tmp_path: Path) -> None:
    newest = complete_checkpoints(run)[-1]
    with pytest.raises(RunConfigError, match=r"is of another run: train\.lr \(was 0\.003, now 0\.5\)"):
        resumed(settings, tmp_path / "new", str(newest), train__lr=0.5)
    known = own_settings(load_run_config(None, settings(run)))
    del known["train.thresholds"], known["train.lr"]  # settings that came after this run: they had their default
    write_manifest(newest, known)
    with pytest.raises(RunConfigError, match=r"is of another run: train\.lr \(was 0\.0003, now 0\.003\)$|Resume"):
        resumed(settings, tmp_path / "new", str(newest))


def test_best_weights_that_are_gone_are_told_at_the_start(run: Path, settings: Settings, tmp_path: Path) -> None:
    best = run / "checkpoints" / "best.safetensors"
    newest = complete_checkpoints(run)[-1]
    with pytest.raises(CheckpointError, match=r"best\.safetensors is missing"):
        resumed(settings, tmp_path / "new", str(newest))  # the folder of another run, with the same settings
    content = best.read_bytes()
    for damage, message in (
        *((name, "damaged|cannot be read") for name in ("cut off", "flipped")),
        ("gone", "missing"),
    ):
        best.write_bytes(content)
        DAMAGE[damage](best)
        with pytest.raises(CheckpointError, match=rf"best\.safetensors (is )?{message}"):
            resumed(settings, run)


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 4).T, "b": torch.arange(5)}
    save_weights(weights, tmp_path / "w.safetensors")
    read = load_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    save_file({"a": torch.ones(2)}, tmp_path / "plain.safetensors")  # of an earlier version
    assert load_weights(tmp_path / "plain.safetensors")["a"].tolist() == [1, 1]


def test_two_trainings_in_one_folder_are_refused(run: Path, settings: Settings) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != LOCK}
    held = FolderLock(run / LOCK, "training").acquire()
    with pytest.raises(FolderInUseError, match="run is in use"):
        resumed(settings, run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != LOCK} == before
    held.release()
    trainer = resumed(settings, run)
    assert not FolderLock(run / LOCK, "training").try_acquire()
    trainer.train()
    assert FolderLock(run / LOCK, "training").try_acquire()


def test_a_loss_that_is_nan_for_the_weights_sake_is_not_blamed_on_the_learning_rate(
    settings: Settings, tmp_path: Path
) -> None:
    trainer = Trainer(load_run_config(None, settings(tmp_path / "run")))
    with torch.no_grad():
        next(trainer.plain_model.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(NonFiniteLossError, match="since weights are not finite numbers"):
        trainer.train()
    assert issubclass(NonFiniteLossError, TrainingError)
