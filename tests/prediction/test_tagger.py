"""The model as a class for people's own pipelines, and a job that Ray shares out."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.commands_by_name import ROOT, main_of

from cnn_rnn.prediction import CnnRnnTagger
from cnn_rnn.prediction.bulk_prediction import predict_all

from .jobs import job_folder, pipeline_of, small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    folder = tmp_path_factory.mktemp("tagger") / "model"
    pipeline_of(small_model()).save_pretrained(folder)
    return folder


def test_a_batch_comes_back_with_its_labels_and_failures_in_their_rows(
    model: Path, photo_folder: Path, tmp_path: Path
) -> None:
    files = [str(path) for path in sorted((photo_folder / "train").glob("*.png"))[:4]]
    batch: dict[str, Any] = {
        "id": np.arange(6),
        "image": [*files[:3], Path(files[3]).read_bytes(), "gone.png", b"no photo"],
    }
    rows = CnnRnnTagger(str(model), threshold=0.0, device="cpu")(batch).to_pylist()
    assert [row["id"] for row in rows] == list(range(6))
    assert [row["error"] is None for row in rows] == [True] * 4 + [False] * 2
    assert "gone.png: cannot be read" in rows[4]["error"]
    predict_all(pipeline_of(small_model()), job_folder(tmp_path, files, part_size=4), batch_size=4)
    for row, bulk in zip(rows[:4], pq.read_table(tmp_path / "labels.parquet").to_pylist(), strict=True):
        assert row["path_score"] == pytest.approx(bulk["path_score"])
        assert [entry["label"] for entry in row["labels"]] == [entry["label"] for entry in bulk["labels"]]


def test_an_argument_that_there_is_not_is_asked_about(model: Path) -> None:
    with pytest.raises(TypeError, match=r"there is no argument 'colum'; did you mean column\?"):
        CnnRnnTagger(str(model), colum="image")  # type: ignore[call-arg]


def test_a_column_that_is_not_there_is_named(model: Path) -> None:
    with pytest.raises(KeyError, match="no column 'image'; it has photo"):
        CnnRnnTagger(str(model), device="cpu")({"photo": []})


BESIDE: dict[str, Any] = {
    "path": np.array(["a.jpg", "b.jpg"], dtype=object),
    "labels": np.array(["x", "y"], dtype=object),
    "error": np.array(["", ""], dtype=object),
    "tensor": np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3),
    "embedding": np.ones((2, 8), np.float32),
    "day": np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"),
    "time": np.array(["2024-01-01", "2024-01-02"], "datetime64[ns]"),
    "ragged": np.array([np.zeros((2, 2)), np.zeros((3, 2))], dtype=object),
    "cnn_rnn_path": np.array([1, 2]),
}


def test_columns_of_the_batch_stay_and_no_name_stands_twice(model: Path, photo_folder: Path) -> None:
    files = [str(path) for path in sorted((photo_folder / "train").glob("*.png"))[:2]]
    table = CnnRnnTagger(str(model), device="cpu")({"image": files} | BESIDE)
    assert table.column_names == [
        *BESIDE, "cnn_rnn_labels", "cnn_rnn_cnn_rnn_path", "path_score", "unfamiliar", "cnn_rnn_error"
    ]  # fmt: skip
    assert table["path"].to_pylist() == ["a.jpg", "b.jpg"]
    assert [str(day) for day in table["day"].to_pylist()] == ["2024-01-01", "2024-01-02"]
    assert (table["tensor"].chunk(0).to_numpy_ndarray() == BESIDE["tensor"]).all()
    assert table["cnn_rnn_error"].to_pylist() == [None, None]
    again = CnnRnnTagger(str(model), device="cpu")(table.append_column("image", pa.array(files)))  # of Arrow
    assert again.column_names[: len(table.column_names)] == table.column_names
    assert len(set(again.column_names)) == len(table.column_names) + 5


def test_arrays_are_images_and_what_is_none_is_told_by_its_name(
    model: Path, photo_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted((photo_folder / "train").glob("*.png"))[:2]
    pixels = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    tagger = CnnRnnTagger(str(model), threshold=0.0, device="cpu")
    expected = tagger({"image": [str(file) for file in files]})
    for images in (np.stack(pixels), np.array([*pixels, pixels[0][:30]], dtype=object)[:2]):
        assert tagger({"image": images})["labels"].equals(expected["labels"])
    grey = np.zeros((1, 30, 20), np.uint8)
    for images in (grey, grey[..., None], np.zeros((1, 30, 20, 4), np.uint8)):
        assert tagger({"image": images})["error"].to_pylist() == [None]
    assert not caplog.text
    for images in (
        np.zeros((1, 3, 30, 20), np.uint8),
        np.zeros((1, 30, 20, 3), np.float32),
        np.zeros((1, 0, 3), np.uint8),
    ):
        (error,) = tagger({"image": images, "path": ["a.jpg"]})["error"].to_pylist()
        assert error.startswith("a.jpg: cannot be used (expected pixels (H, W)")
    assert "none of 1 images of a batch could be read: a.jpg" in caplog.text


def test_a_job_none_of_whose_images_can_be_read_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"no photo")
    arguments = ["--model", str(model), "--input", str(tmp_path / "photos"), "--num_workers", "0", "--engine", "torch"]
    assert main_of("predict")([*arguments, "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: none of the 2 images could be read"


def command(model: Path, photos: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT / "src"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "scripts" / "predict.py"), "--model", str(model), "--input", str(photos)),
            *("--output", str(output), "--part_size", "5", "--batch_size", "2", "--num_workers", "0", *options),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_ray_gives_the_same_rows_though_an_actor_is_killed(model: Path, photo_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(600):
        source = photo_folder / "train" / f"{index % 24:03d}.png"
        (photos / f"{index:03d}.png").write_bytes(source.read_bytes() if index % 50 else b"broken")
    plain = command(model, photos, tmp_path / "plain")
    assert plain.wait(300) == 0, plain.communicate()
    rayed = command(model, photos, tmp_path / "ray", "--engine", "ray", "--actors", "2")
    parts = tmp_path / "ray" / "parts"
    killed = 0
    while rayed.poll() is None and not killed:
        if len(list(parts.glob("*.parquet"))) >= 5:
            killed = kill_an_actor(rayed.pid)
        time.sleep(0.01)
    said, _ = rayed.communicate(timeout=500)
    assert rayed.returncode == 0, said
    assert killed, said
    expected, got = (pq.read_table(tmp_path / name / "labels.parquet") for name in ("plain", "ray"))
    assert got.equals(expected)


def kill_an_actor(session: int) -> int:
    """Kill one of the processes that make parts; returns its id, 0 where there was none."""
    for process in Path("/proc").iterdir():
        try:
            title = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
            if b"PartMaker" in title and os.getsid(int(process.name)) != os.getsid(0):
                os.kill(int(process.name), signal.SIGKILL)
                return int(process.name)
        except OSError:
            continue
    assert session
    return 0


@pytest.fixture(scope="module")
def ray_data() -> Iterator[Any]:
    """Ray's readers, on a cluster of this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.data
    ray.shutdown()


