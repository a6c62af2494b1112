"""Bulk prediction: whole parts only, nothing lost, twice or of another job, whatever is killed when."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn import MultiLabelImageClassificationPipeline
from cnn_rnn.prediction import bulk_prediction
from cnn_rnn.prediction.bulk_prediction import (
    Failure,
    InputsLostError,
    predict_all,
    predict_parts,
    prepare_image,
)
from cnn_rnn.prediction.inputs import Input
from cnn_rnn.prediction.job_folder import JobFolder, OtherJobError, OtherViewError

from .jobs import MODEL, job_folder, pipeline_of, small_model


@pytest.fixture(scope="module")
def classify() -> MultiLabelImageClassificationPipeline:
    """A pipeline with a random model."""
    return pipeline_of(small_model())


@pytest.fixture(scope="module")
def files(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eleven images, the fifth and the last of which cannot be read."""
    broken = tmp_path_factory.mktemp("broken") / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no photo")
    photos = sorted(str(path) for path in (photo_folder / "train").glob("*.png"))[:10]
    return [*photos[:4], str(broken), *photos[4:9], str(broken)]


@pytest.fixture
def copies(files: list[str], tmp_path: Path) -> list[str]:
    """Files of the same content that a test may change."""
    (tmp_path / "photos").mkdir()
    return [str(shutil.copy2(file, f"{tmp_path}/photos/{index:02d}.png")) for index, file in enumerate(files)]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of all files of a finished job."""
    return [row for path in sorted(folder.glob("labels*.parquet")) for row in pq.read_table(path).to_pylist()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_rows_are_those_of_the_pipeline_in_order(
    classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path, num_workers: int
) -> None:
    folder = job_folder(tmp_path, files)
    assert folder.job.parts == 4
    assert predict_all(classify, folder, batch_size=2, num_workers=num_workers) == "finished"
    rows = rows_of(tmp_path)
    assert [row["image_id"] for row in rows] == files
    for file, row in zip(files, rows, strict=True):
        if "broken" in file:
            assert "broken.jpg: cannot be decoded" in row["error"]
            assert row["labels"] is None
            continue
        expected = classify(file, threshold=0.0, return_path=True)
        assert {entry["label"]: entry["score"] for entry in row["labels"]} == pytest.approx(
            {entry["label"]: entry["score"] for entry in expected["labels"]}, abs=1e-5
        )
        assert [step["label"] for step in row["path"]] == [step["label"] for step in expected["path"]]
        assert row["path_score"] == pytest.approx(expected["path_score"], abs=1e-5)
    assert names(tmp_path) == ["labels.parquet"]
    assert job_finished(folder)


@pytest.mark.parametrize("fields", [{}, {"path_loss": "none", "fusion": "relevance"}])
def test_rows_tell_whether_a_photo_is_unfamiliar(files: list[str], tmp_path: Path, fields: dict[str, Any]) -> None:
    readable = [file for file in files if "broken" not in file]
    silent, telling = pipeline_of(small_model(**fields)), pipeline_of(small_model(**fields))
    best = np.array([max(entry["score"] for entry in silent(file, threshold=0.0)) for file in readable])
    gap = np.argmax(np.diff(np.sort(best)))  # the widest, so that rounding decides nothing
    between = float(np.sort(best)[gap : gap + 2].mean())
    telling.model.config.familiar_from = between
    for name, classify, expected in (
        ("silent", silent, [None] * len(readable)),
        ("telling", telling, (best < between).tolist()),
    ):
        predict_all(classify, job_folder(tmp_path / name, files, threshold=None))
        rows = rows_of(tmp_path / name)
        assert [row["unfamiliar"] for row in rows if row["error"] is None] == expected, name
        assert not any(row["labels"] for row in rows if row["unfamiliar"])
        assert all(row["unfamiliar"] is None for row in rows if row["error"])


def job_finished(folder: JobFolder) -> bool:
    return folder.is_finished()


def test_many_parts_become_several_files_with_the_same_rows(
    classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    predict_all(classify, job_folder(tmp_path / "one", files, part_size=2), batch_size=2)
    folder = job_folder(tmp_path / "many", files, part_size=2, parts_per_file=4)
    predict_all(classify, folder, batch_size=2)
    assert names(tmp_path / "many") == ["labels-00000-of-00002.parquet", "labels-00001-of-00002.parquet"]
    assert rows_of(tmp_path / "many") == rows_of(tmp_path / "one")  # to the last digit
    assert job_finished(folder)


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_processes_share_the_parts_and_leave_none(
    processes: int, classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    folder = job_folder(tmp_path, files, part_size=2)
    held = folder.lock(2)
    assert held.try_acquire()  # another process is at work on that part
    made = [
        predict_parts(classify, job_folder(tmp_path, files, part_size=2), turn=index / processes)
        for index in range(processes)
    ]
    assert sum(made) == folder.job.parts - 1
    assert folder.missing()[0] == [2]
    assert folder.finish() == "unfinished"
    held.release()
    assert predict_all(classify, folder) == "finished"
    assert [row["image_id"] for row in rows_of(tmp_path)] == files


OTHER: dict[str, dict[str, Any]] = {
    "weights": {"provenance": replace(MODEL, weights="other")},
    "thresholds": {"provenance": replace(MODEL, config={**MODEL.config, "thresholds": [0.1, 0.5, 0.5]})},
    "size": {"provenance": replace(MODEL, preprocessing={"size": 64})},
    "code": {"provenance": replace(MODEL, code="other")},
    "threshold": {"threshold": 0.5},
    "parts_per_file": {"parts_per_file": 1},
    "answers": {"answers": "other"},
}


@pytest.mark.parametrize("differs", OTHER)
def test_parts_of_two_jobs_are_never_mixed(
    differs: str, classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    mine = job_folder(tmp_path, files)
    job_folder(tmp_path, files)
    with pytest.raises(OtherJobError, match=differs):
        job_folder(tmp_path, files, **OTHER[differs])
    predict_parts(classify, mine)
    stray = mine.part_path(1).read_bytes()
    mine.finish()
    other = job_folder(tmp_path, files, **OTHER[differs])  # a finished job makes room for another one
    assert other.missing()[0] == [0, 1, 2, 3]
    other.part_path(1).write_bytes(stray)  # what a process that was late left there
    assert other.missing()[0] == [0, 1, 2, 3]
    assert other.finish() == "unfinished"


def test_a_list_with_other_names_is_another_job(files: list[str], tmp_path: Path) -> None:
    job_folder(tmp_path, files)
    for other in (files[1:], files[::-1], [*files, files[0]]):
        with pytest.raises(OtherJobError, match="inputs"):
            job_folder(tmp_path, other)


@pytest.mark.parametrize("stopped", [True, False])
def test_an_image_that_changed_is_labelled_again(
    stopped: bool, classify: MultiLabelImageClassificationPipeline, copies: list[str], tmp_path: Path
) -> None:
    folder = job_folder(tmp_path / "out", copies)
    if stopped:
        predict_parts(classify, folder)
    else:
        predict_all(classify, folder)
    shutil.copy2(copies[0], copies[4])  # the broken one is mended
    again = job_folder(tmp_path / "out", copies)
    assert not again.is_finished()
    assert again.missing()[0] == ([1] if stopped else [0, 1, 2, 3])
    assert predict_all(classify, again) == "finished"
    assert [index for index, row in enumerate(rows_of(tmp_path / "out")) if row["error"]] == [10]


def test_by_content_a_touched_image_is_the_same_and_by_time_it_is_not(copies: list[str], tmp_path: Path) -> None:
    inputs = job_folder(tmp_path / "out", copies).inputs
    before = {by: inputs.identity(0, by) for by in ("name", "time", "content")}
    os.utime(copies[0], (1, 1))
    assert {by for by, identity in before.items() if inputs.identity(0, by) != identity} == {"time"}
    Path(copies[0]).write_bytes(b"other")
    assert {by for by, identity in before.items() if inputs.identity(0, by) != identity} == {"time", "content"}


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "zero bytes": lambda _: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "flipped byte": lambda content: content[:40] + bytes([content[40] ^ 255]) + content[41:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_made_again(
    damage: str, classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    predict_all(classify, job_folder(tmp_path / "whole", files), batch_size=2)
    folder = job_folder(tmp_path / "out", files)
    predict_parts(classify, folder, batch_size=2)
    path = folder.part_path(1)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert predict_all(classify, folder, batch_size=2) == "finished"
    assert any("part-000001.parquet is damaged" in told for told in folder.said)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize("stage", ["before it is renamed", "between", "half removed"])
def test_killed_while_it_clears_up_no_part_is_left_for_another_job(
    stage: str,
    classify: MultiLabelImageClassificationPipeline,
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = job_folder(tmp_path, files)
    predict_parts(classify, folder)

    def killed(path: Path, **_: Any) -> None:
        if stage == "half removed":
            next(path.glob("*.parquet")).unlink()
        raise KeyboardInterrupt

    if stage == "before it is renamed":
        monkeypatch.setattr("cnn_rnn.prediction.job_folder.remove_whole", killed)
    else:
        monkeypatch.setattr("cnn_rnn.foundation.whole_files.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.finish()
    monkeypatch.undo()
    if stage == "before it is renamed":  # the job is still at work; the same command ends it
        with pytest.raises(OtherJobError):
            job_folder(tmp_path, files, threshold=0.5)
        assert predict_all(classify, job_folder(tmp_path, files)) == "finished"
        assert names(tmp_path) == ["labels.parquet"]
    other = job_folder(tmp_path, files, threshold=0.5)
    assert names(tmp_path) == ["labels.parquet", "parts"]
    assert other.missing()[0] == [0, 1, 2, 3]


def test_lost_images_are_tried_again_and_unreadable_ones_are_not(
    classify: MultiLabelImageClassificationPipeline, copies: list[str], tmp_path: Path
) -> None:
    away = tmp_path / "away.png"
    Path(copies[7]).rename(away)
    folder = job_folder(tmp_path / "out", copies)
    predict_all(classify, folder)
    assert folder.lost() == 1
    assert "07.png: cannot be read" in rows_of(tmp_path / "out")[7]["error"]
    assert not folder.is_finished()
    away.rename(copies[7])
    again = job_folder(tmp_path / "out", copies)
    assert again.missing()[0] == [2]  # the part with the unreadable images is done
    assert predict_all(classify, again) == "finished"
    assert [index for index, row in enumerate(rows_of(tmp_path / "out")) if row["error"]] == [4, 10]
    assert again.is_finished()


def test_lost_images_can_be_left_as_they_are(
    classify: MultiLabelImageClassificationPipeline, copies: list[str], tmp_path: Path
) -> None:
    Path(copies[7]).unlink()
    folder = job_folder(tmp_path / "out", copies, keep_lost=True)
    predict_all(classify, folder)
    assert folder.is_finished()
    assert names(tmp_path / "out") == ["labels.parquet"]


def test_a_disk_that_went_away_stops_the_job(
    classify: MultiLabelImageClassificationPipeline, copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_prediction, "LOST_IN_A_ROW", 4)
    folder = job_folder(tmp_path / "out", copies)
    (tmp_path / "photos").rename(tmp_path / "away")
    with pytest.raises(InputsLostError, match=r"4 images in a row could not be read.*the same command goes on"):
        predict_all(classify, folder)
    assert not list((tmp_path / "out").glob("labels*"))
    (tmp_path / "away").rename(tmp_path / "photos")
    assert predict_all(classify, job_folder(tmp_path / "out", copies)) == "finished"
    assert [index for index, row in enumerate(rows_of(tmp_path / "out")) if row["error"]] == [4, 10]


def test_no_memory_for_an_image_is_not_its_fault(
    classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    folder = job_folder(tmp_path, files[:3])
    monkeypatch.setattr("cnn_rnn.data.photos.images.to_rgb", full)
    predict_all(classify, folder)
    monkeypatch.undo()
    assert folder.lost() == 3
    assert predict_all(classify, job_folder(tmp_path, files[:3])) == "finished"
    assert not any(row["error"] for row in rows_of(tmp_path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--threshold", "1.5"), "threshold is a probability in 0..1, got 1.5"),
        (("--input", "nowhere"), "no file or folder 'nowhere'"),
    ],
    ids=str,
)
def test_the_command_says_in_one_line_what_is_wrong(
    option: tuple[str, str],
    message: str,
    photo_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipeline_of(small_model()).save_pretrained(tmp_path / "model")
    capsys.readouterr()
    paths = ["--model", str(tmp_path / "model"), "--input", str(photo_folder), "--output", str(tmp_path / "out")]
    assert main_of("predict")([*paths, "--engine", "torch", *option]) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_thresholds_edited_in_the_config_make_another_job(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    pipeline_of(small_model()).save_pretrained(model)
    command = ["--model", str(model), "--input", str(photo_folder / "test"), "--output", str(tmp_path / "out")]
    command += ["--engine", "torch"]
    assert main_of("predict")([*command, "--num_workers", "0"]) == 0
    before = rows_of(tmp_path / "out")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"thresholds": [0.0, 0.0, 0.0]}))
    assert main_of("predict")([*command, "--num_workers", "0"]) == 0
    assert [len(row["labels"]) for row in rows_of(tmp_path / "out")] == [3] * len(before)
    assert rows_of(tmp_path / "out") != before
    capsys.readouterr()


def test_a_lost_image_is_told_with_the_way_on(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline_of(small_model()).save_pretrained(tmp_path / "model")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{photo_folder}/test/000.png\ngone.png\n{photo_folder}/test/001.png\n")
    command = ["--model", str(tmp_path / "model"), "--input", str(listed), "--output", str(tmp_path / "out")]
    assert main_of("predict")([*command, "--num_workers", "0"]) == 2
    said = capsys.readouterr()
    assert "2 images labelled, 1 unreadable" in said.out
    assert "1 images could not be had" in said.err
    assert len(rows_of(tmp_path / "out")) == 3
    assert main_of("predict")([*command, "--num_workers", "0", "--keep_lost"]) == 0


def test_a_model_without_path_decoder_has_labels_and_no_paths(files: list[str], tmp_path: Path) -> None:
    plain = pipeline_of(small_model(path_loss="none", fusion="relevance"))
    predict_all(plain, job_folder(tmp_path, files))
    rows = rows_of(tmp_path)
    assert len(rows[0]["labels"]) == 3
    assert rows[0]["path"] is None


@pytest.fixture
def folder(tmp_path: Path, photo_folder: Path) -> Path:
    """A folder with a model, and a list of many images of which every fiftieth cannot be read."""
    pipeline_of(small_model()).save_pretrained(tmp_path / "model")
    photos = sorted((photo_folder / "train").glob("*.png"))
    (tmp_path / "photos").mkdir()
    for index in range(200):
        content = photos[index % len(photos)].read_bytes()
        (tmp_path / "photos" / f"{index:03d}.png").write_bytes(content if index % 50 else content[:40])
    return tmp_path


OPTIONS = (
    *("--model", "model", "--input", "photos", "--output", "out"),
    *("--part_size", "7", "--batch_size", "2", "--num_workers", "0", "--engine", "torch"),
)


def stop(forked: Any, folder: Path, number: signal.Signals) -> tuple[int, str]:
    """The exit code of a process that gets the signal once a few parts are there, and all that it said."""
    running = forked.start(list(OPTIONS), folder / "log", "predict", str(folder))
    while len(list((folder / "out" / "parts").glob("*.parquet"))) < 3:
        assert not forked.ended(running), (folder / "log").read_text()
        time.sleep(0.005)
    os.kill(running, number)
    return forked.wait(running), (folder / "log").read_text()


def test_stopped_by_hand_it_says_how_to_go_on(forked: Any, folder: Path) -> None:
    code, said = stop(forked, folder, signal.SIGINT)
    assert code == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert len(list((folder / "out" / "parts").glob("*.parquet"))) >= 3


def test_killed_and_run_again_nothing_is_lost_or_twice(
    forked: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(forked, folder, signal.SIGKILL)
    parts = folder / "out" / "parts"
    there = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert 3 <= len(there) < 29
    assert not (folder / "out" / "labels.parquet").exists()
    kept = folder / "kept"  # a second name of each part: it still has its content where nobody writes it again
    kept.mkdir()
    for name in there:
        os.link(parts / name, kept / name)

    processes = forked.start_two(list(OPTIONS), folder / "two", "predict", str(folder))
    codes = [forked.wait(process) for process in processes]
    said = "".join(log.read_text() for log in folder.glob("two.*"))
    assert codes == [0, 0], said
    assert said.count("196 images labelled, 4 unreadable") == 1
    assert said.count("unreadable: ") == 4
    rows = pq.read_table(folder / "out" / "labels.parquet").to_pylist()
    assert [Path(row["image_id"]).name for row in rows] == [f"{index:03d}.png" for index in range(200)]
    assert [index for index, row in enumerate(rows) if row["error"]] == list(range(0, 200, 50))
    for name, written in there.items():
        assert (kept / name).stat().st_mtime_ns == written
        first = pq.read_table(kept / name).to_pylist()
        number = int(name.removeprefix("part-").removesuffix(".parquet"))
        assert rows[7 * number : 7 * number + 7] == first
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["labels.parquet", "paths.png"]

    done = (folder / "out" / "labels.parquet").stat().st_mtime_ns
    monkeypatch.chdir(folder)
    assert main_of("predict")(list(OPTIONS)) == 0
    assert "196 images labelled, 4 unreadable" in capsys.readouterr().out
    assert (folder / "out" / "labels.parquet").stat().st_mtime_ns == done


STRANGERS = {"parts/car.jpg": b"a photo", "labels.parquet": None, "paths.png": b"a photo"}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_somebody_else_put_there_is_never_removed(name: str, files: list[str], tmp_path: Path) -> None:
    stranger = tmp_path / "out" / name
    stranger.parent.mkdir(parents=True)
    content = STRANGERS[name]
    if content is None:
        pq.write_table(pa.table({"file_name": ["a.jpg"], "labels": ["cat"]}), stranger)
    else:
        stranger.write_bytes(content)
    before = stranger.read_bytes()
    with pytest.raises(OtherJobError, match=rf"{name} was not made by this command"):
        job_folder(tmp_path / "out", files)
    assert stranger.read_bytes() == before


def test_only_what_bears_the_mark_of_half_done_is_cleared_up(files: list[str], tmp_path: Path) -> None:
    theirs, ours = tmp_path / "parts.backup.tmp", tmp_path / "parts.0123456789ab.tmp"
    for folder in (theirs, ours):
        folder.mkdir()
    job_folder(tmp_path, files)
    assert theirs.is_dir()
    assert not ours.exists()


def test_a_job_file_nested_without_end_is_another_jobs(files: list[str], tmp_path: Path) -> None:
    job_folder(tmp_path, files)
    (tmp_path / "parts" / "job.json").write_text("[" * 200_000)
    with pytest.raises(OtherJobError, match=r"job\.json: .*; remove"):
        job_folder(tmp_path, files)


def test_answers_that_are_no_numbers_stop_the_job(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = pipeline_of(small_model())
    forward = classify.forward

    def overflowing(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        outputs: dict[str, torch.Tensor] = forward(*arguments, **options)
        return outputs | {"logits": outputs["logits"] * float("inf")}

    monkeypatch.setattr(classify, "forward", overflowing)
    with pytest.raises(ValueError, match="no finite number"):
        predict_all(classify, job_folder(tmp_path, files), batch_size=2)


def test_torch_without_memory_loses_the_image_and_other_errors_stop() -> None:
    for reason, lost in (("DefaultCPUAllocator: can't allocate memory", True), ("a fault of ours", False)):

        def fail(_: object, reason: str = reason) -> Any:
            raise RuntimeError(reason)

        image = Input("a", Image.new("RGB", (8, 8)))
        if lost:
            failure = prepare_image(fail, image)
            assert isinstance(failure, Failure)
            assert failure.lost
        else:
            with pytest.raises(RuntimeError, match=reason):
                prepare_image(fail, image)


def test_times_of_what_the_job_wrote_decide_nothing(
    classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    """As written by machines whose clocks are an hour ahead or behind."""
    first = job_folder(tmp_path, files)
    predict_parts(classify, first, parts=[0, 2])
    for index, path in enumerate(sorted(first.parts.iterdir())):
        then = time.time() + (3600 if index % 2 else -3600)
        os.utime(path, (then, then))
    second = job_folder(tmp_path, files)
    assert second.missing()[0] == [1, 3]
    assert predict_all(classify, second) == "finished"
    assert [row["image_id"] for row in rows_of(tmp_path)] == files


def test_machines_with_copies_of_other_times_do_not_undo_each_other_for_ever(
    classify: MultiLabelImageClassificationPipeline, copies: list[str], tmp_path: Path
) -> None:
    def seen_at(seconds: float) -> None:
        for file in copies:
            os.utime(file, (seconds, seconds))

    seen_at(1000)
    here = job_folder(tmp_path / "out", copies)
    predict_parts(classify, here, parts=[0])
    seen_at(2000)  # as another machine sees its own copies
    there = job_folder(tmp_path / "out", copies)
    assert there.missing()[0] == [0, 1, 2, 3]
    predict_parts(classify, there, parts=[0])
    assert here.missing()[0] == [1, 2, 3]  # here they have changed too, so the part of the other is right
    seen_at(1000)
    assert here.missing()[0] == [0, 1, 2, 3]  # once it may be that they changed and changed back
    predict_parts(classify, here, parts=[0])
    seen_at(2000)
    predict_parts(classify, there, parts=[0])
    seen_at(1000)
    with pytest.raises(OtherViewError, match=r"part-000000\.parquet was made again by another .* --changes_by name"):
        here.missing()
