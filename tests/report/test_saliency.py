"""What the network looked at lies where the evidence is, for any kind of backbone."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.report.saliency import explain_path, label_example, show_pixels, walk_example


class ColorBackbone(nn.Module):
    """Features that are the mean of each colour over the image, from a map of half its size."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.AvgPool2d(2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Means (B, 3)."""
        return self.map(pixels).mean(dim=(2, 3))


class ColorModel(nn.Module):
    """Every step scores label 0 by red, label 1 by green, label 2 by blue."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ColorBackbone()
        self.config = SimpleNamespace(start_id=4)
        self.path_decoder = ColorDecoder()

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Means (B, 3)."""
        return self.backbone(pixels)


class ColorDecoder(nn.Module):
    """Logits that are the colours' means."""

    def embed_image(self, features: Tensor) -> Tensor:
        """(B, 3) -> (B, 1, 3)."""
        return features[:, None]

    def forward(self, labels: Tensor, image: Tensor) -> tuple[Tensor, None]:
        """The same logits (B, T, 3) at every step."""
        return image.expand(-1, labels.shape[1], -1), None


def test_each_step_lights_up_where_its_label_is() -> None:
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[:, 0, :, :8] = 1  # red on the left
    pixels[:, 1, 8:, :] = 1  # green below
    model = ColorModel()
    maps, method = explain_path(model, pixels, [1, 0])
    assert method == "Grad-CAM"
    assert maps.shape == (2, 16, 16)
    assert maps[0, 10:].min() > 0.9
    assert maps[0, :6].max() < 0.1
    assert maps[1, :, :6].min() > 0.9
    assert maps[1, :, 10:].max() < 0.1


def model_of(backbone: str = "test_resnet", **settings: Any) -> Any:
    """A small model with random weights."""
    torch.manual_seed(0)
    return CnnRnnForImageClassification.from_backbone(
        backbone, id2label=["cat", "dog", "bird"], label_counts=[3, 2, 1], embedding_size=8, hidden_size=8, **settings
    ).eval()


@pytest.mark.parametrize(
    ("backbone", "settings", "method"),
    [
        ("test_resnet", {}, "Grad-CAM"),
        ("test_resnet", {"pooling": "attention"}, "Grad-CAM"),
        ("test_resnet", {"cell": "relu_lstm"}, "Grad-CAM"),
        ("test_convnext", {}, "Grad-CAM"),
        ("test_vit", {"backbone_args": {"img_size": 64}, "pooling": "avg"}, "smoothed input gradient"),
    ],
)
def test_models_of_any_kind_are_explained_and_left_as_they_were(
    backbone: str, settings: dict[str, Any], method: str
) -> None:
    model = model_of(backbone, **settings)
    model.freeze_backbone()
    model.train()
    found = explain_path(model, torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)), [2, 0])
    assert found.method == method
    assert found.maps.shape == (2, 64, 64)
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1
    assert model.path_decoder.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())  # noqa: SLF001


def test_a_path_without_labels_has_no_maps_and_no_path_decoder_is_said() -> None:
    assert explain_path(model_of(), torch.zeros(1, 3, 64, 64), []).maps.shape == (0, 64, 64)
    relevance_only = model_of(path_loss="none", fusion="relevance")
    with pytest.raises(ValueError, match="walks no path"):
        explain_path(relevance_only, torch.zeros(1, 3, 64, 64), [0])


def test_an_example_tells_what_generate_says() -> None:
    model = model_of()
    processor = CnnRnnImageProcessor.from_config(model.config)
    pixels = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(2))
    example, _ = walk_example(
        model, processor, {"pixel_values": pixels, "labels": torch.tensor([1.0, 0.0, -100.0]), "image_id": "a"}
    )
    output = model.generate(pixels[None])
    path = [label for label in output.paths[0, 0].tolist() if label < 3]
    assert (example.name, example.truth, example.left_out) == ("a", ["cat"], ["bird"])
    assert [step.label for step in example.steps][: len(path)] == [model.config.label_names[label] for label in path]
    product = np.prod([step.probability for step in example.steps])
    assert product == pytest.approx(float(output.path_scores[0, 0].exp()), rel=1e-4)


def test_labels_of_an_example_obey_rules() -> None:
    rules = {"excludes": [["cat", "dog"]]}
    model = model_of(path_loss="none", fusion="relevance", label_rules=rules)
    row = {"pixel_values": torch.zeros(3, 64, 64), "labels": torch.zeros(3), "image_id": "a"}
    processor = CnnRnnImageProcessor.from_config(model.config)
    scores = np.full(3, 0.5, np.float32)
    names = [step.label for step in label_example(model, processor, row, scores).steps]
    assert "bird" in names
    assert len({"cat", "dog"} & set(names)) == 1


def test_pixels_are_shown_as_they_were_before_normalising() -> None:
    plain = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    normalised = (plain / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    shown = np.asarray(show_pixels(normalised, mean, std))
    np.testing.assert_array_equal(shown, plain.permute(1, 2, 0).numpy())


def test_missing_captum_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r"need captum: pip install 'cnn-rnn\[report\]'"):
        explain_path(model_of(), torch.zeros(1, 3, 64, 64), [0])
