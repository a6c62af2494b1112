"""Predictions survive their file, and a file from anywhere is checked before it is believed."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.resampling import bootstrap_intervals, compare_paired
from cnn_rnn.metrics.stored_predictions import (
    FORMAT,
    StoredPredictions,
    collect_predictions,
    read_predictions,
    write_predictions,
)


def example(images: int = 20, labels: int = 5, beams: int = 2, **changes: Any) -> StoredPredictions:
    """Predictions with every part, from tensors as a model gives them."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(0, 4, (images, beams, 1), generator=generator)
    walked = torch.stack([torch.randperm(labels, generator=generator)[:3] for _ in range(images * beams)])
    paths = torch.where(torch.arange(3) < lengths, walked.reshape(images, beams, 3), labels)
    parts: dict[str, Any] = {
        "image_ids": [f"photo {n}.jpg" for n in range(images)],
        "label_names": [f"läbel {c}" for c in range(labels)],
        "scores": torch.rand(images, labels, generator=generator),
        "targets": torch.randint(-1, 2, (images, labels), generator=generator) * 1.0,
        "relevance_scores": torch.rand(images, labels, generator=generator),
        "paths": paths,
        "path_scores": -torch.rand(images, beams, generator=generator),
        "step_scores": -torch.rand(images, 4, generator=generator),
        "sets": torch.rand(images, labels, generator=generator) < 0.4,
        "info": {"model": "somewhere", "thresholds": [0.5, 0.25]},
    }
    return collect_predictions(**{**parts, **changes})


