"""Several machines on one disk that shows files late, with clocks that differ: all go on alike, or none does."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from cnn_rnn.training import agreement, checkpoints
from cnn_rnn.training.agreement import UnlikeDataError, decided_by_main, refuse_other_views, wait_until_seen
from cnn_rnn.training.checkpoints import MANIFEST, check_digests, latest_whole_checkpoint, save_checkpoint, save_weights
from cnn_rnn.training.faults import CheckpointError
from cnn_rnn.training.feature_files import FEATURES, write_features

Settings = Callable[..., list[str]]
HOUR = 3600


@pytest.fixture
def late_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[float]]:
    """A clock that goes as fast as somebody waits, and what another machine does meanwhile, after a minute."""

    def build(arrives: Callable[[], Any]) -> list[float]:
        now = [0.0]

        def sleep(seconds: float) -> None:
            before, now[0] = now[0], now[0] + seconds
            if before < 60 <= now[0]:
                arrives()

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        return now

    return build


def test_a_file_that_is_shown_late_is_waited_for_and_told(
    tmp_path: Path, late_disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "manifest.json"
    now = late_disk(path.touch)
    wait_until_seen(path)
    assert now[0] == pytest.approx(60, abs=1)
    assert caplog.text.count(f"waiting until {path}") == 1
    wait_until_seen(path)  # at once
    assert now[0] == pytest.approx(60, abs=1)


def test_a_disk_that_is_not_shared_is_told(tmp_path: Path, late_disk: Any) -> None:
    now = late_disk(lambda: None)
    with pytest.raises(
        CheckpointError, match=r"a\.bin was written by another process and is not seen here after 180 .*"
    ):
        wait_until_seen(tmp_path / "a.bin")
    assert now[0] == pytest.approx(180, abs=1)


def test_a_checkpoint_holds_what_another_machine_wrote_though_it_is_shown_late(
    tmp_path: Path, late_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "checkpoints" / "step-00000001.tmp"
    late_disk(lambda: (begun / "random_states_1.pkl").write_bytes(b"of the other machine"))
    monkeypatch.setattr(checkpoints, "gather_object", lambda own: [*own, {"random_states_1.pkl"}])
    saved = save_checkpoint(Accelerator(cpu=True), tmp_path, "step-00000001", 1)
    check_digests(saved)
    assert "random_states_1.pkl" in json.loads((saved / MANIFEST).read_text())["files"]


def test_a_file_that_another_process_still_writes_under_a_passing_name_is_not_waited_for(
    tmp_path: Path, late_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_disk(lambda: None)
    begun = tmp_path / "checkpoints" / "step-00000001.tmp"
    accelerator = Accelerator(cpu=True)
    save_state = accelerator.save_state

    def begin(folder: str) -> None:
        save_state(folder)
        (begun / "model.safetensors.part").write_bytes(b"half of it")

    def end() -> None:
        if (begun / "model.safetensors.part").exists():
            (begun / "model.safetensors.part").replace(begun / "model.safetensors")

    monkeypatch.setattr(accelerator, "save_state", begin)
    monkeypatch.setattr(accelerator, "wait_for_everyone", end)
    saved = save_checkpoint(accelerator, tmp_path, "step-00000001", 1)
    assert "model.safetensors" in json.loads((saved / MANIFEST).read_text())["files"]
    check_digests(saved)


def test_only_the_main_process_looks_whether_a_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each for itself, one that is shown it late would save it alone, and wait for ever."""
    monkeypatch.setattr(Accelerator, "is_main_process", property(lambda _: False))
    monkeypatch.setattr(agreement, "broadcast_object_list", lambda _: [(True, None)])
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(accelerator, "save_state", lambda _: pytest.fail("it is there"))
    save_checkpoint(accelerator, tmp_path, "step-00000001", 1)
    monkeypatch.setattr(agreement, "broadcast_object_list", lambda _: [(None, CheckpointError("all are damaged"))])
    with pytest.raises(CheckpointError, match="all are damaged"):
        decided_by_main(accelerator, lambda: pytest.fail("it is not asked"))


def test_the_newest_checkpoint_is_so_by_name_whatever_the_clocks_say(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    for step in (1, 2, 3):
        saved = save_checkpoint(accelerator, tmp_path, f"step-{step:08d}", 5)
        then = time.time() - step * HOUR  # each by a machine whose clock is further behind
        for path in (saved, *saved.iterdir()):
            os.utime(path, (then, then))
    assert latest_whole_checkpoint(tmp_path)[0] == saved
    save_checkpoint(accelerator, tmp_path, "step-00000004", 2)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000004"]


def test_best_weights_of_before_are_not_taken_for_those_of_now(tmp_path: Path, late_disk: Any) -> None:
    path = tmp_path / "best.safetensors"
    save_weights({"a": torch.zeros(1)}, path)
    later = tmp_path / "later.safetensors"
    save_weights({"a": torch.ones(1)}, later)
    written = checkpoints.weights_digest(later)
    now = late_disk(lambda: later.replace(path))
    wait_until_seen(path, lambda file: checkpoints.weights_digest(file) == written)
    assert now[0] >= 60
    assert checkpoints.load_weights(path)["a"].item() == 1
    assert checkpoints.weights_digest(tmp_path / "none.safetensors") is None


def test_features_that_another_machine_wrote_first_are_waited_for(
    tmp_path: Path, late_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [torch.ones(3, 2)]
    write_features(iter(batches), 3, tmp_path / "other", {}, writes=True)
    hidden = tmp_path / "key" / FEATURES
    shutil.copytree(tmp_path / "other", tmp_path / "key")
    stat = Path.stat
    arrived: list[bool] = []
    late_disk(lambda: arrived.append(True))

    def shown(path: Path, **options: Any) -> os.stat_result:
        if path == hidden and not arrived:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", shown)
    write_features(iter(batches), 3, tmp_path / "key", {}, writes=True)
    assert arrived
    np.testing.assert_array_equal(np.load(hidden), np.ones((3, 2)))


def test_processes_that_see_the_same_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "gather_object", lambda own: [*own, ("a", "5 photos")])
    refuse_other_views("a", "5 photos")
    with pytest.raises(
        UnlikeDataError, match=r"process 0 4 photos, process 1 5 photos\. Where each machine has a copy"
    ):
        refuse_other_views("b", "4 photos")


def test_two_machines_whose_copies_of_the_data_differ_are_refused(
    forked: Any, settings: Settings, photo_folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(photo_folder, tmp_path / "copy"))
    lines = (copy / "train" / "metadata.jsonl").read_text().splitlines(keepends=True)
    (copy / "train" / "metadata.jsonl").write_text("".join(lines[:-1]))
    processes = forked.start_two(
        settings(tmp_path / "run", data__root=photo_folder),
        tmp_path / "log",
        second=settings(tmp_path / "run", data__root=copy),
    )
    assert [forked.wait(process) for process in processes] == [2, 2]
    for rank in (0, 1):
        told = (tmp_path / f"log.{rank}").read_text()
        assert "error: the processes of this run see different data: process 0 18 photos to train on" in told
