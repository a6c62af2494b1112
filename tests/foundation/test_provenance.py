"""Whatever changes a result changes what it is known by, and nothing else does."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.foundation.provenance import (
    Identity,
    Provenance,
    code_version,
    digest,
    digest_tensors,
    digest_texts,
    file_identity,
)


def model_of(seed: int = 0, **changes: Any) -> CnnRnnForImageClassification:
    torch.manual_seed(seed)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32}
    return CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"], **(fields | changes))


def provenance(kind: str, model: CnnRnnForImageClassification, **processing: Any) -> Provenance:
    processor = CnnRnnImageProcessor.from_config(model.config)
    for name, value in processing.items():
        setattr(processor, name, value)
    return Provenance.of_model(model, processor) if kind == "model" else Provenance.of_features(model, processor)


@pytest.mark.parametrize("kind", ["model", "features"])
def test_the_same_work_is_known_by_the_same(kind: str) -> None:
    assert provenance(kind, model_of()) == provenance(kind, model_of())


@pytest.mark.parametrize("kind", ["model", "features"])
@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"backbone_args": {"output_stride": 8}}, {"pooling": "max"}, {"image_mean": [0.1] * 3}],
    ids=str,
)
def test_whatever_changes_the_features_changes_both(kind: str, changes: dict[str, Any]) -> None:
    assert provenance(kind, model_of(**changes)) != provenance(kind, model_of())


@pytest.mark.parametrize(
    "changes", [{"thresholds": [0.1, 0.2]}, {"beam_width": 2}, {"fusion_weights": [1, 2, 3]}], ids=str
)
def test_what_changes_predictions_alone_leaves_the_features(changes: dict[str, Any]) -> None:
    model = model_of()
    before = {kind: provenance(kind, model) for kind in ("model", "features")}
    for name, value in changes.items():
        setattr(model.config, name, value)
    assert provenance("model", model) != before["model"]
    assert provenance("features", model) == before["features"]


def test_where_a_model_lies_is_none_of_it(tmp_path: Path) -> None:
    model = model_of()
    processor = CnnRnnImageProcessor.from_config(model.config)
    for name in ("one", "two"):
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    known = []
    for name in ("one", "two"):
        loaded = CnnRnnForImageClassification.from_pretrained(tmp_path / name)
        known.append(Provenance.of_model(loaded, CnnRnnImageProcessor.from_pretrained(tmp_path / name)))
    assert known[0] == known[1]
    assert digest(vars(known[0])) == digest(vars(known[1]))


def test_tensors_are_known_by_name_kind_shape_and_bytes() -> None:
    tensors: list[dict[str, torch.Tensor]] = [
        {"a": torch.zeros(4)},
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.tensor([0.0, 0, 0, -0.0])},
        {"a": torch.zeros(2), "b": torch.zeros(2)},
    ]
    assert len({digest_tensors(each) for each in tensors}) == len(tensors)
    assert digest_tensors({"a": torch.zeros(1), "b": torch.ones(1)}) == digest_tensors(
        {"b": torch.ones(1), "a": torch.zeros(1)}
    )
    assert len({digest_texts(texts) for texts in (["a", "b"], ["b", "a"], ["ab"], ["a"], [], ["\udce9"])}) == 6


def test_a_file_is_known_by_name_time_or_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    ways: tuple[Identity, ...] = ("name", "time", "content")
    known = {by: file_identity(str(path), by) for by in ways}
    path.write_bytes(b"two")
    os.utime(path, (1, 1))  # of the same size and time
    assert {by for by in known if file_identity(str(path), by) != known[by]} == {"content"}
    os.utime(path, (2, 2))
    assert {by for by in known if file_identity(str(path), by) != known[by]} == {"content", "time"}
    path.unlink()
    assert "absent" in file_identity(str(path))


def test_the_code_that_makes_results_is_part_of_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_bytes = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    code_version.cache_clear()
    code_version()
    assert {"modeling_cnn_rnn.py", "path_decoder.py", "beam_search.py", "images.py", "transforms.py"} <= set(read)
