"""Bulk prediction: whole parts only, nothing lost and nothing twice, whatever is killed when."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from tests.commands_by_name import ROOT, main_of

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.prediction.bulk_prediction import (
    Job,
    OtherJobError,
    PreparedImages,
    digest_names,
    digest_weights,
    join_parts,
    missing_parts,
    part_path,
    predict_parts,
    unreadable_reasons,
)

LABELS = ["blue", "green", "red"]


def small_model(**changes: Any) -> CnnRnnForImageClassification:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32}
    return CnnRnnForImageClassification.from_backbone("test_resnet", id2label=LABELS, **(fields | changes)).eval()


def pipeline_of(model: CnnRnnForImageClassification) -> MultiLabelImageClassificationPipeline:
    return MultiLabelImageClassificationPipeline(model, image_processor=CnnRnnImageProcessor.from_config(model.config))


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


def job_of(files: list[str], part_size: int = 3, **changes: Any) -> Job:
    return replace(Job("m", "w", len(files), digest_names(files), 0.0, part_size), **changes)


def test_rows_are_those_of_the_pipeline_in_order(
    classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    job = job_of(files)
    assert [list(job.rows(part)) for part in range(job.parts)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
    job.claim(tmp_path)
    predict_parts(classify, PreparedImages(files, files, classify.image_processor), tmp_path, job, batch_size=4)
    rows = pq.read_table(join_parts(tmp_path, job)).to_pylist()
    assert [row["image_id"] for row in rows] == files
    assert len(unreadable_reasons(tmp_path / "labels.parquet")) == 2
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
    assert [path.name for path in tmp_path.iterdir()] == ["labels.parquet"]


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_processes_share_the_parts_and_leave_none(
    processes: int, classify: MultiLabelImageClassificationPipeline, files: list[str], tmp_path: Path
) -> None:
    job = job_of(files, part_size=2)
    job.claim(tmp_path)
    part_path(tmp_path, 2).write_bytes(b"was there before")
    written: list[set[str]] = []
    images = PreparedImages(files, files, classify.image_processor)
    for index in range(processes):
        before = {path.name for path in (tmp_path / "parts").glob("*.parquet")}
        predict_parts(classify, images, tmp_path, job, process_index=index, num_processes=processes)
        written.append({path.name for path in (tmp_path / "parts").glob("*.parquet")} - before)
    assert sum(map(len, written)) == job.parts - 1
    assert len(set().union(*written)) == job.parts - 1
    assert part_path(tmp_path, 2).read_bytes() == b"was there before"
    assert not missing_parts(tmp_path, job)


def test_parts_of_two_jobs_are_never_mixed(files: list[str], tmp_path: Path) -> None:
    job_of(files).claim(tmp_path)
    job_of(files).claim(tmp_path)
    for changes in ({"weights": "other"}, {"threshold": 0.5}, {"images": 4}, {"image_ids": digest_names(files[1:])}):
        with pytest.raises(OtherJobError, match=next(iter(changes))):
            job_of(files, **changes).claim(tmp_path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--part_size", "0"), "part_size must be at least 1"),
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
    assert main_of("predict")([*paths, *option]) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_part_is_no_end(files: list[str], tmp_path: Path) -> None:
    job_of(files).claim(tmp_path)
    with pytest.raises(FileNotFoundError, match="lacks 4 of 4 parts"):
        join_parts(tmp_path, job_of(files))


def test_digests_tell_models_and_lists_apart() -> None:
    assert digest_weights(small_model()) == digest_weights(small_model())
    changed = small_model()
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-3
    assert digest_weights(changed) != digest_weights(small_model())
    assert digest_weights(small_model().bfloat16()) != digest_weights(small_model())
    assert len({digest_names(names) for names in (["a", "b"], ["b", "a"], ["ab"], ["a"], [])}) == 5


def test_a_model_without_path_decoder_has_labels_and_no_paths(files: list[str], tmp_path: Path) -> None:
    job = job_of(files)
    job.claim(tmp_path)
    plain = pipeline_of(small_model(path_loss="none", fusion="relevance"))
    predict_parts(plain, PreparedImages(files, files, plain.image_processor), tmp_path, job)
    rows = pq.read_table(join_parts(tmp_path, job)).to_pylist()
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
    *("--part_size", "7", "--batch_size", "2", "--num_workers", "0"),
)


def start(folder: Path, *launcher: str) -> subprocess.Popen[str]:
    """The command as people run it."""
    return subprocess.Popen(
        [
            *(sys.executable, *launcher, str(ROOT / "scripts" / "predict.py"), *OPTIONS),
        ],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # children of tests that run in the background are born deaf to Ctrl-C; no thread runs here
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def stop(running: subprocess.Popen[str], folder: Path, number: signal.Signals) -> str:
    """Send the signal once a few parts are there; returns what the process said to it."""
    while len(list((folder / "out" / "parts").glob("*.parquet"))) < 3:
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.005)
    running.send_signal(number)
    return running.communicate()[1]


def test_stopped_by_hand_it_says_how_to_go_on(folder: Path) -> None:
    running = start(folder)
    said = stop(running, folder, signal.SIGINT)
    assert running.returncode == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert len(list((folder / "out" / "parts").glob("*.parquet"))) >= 3


def test_killed_and_run_again_nothing_is_lost_or_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(start(folder), folder, signal.SIGKILL)
    parts = folder / "out" / "parts"
    there = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert 3 <= len(there) < 29
    assert not (folder / "out" / "labels.parquet").exists()
    kept = folder / "kept"  # a second name of each part: it still has its content where nobody writes it again
    kept.mkdir()
    for name in there:
        os.link(parts / name, kept / name)

    again = start(
        folder, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--mixed_precision", "no"
    )
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert printed.count("196 images labelled, 4 unreadable") == 1
    assert errors.count("unreadable: ") == 4
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