def assert_same(first: StoredPredictions, second: StoredPredictions) -> None:
    for part in fields(StoredPredictions):
        one, other = getattr(first, part.name), getattr(second, part.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        else:
            assert one == other, part.name


def test_every_part_survives_the_file(tmp_path: Path) -> None:
    predictions = example()
    write_predictions(tmp_path / "new" / "p.parquet", predictions)
    assert_same(read_predictions(tmp_path / "new" / "p.parquet"), predictions)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.parquet"]


def test_rows_are_chosen_in_any_order_with_all_that_was_said_of_them() -> None:
    stored, rows = example(), np.array([7, 0, 3])
    chosen = stored.select(rows)
    assert chosen.image_ids == [stored.image_ids[row] for row in rows]
    for name in ("scores", "truth", "relevance_scores", "paths", "path_scores", "step_scores", "sets"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(stored, name)[rows])
    bare = example(relevance_scores=None, paths=None, path_scores=None, step_scores=None)
    assert bare.select(rows).paths is None


def test_whole_sets_are_measured_and_compared_as_paths_are() -> None:
    stored = example(images=40)
    truth = stored.truth == 1
    right = replace(stored, sets=truth)
    figures = right.measure()
    assert figures["set"]["exact_match"] == figures["set"]["OF1"] == 1.0
    assert stored.measure()["set"]["exact_match"] < 1
    interval = bootstrap_intervals(right.scores, right.truth, right.path_sets, right.sets)["figures"]["set.OF1"]
    assert interval["value"] == 1.0
    compared = compare_paired(stored, right.select(np.arange(40)[::-1]))["figures"]
    assert compared["set.exact_match"]["second"] == 1.0
    assert compared["path.OF1"]["difference"] == 0.0
    assert "set.OF1" not in compare_paired(example(images=40, sets=None), right)["figures"]


def test_optional_parts_may_be_absent(tmp_path: Path) -> None:
    absent: dict[str, Any] = dict.fromkeys(["relevance_scores", "paths", "path_scores", "step_scores", "sets"])
    predictions = example(**absent)
    write_predictions(tmp_path / "p.parquet", predictions)
    assert_same(read_predictions(tmp_path / "p.parquet"), predictions)
    assert predictions.path_sets is None


def test_no_images_and_many_row_groups(tmp_path: Path) -> None:
    nothing = collect_predictions([], ["a", "b"], np.zeros((0, 2)), np.zeros((0, 2)), paths=np.zeros((0, 1, 0)))
    write_predictions(tmp_path / "none.parquet", nothing)
    assert read_predictions(tmp_path / "none.parquet").scores.shape == (0, 2)
    many = example(images=20_000)
    write_predictions(tmp_path / "many.parquet", many)
    assert pq.ParquetFile(tmp_path / "many.parquet").num_row_groups == 3
    assert_same(read_predictions(tmp_path / "many.parquet"), many)


def test_figures_from_the_file_are_those_of_the_tensors_bit_for_bit(tmp_path: Path) -> None:
    predictions = example()
    write_predictions(tmp_path / "p.parquet", predictions)
    assert predictions.paths is not None
    sets = np.array([[c in path[0] for c in range(5)] for path in predictions.paths.tolist()])
    metrics = MultiLabelMetrics(predictions.label_names, top_k=2)
    scores, truth = torch.from_numpy(predictions.scores), torch.from_numpy(predictions.truth)
    metrics.update(scores, truth, paths=sets, sets=predictions.sets)
    again = read_predictions(tmp_path / "p.parquet").measure(top_k=2)
    assert json.dumps(again) == json.dumps(metrics.compute())


def test_the_best_path_alone_may_come_without_a_beam() -> None:
    alone = example(paths=torch.full((20, 3), 5), path_scores=torch.zeros(20))
    assert alone.paths is not None
    assert alone.path_scores is not None
    assert alone.paths.shape == (20, 1, 3)
    assert alone.path_scores.shape == (20, 1)
    assert not alone.path_sets.any()  # type: ignore[union-attr]


def test_the_file_is_plain_to_other_readers(tmp_path: Path) -> None:
    predictions = example()
    write_predictions(tmp_path / "p.parquet", predictions)
    row = pq.read_table(tmp_path / "p.parquet").to_pylist()[3]
    assert predictions.paths is not None
    assert row["image_id"] == "photo 3.jpg"
    assert row["paths"] == [[label for label in path if label < 5] for path in predictions.paths[3].tolist()]
    assert row["labels"] == np.flatnonzero(predictions.truth[3] == 1).tolist()
    assert row["left_out"] == np.flatnonzero(predictions.truth[3] == -1).tolist()
    assert row["label_scores"] == predictions.scores[3].tolist()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "p.parquet"
    write_predictions(file, example())
    before = file.read_bytes()

    def full_disk(_table: object, where: Path, **_options: object) -> None:
        where.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_predictions(file, example(images=3))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_ids": ["same"] * 20}, "image 'same' occurs twice"),
        ({"label_names": ["same"] * 5}, "two labels have the same name"),
        ({"label_names": list("abcd")}, r"scores have shape \(20, 5\): expected \(20, 4\)"),
        ({"paths": torch.full((20, 2, 3), 6)}, "a path holds an id outside 0..5"),
        ({"paths": torch.tensor([[[5, 1, 5]] * 2] * 20)}, "a label after its end"),
        ({"path_scores": torch.zeros(20, 3)}, r"path_scores have shape \(20, 3\)"),
        ({"scores": torch.full((20, 5), 1.5)}, r"scores hold 1\.5, not a finite"),
        ({"scores": torch.full((20, 5), torch.nan), "targets": torch.zeros(20, 5)}, "is nan"),
    ],
)
def test_parts_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example(**changes)


def rewritten(tmp_path: Path, change: dict[str, pa.Array | None], metadata: Any = None) -> Path:
    """A good file with some columns replaced or, for None, removed."""
    file = tmp_path / "p.parquet"
    write_predictions(file, example(images=3, labels=4, beams=1))
    table = pq.read_table(file)
    for name, column in change.items():
        kept = table.drop_columns([name]) if name in table.column_names else table
        table = kept if column is None else kept.append_column(name, column)
    if metadata is not None:
        table = table.replace_schema_metadata({"cnn_rnn": metadata})
    pq.write_table(table, file)
    return file