@pytest.mark.slow
def test_each_reader_of_ray_gives_the_same_labels(
    model: Path, photo_folder: Path, ray_data: Any, tmp_path: Path
) -> None:
    import datasets
    import pandas as pd

    files = [str(path) for path in sorted((photo_folder / "train").glob("*.png"))[:6]]
    for file in files:
        (tmp_path / Path(file).name).write_bytes(Path(file).read_bytes())
    table = pa.table({"image": files, "day": pa.array([date(2024, 1, day + 1) for day in range(6)])})
    pq.write_table(table, tmp_path / "photos.parquet")
    rows = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    pixels = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    at = {"paths": str(tmp_path), "file_extensions": ["png"]}
    readers = {
        "images": (ray_data.read_images(**at), "image"),
        "images with paths": (ray_data.read_images(**at, include_paths=True), "image"),
        "images of one size": (ray_data.read_images(**at, size=pixels[0].shape[:2], mode="RGB"), "image"),
        "files": (ray_data.read_binary_files(**at), "bytes"),
        "files with paths": (ray_data.read_binary_files(**at, include_paths=True), "bytes"),
        "rows of Python": (
            ray_data.from_items([{"image": file, "tensor": np.ones((2, 2))} for file in files]),
            "image",
        ),
        "pandas": (ray_data.from_pandas(pd.DataFrame({"image": files, "path": "mine"})), "image"),
        "Arrow": (ray_data.from_arrow(table), "image"),
        "Parquet": (ray_data.read_parquet(str(tmp_path / "photos.parquet")), "image"),
        "rows of datasets": (ray_data.from_huggingface(rows), "image"),
    }
    expected = sorted(
        map(str, CnnRnnTagger(str(model), device="cpu", threshold=0.0)({"image": files})["labels"].to_pylist())
    )
    for name, (data, column) in readers.items():
        for kind in ("numpy", "pandas", "pyarrow") if name == "images with paths" else ("numpy",):  # an actor each
            seen = data.map_batches(
                CnnRnnTagger,
                fn_constructor_args=(str(model), column, 0.0, "cpu"),
                batch_format=kind,
                batch_size=4,
                compute=ray_data.ActorPoolStrategy(size=1),
            ).take_all()
            assert [row["error"] for row in seen] == [None] * 6, (name, kind)
            assert sorted(str(list(row["labels"])) for row in seen) == expected, (name, kind)
            assert all(row.get("path") == "mine" for row in seen) or name != "pandas"
