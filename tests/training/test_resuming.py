"""Going on with a run: what is refused, what a finished one answers, and what killed ones leave behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnn_rnn.foundation.whole_files import temporary_name, write_json
from cnn_rnn.training import RunConfigError, Trainer, finished_figures, load_run_config
from cnn_rnn.training.checkpoints import (
    checkpoint_name,
    complete_checkpoints,
    latest_checkpoint,
    remove_leftovers,
)
from cnn_rnn.training.records import Progress

Settings = Callable[..., list[str]]


@pytest.fixture(scope="module")
def run(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    output_dir = tmp_path_factory.mktemp("finished") / "run"
    Trainer(load_run_config(None, settings(output_dir))).train()
    return output_dir


def test_a_finished_run_answers_without_data(run: Path, settings: Settings) -> None:
    config = load_run_config(None, settings(run, train__num_workers=3, train__keep_checkpoints=9))
    assert finished_figures(config) == json.loads((run / "metrics.json").read_text())


def test_a_run_that_is_not_finished_has_no_figures(settings: Settings, tmp_path: Path) -> None:
    assert finished_figures(load_run_config(None, settings(tmp_path / "nothing"))) is None


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name(run: Path, settings: Settings, finished: bool) -> None:
    config = load_run_config(None, settings(run, train__lr=0.5, model__hidden_size=24))
    message = r"model\.hidden_size \(was 32, now 24\), train\.lr \(was 0\.003, now 0\.5\)"
    with pytest.raises(RunConfigError, match=message):
        finished_figures(config) if finished else Trainer(config, "auto")


def test_a_run_without_resume_never_mixes_with_another(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints" / checkpoint_name(1, 0, 1)).mkdir(parents=True)
    with pytest.raises(FileExistsError, match="--resume auto"):
        Trainer(load_run_config(None, settings(tmp_path / "run")))


def test_a_checkpoint_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Trainer(load_run_config(None, settings(tmp_path / "run")), "nowhere")


def test_what_is_half_written_is_neither_resumed_nor_left(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    names = [checkpoint_name(3, 1, 0), checkpoint_name(3, 0, 3), checkpoint_name(2, 0, 2)]
    for name in [*names, "step-00000009.tmp"]:
        (folder / name).mkdir(parents=True)
    write_json(tmp_path / "metrics.json", {"mAP": 1.0})
    half = temporary_name(folder / "best.safetensors")
    half.write_text("half")
    (tmp_path / "notes.tmp").write_text("somebody's own")
    assert [path.name for path in complete_checkpoints(tmp_path)] == names[::-1]  # an epoch's end behind its last step
    assert latest_checkpoint(tmp_path) == folder / names[0]
    assert {path.name for path in remove_leftovers(tmp_path)} == {"step-00000009.tmp", half.name}
    assert {path.name for path in tmp_path.rglob("*")} == {"checkpoints", "metrics.json", "notes.tmp", *names}


def test_progress_survives_its_checkpoint_and_counts_patience() -> None:
    progress = Progress()
    values = [0.1, 0.4, 0.4, 0.2, 0.3]
    best = []
    for value in values:
        progress.finish_step(1.0)
        progress.finish_step(3.0)
        best.append(progress.finish_epoch({"mAP": value}, value))
    assert best == [True, True, True, False, False]
    assert progress.history[-1] == {"epoch": 5, "step": 10, "loss": 2.0, "mAP": 0.3}
    restored = Progress()
    restored.load_state_dict(json.loads(json.dumps(progress.state_dict())))
    assert restored == progress
    over: list[Any] = [progress.is_over(9, patience) for patience in (0, 1, 2, 3)]
    assert over == [False, True, True, False]
    assert progress.is_over(5, 0)
