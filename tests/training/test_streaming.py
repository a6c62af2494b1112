"""Training and validation from Parquet shards that are read as they come."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node
from transformers import AutoModelForImageClassification, ViTImageProcessor

from cnn_rnn.data import (
    EvalTransform,
    TrainTransform,
    build_dataset,
    drop_unreadable,
    load_hub,
    load_image_folder,
    load_stream,
    stream_labels,
    write_parquet,
)
from cnn_rnn.data.batching.batches import StreamLoader, TrainExamples, whole_batches
from cnn_rnn.data.data_config import DataConfig, load_validation_data
from cnn_rnn.data.labels.ruled_rows import obey_rules
from cnn_rnn.data.schema import image_bytes, label_counts, label_lists_from_matrix, label_names, targets
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.prediction import SavedModel, measure, predict_dataset
from cnn_rnn.training import Evaluation, Interrupted, RunConfigError, Split, Trainer, load_run_config
from cnn_rnn.training.run_config import RunConfig
from cnn_rnn.training.training_data import load_training_data, stream_training_data

Configure = Callable[..., RunConfig]


class OneProcess:
    """What a loader asks Accelerate for, as one of several processes."""

    def __init__(self, process_index: int = 0, num_processes: int = 1) -> None:
        self.process_index, self.num_processes = process_index, num_processes
        self.device = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of each test's own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def shards(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as shards of seven rows or so, in row groups of four."""
    data = load_image_folder(photo_folder)
    data["validation"] = data.pop("test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_rnn.data.images_inside.parquet.ROWS_A_GROUP", 4)
        return write_parquet(data, tmp_path_factory.mktemp("shards") / "set", shard_bytes=700)


@pytest.fixture(scope="module")
def configure(settings: Callable[..., list[str]], shards: Path) -> Configure:
    """The settings of a small, quick run on the shards; `block__key=value` changes one."""
    streamed = {"data__name": "hub", "data__root": shards, "data__streaming": "true", "data__shuffle_buffer": 8}
    streamed |= {"data__validation_split": "validation"}
    return lambda output_dir, **changes: load_run_config(None, settings(output_dir, **(streamed | changes)))


