"""Parquet shards: the same rows and the same image bytes, read whole or as a stream."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict, load_dataset
from datasets import Image as ImageFeature
from huggingface_hub import DatasetCard
from PIL import Image
from torch.utils.data import DataLoader
from transformers import ViTImageProcessor

from cnn_rnn.data import (
    EvalTransform,
    build_dataset,
    collate,
    label_names,
    load_digits,
    load_hub,
    load_stream,
    prepare_examples,
    write_parquet,
)
from cnn_rnn.data.schema import image_paths, label_features, label_lists_from_matrix, label_matrix
from cnn_rnn.foundation.folder_lock import LOCK, FolderInUseError, FolderLock
from cnn_rnn.foundation.whole_files import UnwrittenFileError, temporary_name


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of each test's own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def scenes() -> DatasetDict:
    return load_digits(size=48, counts={"train": 250, "test": 20})


def test_whole_and_streamed_rows_are_those_that_were_written(tmp_path: Path, scenes: DatasetDict) -> None:
    folder = write_parquet(scenes, tmp_path / "out", shard_bytes=200_000)
    shards = sorted(path.name for path in (folder / "data").iterdir())
    assert len(shards) == 3
    assert shards[0] == "test-00000-of-00001.parquet"
    whole = load_hub(str(folder))
    assert whole["train"].features == scenes["train"].features
    for split, rows in scenes.items():
        assert whole[split]["image_id"][:] == rows["image_id"][:]
        assert whole[split]["labels"][:] == rows["labels"][:]
        assert whole[split][7]["image"].tobytes() == rows[7]["image"].tobytes()
    stream = load_stream("hub", str(folder), "train")
    assert stream.features == scenes["train"].features
    assert [row["image_id"] for row in stream] == scenes["train"]["image_id"][:]


def test_a_stream_trains_and_evaluates_with_workers(
    tmp_path: Path, scenes: DatasetDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_parquet(scenes, tmp_path / "out", shard_bytes=200_000)
    transform = EvalTransform(ViTImageProcessor(size={"height": 16, "width": 16}))
    stream = load_stream("hub", str(folder), "train")
    loader = DataLoader(prepare_examples(stream, transform), batch_size=32, num_workers=2, collate_fn=collate)
    batches = list(loader)
    assert sorted(i for batch in batches for i in batch["image_id"]) == sorted(scenes["train"]["image_id"])
    by_id = {i: row for batch in batches for i, row in zip(batch["image_id"], batch["labels"], strict=True)}
    labels = torch.stack([by_id[i] for i in scenes["train"]["image_id"]])
    assert torch.equal(labels.bool(), torch.from_numpy(label_matrix(scenes["train"])))
    examples = prepare_examples(scenes["train"], transform)
    pixels = {i: row for batch in batches for i, row in zip(batch["image_id"], batch["pixel_values"], strict=True)}
    assert torch.equal(pixels["train-00003"], examples[3]["pixel_values"])
    monkeypatch.setattr("time.sleep", lambda _: None)  # datasets rests five seconds after a shuffled stream
    shuffled = prepare_examples(stream.shuffle(seed=1, buffer_size=50), transform)
    assert sorted(row["image_id"] for row in shuffled) == sorted(scenes["train"]["image_id"])


def test_files_are_read_into_the_shards(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), "blue").save(tmp_path / "a.jpg")
    present = torch.tensor([[True, False]]).numpy()
    rows = build_dataset(image_paths([str(tmp_path / "a.jpg")]), ["a"], label_lists_from_matrix(present), ["x", "y"])
    folder = write_parquet(rows, tmp_path / "out")
    encoded = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").unlink()
    stream = load_stream("hub", str(folder), "train")
    row = next(iter(stream.cast_column("image", ImageFeature(decode=False))))
    assert row["image"] == {"bytes": encoded, "path": "a.jpg"}


def test_the_card_tells_counts_and_how_to_load(tmp_path: Path, scenes: DatasetDict) -> None:
    folder = write_parquet(
        scenes, tmp_path / "out", title="Digit scenes", source="scikit-learn", license_name="bsd-3-clause"
    )
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == "bsd-3-clause"
    assert card.data.pretty_name == "Digit scenes"
    assert "| train | 250 |" in card.text
    assert "Source: scikit-learn" in card.text
    assert label_names(load_dataset(str(folder), split="test")) == label_names(scenes)


def test_difficult_labels_travel(tmp_path: Path) -> None:
    features = label_features(["x"], ["difficult"])
    image = Image.new("RGB", (2, 2))
    rows = Dataset.from_dict(
        {"image": [image], "image_id": ["a"], "labels": [[]], "difficult": [[0]]}, features=features
    )
    folder = write_parquet(rows, tmp_path / "out")
    assert load_hub(str(folder), split="train")["difficult"][:] == [[0]]
    assert "`difficult`" in (folder / "README.md").read_text()


def test_a_folder_with_data_is_not_overwritten(tmp_path: Path, scenes: DatasetDict) -> None:
    write_parquet(scenes["test"], tmp_path / "out")
    with pytest.raises(FileExistsError, match="is not empty"):
        write_parquet(scenes["test"], tmp_path / "out")


def test_a_card_that_a_person_wrote_is_not_overwritten(tmp_path: Path, scenes: DatasetDict) -> None:
    card = tmp_path / "README.md"
    card.write_text("# my photos\n")
    with pytest.raises(FileExistsError, match=r"README\.md is there already, and not as this command wrote it"):
        write_parquet(scenes, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    card.unlink()
    for _ in range(2):
        write_parquet(scenes, tmp_path)
        shutil.rmtree(tmp_path / "data")
    assert "my photos" not in card.read_text()


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path, scenes: DatasetDict) -> None:
    left = temporary_name(tmp_path / "out" / "data")
    left.mkdir(parents=True)
    (left / "test-00000").write_bytes(b"half")
    write_parquet(scenes["test"], tmp_path / "out")
    shard = tmp_path / "out" / "data" / "test-00000-of-00001.parquet"
    assert {path for path in (tmp_path / "out").rglob("*") if path.suffix} == {shard, tmp_path / "out" / "README.md"}


def test_a_full_disk_leaves_nothing_and_the_same_call_goes_on(
    tmp_path: Path, scenes: DatasetDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in ("pq.ParquetWriter.write_table", "flush_folder", "write_text"):
        monkeypatch.setattr(f"cnn_rnn.data.images_inside.parquet.{step}", full)
        with pytest.raises(UnwrittenFileError, match=r"could not write .*out/data: No space left .*free space"):
            write_parquet(scenes["test"], tmp_path / "out")
        assert not list(tmp_path.glob("out/data*"))
        monkeypatch.undo()
    write_parquet(scenes["test"], tmp_path / "out")
    assert load_hub(str(tmp_path / "out"), split="test")["image_id"][:] == scenes["test"]["image_id"][:]


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path, scenes: DatasetDict) -> None:
    with (
        FolderLock(tmp_path / "out" / LOCK, "writing shards").acquire().held(),
        pytest.raises(FolderInUseError, match=r"out is in use: .* writing shards"),
    ):
        write_parquet(scenes["test"], tmp_path / "out")


def test_a_stream_without_the_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("text\nhello\n")
    with pytest.raises(ValueError, match="without image, image_id, labels"):
        load_stream("hub", str(tmp_path), "train")


def test_a_split_without_rows_is_named(tmp_path: Path, scenes: DatasetDict) -> None:
    with pytest.raises(ValueError, match="the split test has no rows to write"):
        write_parquet(DatasetDict({**scenes, "test": scenes["test"].select([])}), tmp_path / "none")
    folder = write_parquet(scenes, tmp_path / "out")
    (shard,) = folder.glob("data/test-*.parquet")
    (folder / "README.md").unlink()  # which says how many there are
    scenes["test"].select([]).to_parquet(str(shard))
    for split in (None, "test"):
        with pytest.raises(ValueError, match=r"out: the split test has no rows; take its files away"):
            load_hub(str(folder), split)
    assert len(load_hub(str(folder), "train")) == len(scenes["train"])