def lists(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    """A column of lists."""
    return pa.array(values, pa.list_(kind or pa.int32()))


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        ({"label_scores": None}, None, "column 'label_scores' is missing"),
        ({"label_scores": lists([[1], [2], [3]], pa.int64())}, None, "column 'label_scores' is list<.*int64"),
        ({"label_scores": lists([[0.1]] * 3, pa.float32())}, None, r"scores have shape \(3, 1\): expected \(3, 4\)"),
        ({"label_scores": lists([[0.1] * 4, [0.1] * 4, []], pa.float32())}, None, "lists of 0 and of 4"),
        ({"label_scores": lists([[float("nan")] * 4] * 3, pa.float32())}, None, "not a finite number"),
        ({"label_scores": lists([[1.5] * 4] * 3, pa.float32())}, None, r"scores hold 1\.5, not a finite"),
        ({"label_scores": lists([[-0.5] * 4] * 3, pa.float32())}, None, r"scores hold -0\.5, not a finite"),
        ({"relevance_scores": lists([[2] * 4] * 3, pa.float32())}, None, "relevance_scores hold 2, not a finite"),
        ({"path_scores": lists([[0.5]] * 3, pa.float32())}, None, r"path_scores hold 0\.5, not a finite"),
        ({"step_scores": lists([[np.inf] * 4] * 3, pa.float32())}, None, "step_scores hold inf, not a finite"),
        ({"label_scores": lists([[None] * 4] * 3, pa.float32())}, None, "empty cells"),
        ({"label_scores": lists([None] * 3, pa.float32())}, None, "empty cells"),
        ({"label_scores": lists([[0.1] * 9] * 3, pa.float32())}, None, "holds 27 values: expected at most 12"),
        ({"labels": lists([[4], [], []])}, None, r"label id 4 or 4: expected 0\.\.3"),
        ({"labels": lists([[-1], [], []])}, None, "label id -1"),
        ({"labels": lists([[1, 1], [], []])}, None, "a label twice"),
        ({"labels": lists([[1], [], []]), "left_out": lists([[1], [], []])}, None, "both present and left out"),
        ({"labels": lists([[None], [], []])}, None, "empty cells"),
        ({"paths": lists([[[9]]] * 3, pa.list_(pa.int32()))}, None, "label id 9"),
        ({"paths": lists([[[0], [1]], [[0]], [[0]]], pa.list_(pa.int32()))}, None, "lists of 1 and of 2"),
        ({"paths": lists([[[0, 1, 2, 3, 0]]] * 3, pa.list_(pa.int32()))}, None, "a path of 5 labels"),
        ({"paths": lists([[], [], []], pa.list_(pa.int32()))}, None, "no path for an image"),
        ({"image_id": pa.array(["a", "a", "b"])}, None, "image 'a' occurs twice"),
        ({"image_id": pa.array(["a", None, "b"])}, None, "empty cells"),
        ({"surprise": pa.array([1, 2, 3])}, None, "column 'surprise' is unknown"),
        ({}, "{}", "do not say 'cnn_rnn.predictions.1'"),
        ({}, "[]", "do not say"),
        ({}, "not json", "is no predictions file"),
        ({}, json.dumps({"format": FORMAT, "label_names": [1, 2], "info": {}}), "no list of label names"),
        ({}, json.dumps({"format": FORMAT, "label_names": list("aabc"), "info": {}}), "two labels have the same name"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused_by_name(
    change: dict[str, Any], metadata: str | None, message: str, tmp_path: Path
) -> None:
    file = rewritten(tmp_path, change, metadata)
    with pytest.raises(ValueError, match=message) as error:
        read_predictions(file)
    assert str(file) in str(error.value)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    with pytest.raises(FileNotFoundError, match=r"p\.parquet: no such predictions file"):
        read_predictions(file)
    write_predictions(file, example())
    whole = file.read_bytes()
    for broken in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-100] + bytes(100)):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="is no predictions file"):
            read_predictions(file)


def test_a_file_that_unpacks_to_far_more_than_its_rows_allow_is_refused_unread(tmp_path: Path) -> None:
    huge = lists([[0] * 3_000_000, [], []])
    file = rewritten(tmp_path, {"labels": huge})
    assert file.stat().st_size < 100_000
    with pytest.raises(ValueError, match="column 'labels' holds 3000002 values: expected at most 12"):
        read_predictions(file)


def test_notes_must_be_ready_for_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_predictions(tmp_path / "p.parquet", replace(example(), info={"figure": float("nan")}))