@pytest.fixture(scope="module")
def run(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learnt the coloured photos from a stream."""
    output_dir = tmp_path_factory.mktemp("run")
    Trainer(configure(output_dir, train__epochs=30)).train()
    return output_dir


def weights(output_dir: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = AutoModelForImageClassification.from_pretrained(output_dir).state_dict()
    return state


def test_a_streamed_run_ends_and_learns(run: Path) -> None:
    history = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["epoch"] for record in history] == list(range(1, 31))
    assert history[-1]["step"] == 30 * 24 // 6
    assert history[-1]["loss"] < history[0]["loss"] / 2
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert figures["run"]["train_images"] == 24
    assert figures["run"]["validation_images"] == 12
    assert figures["path"]["OF1"] > 0.8


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streamed_figures_are_those_of_the_same_rows(
    run: Path, configure: Configure, shards: Path, num_workers: int
) -> None:
    saved = SavedModel.load(run)
    config = configure(run).data
    stream, dropped = load_validation_data(config, "validation")
    assert isinstance(stream, IterableDataset)
    assert not dropped
    whole = load_hub(str(shards), split="validation")
    assert isinstance(whole, Dataset)
    streamed = predict_dataset(saved, stream, 5, num_workers)
    expected = predict_dataset(saved, whole, 5, 0)
    places = [streamed.image_ids.index(image_id) for image_id in expected.image_ids]
    assert sorted(streamed.image_ids) == sorted(expected.image_ids)
    assert torch.equal(streamed.targets[places], expected.targets)
    torch.testing.assert_close(streamed.logits[places], expected.logits, atol=1e-5, rtol=1e-5)
    names = saved.model.config.label_names
    here, there = measure(streamed, names), measure(expected, names)
    assert here["mAP"] == pytest.approx(there["mAP"])
    assert here["path"] == pytest.approx(there["path"])


def test_rules_decide_of_a_stream_what_they_decide_of_the_same_rows(configure: Configure, shards: Path) -> None:
    rules = {"implies": {"red": ["green"]}, "excludes": [["green", "blue"]]}
    config = configure(shards).data
    whole = load_hub(str(shards), split="train")
    assert isinstance(whole, Dataset)
    ruled = LabelRules.of(rules, label_names(whole))
    assert ruled is not None
    data, closed = stream_training_data(config).obeying(ruled), obey_rules(whole, ruled)[0]
    streamed = {row["image_id"]: row for row in data.train}
    assert len(streamed) == len(closed)
    for row, wanted in zip(closed.remove_columns("image"), targets(closed), strict=True):
        found = streamed[row["image_id"]]
        assert (found["labels"], found["unknown"]) == (row["labels"], row["unknown"])
        assert found["image"]["bytes"]
        assert wanted.sum() != 0 or not found["labels"]
    assert data.label_counts == label_counts(closed).tolist()
    whole_data = load_training_data(replace(config, streaming=False), seed=0).obeying(ruled)
    assert data.broken_rules == whole_data.broken_rules != {}


def test_a_streamed_run_under_rules_gives_the_figures_of_one_at_hand(configure: Configure, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("implies: {red: green}\n")
    streamed = configure(tmp_path / "streamed", train__epochs=1, model__label_rules=rules)
    Trainer(streamed).train()
    figures = json.loads((tmp_path / "streamed" / "metrics.json").read_text())
    assert figures["run"]["broken_rules"].keys() == {"red without green"}
    evaluation = Evaluation(str(tmp_path / "streamed"), Split(streamed.data, "validation"))
    at_hand = Evaluation(str(tmp_path / "streamed"), Split(replace(streamed.data, streaming=False), "validation"))
    assert evaluation.measure()["mAP"] == pytest.approx(at_hand.measure()["mAP"])
    assert evaluation.measure()["counts"] == at_hand.measure()["counts"]


def test_label_counts_and_rows_are_those_of_the_shards(configure: Configure, shards: Path) -> None:
    data = stream_training_data(configure(shards).data)
    whole = load_hub(str(shards), split="train")
    assert isinstance(whole, Dataset)
    assert data.label_counts == label_counts(whole).tolist()
    assert (data.train_images, data.validation_images) == (24, 12)
    labels = stream_labels(str(shards), load_stream("hub", str(shards), "train"))
    assert labels["labels"][:] == whole["labels"][:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_interrupted_streamed_run_goes_on_as_if_nothing_had_happened(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    changes = {"train__num_workers": num_workers, "data__color_jitter": 0.3}
    Trainer(configure(tmp_path / "whole", **changes)).train()
    stopped = Trainer(configure(tmp_path / "stopped", **changes))

    finish_step = stopped.progress.finish_step

    def receive_a_signal_in_the_second_epoch(loss: float) -> None:
        finish_step(loss)
        if stopped.progress.step == 6:
            stopped.watch.received = 15

    monkeypatch.setattr(stopped.progress, "finish_step", receive_a_signal_in_the_second_epoch)
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = Trainer(configure(tmp_path / "stopped", **changes), resume="auto")
    assert (resumed.progress.epoch, resumed.progress.batch) == (1, 2)
    resumed.train()
    there = weights(tmp_path / "stopped")
    assert all(torch.equal(tensor, there[name]) for name, tensor in weights(tmp_path / "whole").items())
    histories = [(tmp_path / name / "history.jsonl").read_text(encoding="utf-8") for name in ("whole", "stopped")]
    assert histories[0] == histories[1]


def test_going_on_with_other_workers_is_refused(configure: Configure, tmp_path: Path, run: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    with pytest.raises(RunConfigError, match=r"train\.num_workers \(was 0, now 2\)"):
        Trainer(configure(tmp_path / "run", train__epochs=30, train__num_workers=2), resume="auto")


def stream_batches(shards: Path, epoch: int, process: OneProcess, num_workers: int = 0) -> list[dict[str, Any]]:
    rows = load_stream("hub", str(shards), "train")
    shuffled = rows.shuffle(seed=1, buffer_size=8, max_buffer_input_shards=1)
    transform = TrainTransform(ViTImageProcessor(size={"height": 16, "width": 16}), as_bytes=True)
    loader = StreamLoader(
        shuffled,
        transform,
        4,
        num_workers,
        process,
        batches=6 // process.num_processes,
        seed=3,
    )
    loader.set_epoch(epoch)
    return list(loader)


def by_id(batches: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {
        image_id: pixels
        for batch in batches
        for image_id, pixels in zip(batch["image_id"], batch["pixel_values"], strict=True)
    }


def test_every_epoch_shows_every_image_in_another_order_and_varied_by_itself_alone(shards: Path) -> None:
    alone, later = (stream_batches(shards, epoch, OneProcess()) for epoch in (1, 2))
    with_workers = stream_batches(shards, 1, OneProcess(), num_workers=2)
    whole = load_hub(str(shards), split="train")
    assert isinstance(whole, Dataset)
    assert set(by_id(alone)) == set(by_id(later)) == set(by_id(with_workers)) == set(whole["image_id"])
    assert [batch["image_id"] for batch in alone] != [batch["image_id"] for batch in later]
    transform = TrainTransform(ViTImageProcessor(size={"height": 16, "width": 16}), as_bytes=True)
    examples = TrainExamples(whole, transform, seed=3)
    examples.set_epoch(1)
    rows = [examples[place] for place in range(len(examples))]
    expected = {row["image_id"]: row["pixel_values"] for row in rows}
    for image_id, pixels in by_id(alone).items():
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, by_id(with_workers)[image_id])
        assert torch.equal(pixels, expected[image_id])
    assert any((pixels != by_id(later)[image_id]).any() for image_id, pixels in by_id(alone).items())


def test_processes_share_the_rows_and_make_as_many_steps(shards: Path) -> None:
    first, second = (stream_batches(shards, 1, OneProcess(index, 2)) for index in range(2))
    assert [len(batch["image_id"]) for batch in first] == [len(batch["image_id"]) for batch in second] == [4, 4, 4]
    assert not set(by_id(first)) & set(by_id(second))
    rows = load_stream("hub", str(shards), "train")
    shares = [{row["image_id"] for row in split_dataset_by_node(rows, i, 2, strategy="shards")} for i in range(2)]
    assert len(shares[0] | shares[1]) == 24
    assert not shares[0] & shares[1]


@pytest.mark.parametrize(("nodes", "num_workers"), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (2, 2)])
def test_over_all_nodes_every_row_is_measured_once_and_none_is_trained_on_twice_while_others_wait(
    shards: Path, nodes: int, num_workers: int
) -> None:
    rows = load_stream("hub", str(shards), "train")
    processor = ViTImageProcessor(size={"height": 16, "width": 16})
    shares, measured = [], []
    for node in range(nodes):
        loader = StreamLoader(rows, EvalTransform(processor), 4, num_workers, OneProcess(node, nodes))
        shares.append([image_id for batch in loader for image_id in batch["image_id"]])
        measured += shares[-1]
    assert len(measured) == len(set(measured)) == 24  # none twice, none missing

    trained: list[str] = []
    for node, share in enumerate(shares):
        transform = TrainTransform(processor, as_bytes=True)
        loader = StreamLoader(rows, transform, 2, num_workers, OneProcess(node, nodes), batches=12 // nodes)
        own = [image_id for batch in loader for image_id in batch["image_id"]]
        assert set(own) <= set(share)
        counts = [own.count(image_id) for image_id in share]
        assert max(counts) - min(counts) <= 1  # a share that is short begins again when all of it was seen
        trained += own
    assert len(trained) == 12 // nodes * 2 * nodes


def test_more_nodes_than_shards_are_refused_before_anything_waits(shards: Path) -> None:
    rows = load_stream("hub", str(shards), "train")
    transform = TrainTransform(ViTImageProcessor(size={"height": 16, "width": 16}), as_bytes=True)
    with pytest.raises(ValueError, match=r"41 processes share [0-9]+ shards"):
        list(StreamLoader(rows, transform, 2, 0, OneProcess(40, 41), batches=1))


def test_short_batches_are_joined_to_whole_ones() -> None:
    sizes = [4, 3, 4, 2, 1, 4, 3]
    starts = np.cumsum([0, *sizes])
    batches = [
        {"image_id": [str(i) for i in range(start, start + size)], "labels": torch.arange(start, start + size)}
        for start, size in zip(starts, sizes, strict=False)
    ]
    whole = list(whole_batches(iter(batches), 4))
    assert [len(batch["labels"]) for batch in whole] == [4] * 5
    seen = [image_id for batch in whole for image_id in batch["image_id"]]
    assert len(set(seen)) == 20
    assert seen == [str(int(label)) for batch in whole for label in batch["labels"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__validation_split": "null"}, r"data\.validation_split"),
        ({"data__validation_split": "dev"}, "dev"),
        ({"data__name": "image_folder"}, r"data\.name hub"),
        ({"data__skip_unreadable": "true"}, "--skip_unreadable"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(
    configure: Configure, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_training_data(configure(tmp_path / "run", **changes).data, 0)


def test_features_of_a_stream_are_not_cached(configure: Configure, tmp_path: Path) -> None:
    changes = {"train__freeze_backbone": "true", "train__cache_features": "true"}
    with pytest.raises(ValueError, match=r"train\.cache_features .* data\.streaming"):
        Trainer(configure(tmp_path / "run", **changes))


def test_a_stream_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"labels": [0]}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="Parquet shards"):
        stream_labels(str(tmp_path), Dataset.from_dict({"labels": [[0]]}, split="train").to_iterable_dataset())


def test_a_stream_of_more_labels_than_its_rows_can_have_is_refused(tmp_path: Path) -> None:
    rows = build_dataset(
        image_bytes([b""]), ["photo"], label_lists_from_matrix(np.ones((1, 2), bool)), ["x", "y"], split="train"
    )
    shard = next((write_parquet(rows, tmp_path / "set") / "data").iterdir())
    table = pq.read_table(shard)
    labels = pa.array([[0] * 100_000], table.schema.field("labels").type)
    pq.write_table(
        table.set_column(table.schema.get_field_index("labels"), table.schema.field("labels"), labels), shard
    )
    with pytest.raises(ValueError, match=r"00001\.parquet: 100,000 labels of 1 rows; there are 2 labels, each once"):
        stream_labels(str(tmp_path / "set"), load_stream("hub", str(tmp_path / "set"), "train"))


def test_an_unreadable_image_stops_a_stream_by_name(tmp_path: Path) -> None:
    broken = build_dataset(
        image_bytes([b"no image"]), ["photo 7"], label_lists_from_matrix(np.ones((1, 1), bool)), ["x"], split="train"
    )
    assert drop_unreadable(broken)[1].keys() == {"photo 7"}
    write_parquet(broken, tmp_path / "set")
    stream, _ = load_validation_data(DataConfig(name="hub", root=str(tmp_path / "set"), streaming=True), "train")
    transform = TrainTransform(ViTImageProcessor(size={"height": 16, "width": 16}))
    assert isinstance(stream, IterableDataset)
    with pytest.raises(ValueError, match="photo 7: cannot be decoded"):
        list(StreamLoader(stream, transform, 1, 0, OneProcess()))
