"""Starting from a model of one's own: what both know stays, by name; what is new is fresh."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cnn_rnn
from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.training import Trainer, load_run_config
from cnn_rnn.training.earlier_model import adopt_weights, earlier_settings
from cnn_rnn.training.named_weights import is_model, model_source

Settings = Callable[..., list[str]]


def model(names: list[str]) -> CnnRnnForImageClassification:
    return CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=names, hidden_size=8, embedding_size=4
    ).eval()


def test_the_same_labels_in_another_order_give_the_same_predictions(tmp_path: Path) -> None:
    first, names = model(["a", "b", "c", "d"]), ["d", "b", "a", "c"]
    first.save_pretrained(tmp_path)
    second = model(names)
    adoption = adopt_weights(second, str(tmp_path))
    assert (adoption.new, adoption.dropped, adoption.fresh) == ([], [], [])
    image = torch.randn(2, 3, 64, 64)
    order = [first.config.label2id[name] for name in names]
    with torch.no_grad():
        before, after = first(image).logits[:, order], second(image).logits
    torch.testing.assert_close(after, before)


def test_new_labels_start_fresh_and_dropped_ones_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = model(["a", "b", "c"])
    first.save_pretrained(tmp_path)
    second = model(["c", "x", "a", "y"])
    fresh = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    with caplog.at_level(logging.INFO):
        adoption = adopt_weights(second, str(tmp_path))
    assert (adoption.kept, adoption.new, adoption.dropped) == (["a", "c"], ["x", "y"], ["b"])
    given, now = first.state_dict(), second.state_dict()
    for name in ("relevance_head.weight", "relevance_head.bias", "path_decoder.label_embedding.weight"):
        torch.testing.assert_close(now[name][[0, 2]], given[name][[2, 0]])
        torch.testing.assert_close(now[name][[1, 3]], fresh[name][[1, 3]])
    embedding = "path_decoder.label_embedding.weight"
    torch.testing.assert_close(now[embedding][4:], given[embedding][3:])  # END and START
    torch.testing.assert_close(
        now["backbone.timm_model.conv1.weight"]
        if "backbone.timm_model.conv1.weight" in now
        else next(iter(now.values())),
        given["backbone.timm_model.conv1.weight"]
        if "backbone.timm_model.conv1.weight" in given
        else next(iter(given.values())),
    )
    assert "new, start fresh" in caplog.text
    assert "x, y" in caplog.text


def test_rules_hold_further_among_the_labels_that_are_left_or_give_way_to_others(
    settings: Settings, tmp_path: Path
) -> None:
    rules = {"implies": {"blue": "gone", "gone": "green"}, "excludes": [["red", "gone"], ["red", "green"]]}
    fields: dict[str, Any] = {"hidden_size": 8, "embedding_size": 4, "image_size": 32, "known_labels": "state"}
    names = ["red", "green", "blue", "gone"]
    first = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=names, label_rules=rules, **fields)
    MultiLabelImageClassificationPipeline(
        first, image_processor=CnnRnnImageProcessor.from_config(first.config)
    ).save_pretrained(tmp_path / "first")
    start = {"model__weights": tmp_path / "first"}
    file = tmp_path / "rules.yaml"
    file.write_text("excludes: [[red, blue]]")
    for place, changes, expected in (
        ("as it was", {}, {"implies": {"blue": ["green"]}, "excludes": [["red", "green"]]}),
        ("others", {"model__label_rules": file}, {"excludes": [["red", "blue"]]}),
        ("none", {"model__label_rules": "null"}, None),
    ):
        again = Trainer(load_run_config(None, settings(tmp_path / place, **start, **changes)))
        assert again.plain_model.config.label_rules == expected


def test_what_names_a_model(tmp_path: Path) -> None:
    assert is_model("org/photos")
    assert is_model(str(tmp_path))
    assert is_model("bundled")
    assert model_source("bundled") == str(cnn_rnn.bundled_model())
    assert model_source("./bundled") == "./bundled"
    assert not any(is_model(name) for name in ("imagenet", "pip:package", "weights/a.safetensors", "./a/b.pth", None))


def test_another_backbone_or_an_unfinished_run_are_refused(tmp_path: Path) -> None:
    model(["a"]).save_pretrained(tmp_path / "model")
    other = CnnRnnForImageClassification.from_backbone("test_vit", id2label=["a"])
    with pytest.raises(
        ValueError, match=r"has the backbone 'test_resnet', this run 'test_vit': give --model\.backbone"
    ):
        adopt_weights(other, str(tmp_path / "model"))
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no finished model, no config\.json \(the run was stopped"):
        adopt_weights(other, str(tmp_path / "run"))


def test_a_run_goes_on_from_a_finished_one(settings: Settings, tmp_path: Path) -> None:
    first = Trainer(load_run_config(None, settings(tmp_path / "first", train__epochs=1)))
    first.train()
    again = Trainer(
        load_run_config(None, settings(tmp_path / "second", train__batch_size=4, model__weights=tmp_path / "first"))
    )
    saved = CnnRnnForImageClassification.from_pretrained(tmp_path / "first").state_dict()
    for name, tensor in again.plain_model.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), saved[name])


def test_an_earlier_models_settings_take_the_place_of_the_files_but_not_of_those_that_are_given(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("model: {backbone: resnet18, hidden_size: 32, weights: imagenet}\ntrain: {epochs: 3}\n")
    started = load_run_config(file, ["--model.weights", "bundled", "--model.hidden_size", "16"])
    assert started.model == {"weights": "bundled", "hidden_size": 16}
    assert started.train.epochs == 3
    assert load_run_config(file, ["--model.hidden_size", "16"]).model["backbone"] == "resnet18"


def test_a_run_starts_from_the_model_in_the_box_and_keeps_what_it_knows_of_labels_of_the_same_name() -> None:
    names = ["cat", "no such label"]
    fields = earlier_settings(model_source("bundled"), names)
    fields |= {"cooccurrence": False, "neighbours": 0}  # counted on the photos of a run
    started = CnnRnnForImageClassification.from_backbone(fields.pop("backbone"), id2label=names, **fields)
    adoption = adopt_weights(started, model_source("bundled"))
    assert (adoption.kept, adoption.new, adoption.fresh) == (["cat"], ["no such label"], [])
    boxed = CnnRnnForImageClassification.from_pretrained(cnn_rnn.bundled_model())
    given = boxed.state_dict()
    row = boxed.config.label2id["cat"]
    now = started.state_dict()
    torch.testing.assert_close(now["relevance_head.hidden.weight"], given["relevance_head.hidden.weight"])
    torch.testing.assert_close(now["relevance_head.output.weight"][0], given["relevance_head.output.weight"][row])
