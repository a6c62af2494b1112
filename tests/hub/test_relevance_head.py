"""Heads that score every label by itself."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.ml_decoder import MLDecoder

from cnn_rnn import CnnRnnConfig, CnnRnnForImageClassification
from cnn_rnn.relevance_head import (
    ClassesHead,
    MlpHead,
    RegionClassesHead,
    ResidualAttention,
    build_relevance_head,
    head_of_config,
)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("linear", (3, 16)), ("mlp", (3, 16)), ("residual_attention", (3, 9, 16)), ("ml_decoder", (3, 9, 16))],
)
def test_every_head_gives_a_logit_a_label_and_learns(kind: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = build_relevance_head(kind, 16, 5, hidden_size=32, dropout=0.1).eval()
    features = torch.randn(*shape)
    logits = head(features)
    assert logits.shape == (3, 5)
    torch.testing.assert_close(head(features[1:2]), logits[1:2], atol=1e-5, rtol=1e-4)  # an image alone
    logits.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown relevance head 'tree', expected 'linear', 'mlp', 'residual_"):
        build_relevance_head("tree", 16, 5, hidden_size=32, dropout=0.1)


def test_the_best_place_counts_half_beside_the_mean() -> None:
    torch.manual_seed(0)
    head = ResidualAttention(4, 3, 3, dropout=0.0).eval()
    places = torch.randn(2, 5, 4)
    alike = places[:, :1].expand(-1, 5, -1)  # every place says the same: no place is better than the mean
    by_mean = MlpHead.forward(head, alike.mean(dim=1))
    torch.testing.assert_close(head(alike), by_mean + 0.5 * head.place_scores(alike[:, 0]))
    order = torch.randperm(5)
    torch.testing.assert_close(head(places[:, order]), head(places))
    one_by_one = torch.stack([head.place_scores(places[:, place]) for place in range(5)]).amax(dim=0)
    torch.testing.assert_close(head(places) - MlpHead.forward(head, places.mean(dim=1)), 0.5 * one_by_one)


@pytest.mark.parametrize("num_labels", [5, 100, 230])  # as many queries as labels, and one for up to three of them
def test_label_queries_give_what_timms_own_head_gives(num_labels: int) -> None:
    torch.manual_seed(0)
    ours = build_relevance_head("ml_decoder", 16, num_labels, hidden_size=32, dropout=0.1).eval().double()
    theirs = MLDecoder(num_labels, decoder_embedding=32, initial_num_features=16).eval().double()
    theirs.load_state_dict(ours.state_dict())  # under the same names
    (layer,) = theirs.decoder.layers
    theirs.decoder.forward = layer.forward  # torch's own asks a layer for what timm's does not have
    places = torch.randn(3, 9, 16, dtype=torch.double)
    expected = theirs(places.clone())
    torch.testing.assert_close(ours(places), expected, atol=1e-12, rtol=1e-12)
    for head in (ours, theirs):
        head(places).square().sum().backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters() if weight.grad is not None}
    assert gradients
    for name, weight in ours.named_parameters():
        if name in gradients:
            torch.testing.assert_close(weight.grad, gradients[name], atol=1e-9, rtol=1e-9)


def test_a_label_is_the_more_probable_the_surer_the_classifier_is_of_what_implies_it() -> None:
    torch.manual_seed(0)
    implied = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    head = ClassesHead(6, 8, 3, dropout=0.0, implied=implied).eval()
    features = torch.randn(5, 6)
    classes = torch.nn.functional.linear(features, head.classifier.weight, head.classifier.bias)
    centred = classes - classes.mean(dim=-1, keepdim=True)
    seen = torch.cat([features, centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()], dim=-1)
    said = head(features) - MlpHead.forward(head, seen)
    probabilities = classes.softmax(-1)
    joint = torch.stack([probabilities[:, 0] + probabilities[:, 2], probabilities[:, 3], torch.zeros(5)], -1)
    torch.testing.assert_close(said, 4 * torch.log(1 + joint / 1e-4) / 9.2103404, atol=1e-5, rtol=1e-4)
    assert not head.classifier.weight.requires_grad


def test_a_label_is_the_more_probable_the_surer_a_region_is_of_the_classes_that_imply_it() -> None:
    torch.manual_seed(0)
    implied = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    head = RegionClassesHead(6 + 4, 8, 3, dropout=0.0, implied=implied).eval()
    mean, probabilities = torch.randn(2, 6), torch.tensor([[0.3, 0.6, 0.1, 1e-9], [0.8, 1e-9, 0.7, 0.5]])
    classes = probabilities.log()
    centred = classes - classes.mean(dim=-1, keepdim=True)
    seen = torch.cat([mean, centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()], dim=-1)
    said = head(torch.cat([mean, 1 + classes / 9.2103404], dim=-1)) - MlpHead.forward(head, seen)
    joint = torch.tensor([[0.4, 0.0, 0.0], [1.0, 0.5, 0.0]])
    torch.testing.assert_close(said, 8 * torch.log(1 + joint / 1e-4) / 9.2103404, atol=2e-3, rtol=1e-4)


def test_the_classifier_behind_the_features_is_taken_from_the_weights_and_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    pixels = torch.randn(1, 3, 64, 64)
    save_file(whole.state_dict(), tmp_path / "by_name.safetensors")
    torch.save({f"other.{name}": value for name, value in whole.state_dict().items()}, tmp_path / "in_order.pth")
    for file in ("by_name.safetensors", "in_order.pth"):
        model = CnnRnnForImageClassification.from_backbone(
            "tf_efficientnet_lite0",
            tmp_path / file,
            id2label=["cat", "egg"],
            relevance_head="classes",
            relevance_hidden_size=4,
            implied_by={"cat": [281, 282], "of another model": [3]},
            path_loss="none",
            fusion="relevance",
        ).eval()
        classes = model.relevance_head.classifier(model.encode_images(pixels))
        torch.testing.assert_close(classes, whole.eval()(pixels), atol=1e-4, rtol=1e-3)
    model.save_pretrained(tmp_path / "saved")
    again = CnnRnnForImageClassification.from_pretrained(tmp_path / "saved").eval()
    assert again.config.implied_by == model.config.implied_by
    torch.testing.assert_close(again(pixels).logits, model(pixels).logits)


@pytest.mark.parametrize(
    ("backbone", "implied_by", "told"),
    [
        ("vit_small_patch14_dinov2", None, "trained without"),
        ("resnet18", {"cat": [1000]}, "'cat' names class 1000, resnet18 has 0..999"),
    ],
)
def test_classes_that_there_are_not_are_refused(backbone: str, implied_by: dict[str, list[int]], told: str) -> None:
    config = CnnRnnConfig(
        backbone=backbone, relevance_head="classes", implied_by=implied_by, id2label={0: "cat"}, label2id={"cat": 0}
    )
    with pytest.raises(ValueError, match=told):
        head_of_config(config, 8)


def test_weights_without_a_classifier_are_refused(tmp_path: Path) -> None:
    bare = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    save_file(bare.state_dict(), tmp_path / "bare.safetensors")
    fields: dict[str, Any] = {
        "id2label": ["cat"],
        "relevance_head": "classes",
        "path_loss": "none",
        "fusion": "relevance",
    }
    with pytest.raises(ValueError, match=r"bare\.safetensors holds none"):
        CnnRnnForImageClassification.from_backbone("tf_efficientnet_lite0", tmp_path / "bare.safetensors", **fields)
