"""A model that is made from a backbone, saved, and loaded again, whole or not."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file

from .small_models import LABELS, PIXELS, VARIANTS, Model, all_tensors, assert_same_tensors, generate, model_of


@pytest.mark.parametrize(
    "fields",
    [
        *VARIANTS.values(),
        {"backbone": "test_coatnet"},  # has buffers that are never saved
        {"backbone": "test_vit_relpos"},  # likewise
        {"backbone": "test_convnext", "backbone_args": {"drop_path_rate": 0.1}},
    ],
    ids=str,
)
@torch.no_grad()
def test_saving_and_loading_is_exact(fields: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(**fields).train()
    model(torch.randn(2, 3, 160, 160))  # running statistics of its own
    model.eval().save_pretrained(tmp_path)
    loaded, info = Model.from_pretrained(tmp_path, output_loading_info=True)
    assert_same_tensors(loaded, model)
    assert not any(info.values())
    assert not loaded.training
    pixel_values = torch.randn(2, 3, 160, 160)
    torch.testing.assert_close(loaded(pixel_values).logits, model(pixel_values).logits)


def remove_keys(folder: Path, unwanted: Callable[[str], bool]) -> list[str]:
    """Names of the tensors that were taken out of a saved folder's weights."""
    path = folder / "model.safetensors"
    state = load_file(path)
    removed = [name for name in state if unwanted(name)]
    save_file({name: tensor for name, tensor in state.items() if name not in removed}, path, {"format": "pt"})
    return removed


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("test_resnet", {"cell": "relu_lstm", "pooling": "attention"}),
        ("test_coatnet", {"cell": "gru"}),
        ("test_vit_relpos", {}),
        ("tf_efficientnet_lite0", {}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_a_checkpoint_lacks_gets_initial_values_and_no_garbage(
    name: str, fields: dict[str, Any], first: bool, tmp_path: Path
) -> None:
    model = model_of(backbone=name, **fields)
    with torch.no_grad():
        for tensor in all_tensors(model).values():
            if tensor.is_floating_point():
                tensor.mul_(1.5).add_(3.0)  # what is loaded can be told from what is new
    unsaved = set(all_tensors(model)) - set(model.state_dict())
    model.save_pretrained(tmp_path)
    wanted = itertools.cycle([first, not first])
    removed = remove_keys(tmp_path, lambda _: next(wanted))
    # Memory that was used before is what an uninitialised tensor shows: fill it with a value to look for.
    garbage = [torch.full((size,), 12345.0) for size in (64, 1024, 4096, 65536) for _ in range(50)]
    del garbage
    torch.manual_seed(1)
    loaded = Model.from_pretrained(tmp_path)
    fresh = timm.create_model(name, num_classes=0, global_pool="avg")
    initial = {f"backbone.timm_model.{key}": tensor for key, tensor in all_tensors(fresh).items()}
    for key, tensor in all_tensors(loaded).items():
        if key in unsaved:
            assert torch.equal(tensor, initial[key]), key
        elif key not in removed:
            assert torch.equal(tensor, all_tensors(model)[key]), key
        elif key.startswith("backbone."):
            expected = initial[key].float()
            if expected.numel() == expected.eq(expected.flatten()[0]).sum():  # norms, statistics, most biases
                assert torch.equal(tensor, initial[key]), key
            else:
                assert (tensor - expected).abs().max() < 20 * expected.square().mean().sqrt(), key
                assert tensor.square().mean() > 0.01 * expected.square().mean(), key
        else:
            bias = "bias" in key
            assert tensor.abs().max() < 2, key
            assert tensor.any() != bias, key
    assert any(key.startswith("path_decoder.") for key in removed)


def test_a_checkpoint_without_a_backbone_keeps_the_rest(tmp_path: Path) -> None:
    model = model_of()
    model.save_pretrained(tmp_path)
    remove_keys(tmp_path, lambda key: key.startswith("backbone."))
    torch.manual_seed(5)
    loaded = Model.from_pretrained(tmp_path)
    assert loaded.path_decoder is not None
    assert model.path_decoder is not None
    assert_same_tensors(loaded.path_decoder, model.path_decoder)
    for name, tensor in loaded.backbone.named_buffers():
        expected = 1 if name.endswith("running_var") else 0
        assert tensor.eq(expected).all(), name
    features = loaded.encode_images(PIXELS)
    assert features.isfinite().all()
    assert features.std() > 1e-3


@torch.no_grad()
def test_half_precision_loads_and_scores(tmp_path: Path) -> None:
    model = model_of(fusion="relevance")
    model.save_pretrained(tmp_path)
    for fusion in ("relevance", "path", "both"):
        half = Model.from_pretrained(tmp_path, dtype=torch.bfloat16, fusion=fusion)
        assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
        known = torch.tensor([[1, -1, 0, 0, 0]] * 4)
        generated = generate(half, PIXELS.bfloat16(), known_labels=known)
        assert generated.logits.isfinite().all()
        assert generated.logits[:, 0].min() > 10
        assert generated.logits[:, 1].max() < -10
        model.config.fusion = fusion
        error = half(PIXELS.bfloat16()).logits.float().sigmoid() - model(PIXELS).logits.sigmoid()
        assert error.abs().max() < 0.1


def test_a_checkpoint_of_other_classes_is_refused(tmp_path: Path) -> None:
    model_of().save_pretrained(tmp_path)
    names = {0: "cat", 1: "dog"}
    ids = {"cat": 0, "dog": 1}
    for labels in ({"num_labels": 7}, {"id2label": names}, {"id2label": names, "label2id": ids}):
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            Model.from_pretrained(tmp_path, **labels)
    with pytest.raises(StrictDataclassError, match="label_counts has 1 entries for 2 labels"):
        Model.from_pretrained(tmp_path, id2label=names, label_counts=[1])
    with pytest.raises(StrictDataclassError, match="label2id is not the inverse of id2label"):
        Model.from_pretrained(tmp_path, id2label=names, label2id={"cat": 1, "dog": 0})


def test_new_classes_on_request_keep_the_backbone(tmp_path: Path) -> None:
    model = model_of()
    model.save_pretrained(tmp_path)
    new = {"id2label": {0: "cup", 1: "pen"}, "label2id": {"cup": 0, "pen": 1}, "label_counts": [1, 1]}
    loaded = Model.from_pretrained(tmp_path, ignore_mismatched_sizes=True, **new)
    assert_same_tensors(loaded.backbone, model.backbone)
    assert loaded(PIXELS).logits.shape == (4, 2)
    assert all(tensor.float().abs().max() < 1e3 for tensor in all_tensors(loaded).values())


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    model_of().save_pretrained(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    for arguments in ({}, {"use_safetensors": False}, {"use_safetensors": None}):
        with pytest.raises(OSError, match=r"model\.safetensors"):
            Model.from_pretrained(tmp_path, **arguments)


def test_a_misspelt_field_is_refused_by_from_backbone() -> None:
    with pytest.raises(ValueError, match="did you mean 'embedding_size'"):
        Model.from_backbone("test_resnet", id2label=LABELS, embeding_size=3)


def test_counts_are_whole_numbers_in_the_order_of_the_labels() -> None:
    make = partial(Model.from_backbone, "test_resnet", id2label=["cat", "dog"])
    given: tuple[Any, ...] = ([3, 2], np.array([3.0, 2.0]), torch.tensor([3, 2]))
    for counts in given:
        assert make(label_counts=counts).config.label_counts == [3, 2]
    wrong: tuple[Any, ...] = ([1.5, 2], {"cat": 3, "dog": 2})
    for counts, message in zip(
        wrong, (r"whole numbers of images, got 1\.5", "in the order of the labels"), strict=True
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            make(label_counts=counts)


def test_from_backbone_takes_over_the_backbones_preprocessing() -> None:
    config = model_of(backbone="tf_efficientnet_lite0").config
    expected = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert config.image_size == expected.input_size[-1]
    assert (config.crop_pct, config.interpolation) == (expected.crop_pct, expected.interpolation)
    assert np.allclose((config.image_mean, config.image_std), (expected.mean, expected.std), rtol=0, atol=0)
    assert Model.from_backbone("test_resnet", id2label=LABELS, image_size=96).config.image_size == 96
