"""Small models of five labels, four images and their labels."""

from typing import Any

import pytest
import torch

from cnn_rnn import CnnRnnForImageClassification

LABELS = ["cat", "dog", "bird", "car", "tree"]
NUM_LABELS = len(LABELS)
PIXELS = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]])

Model = CnnRnnForImageClassification


def model_of(seed: int = 0, **fields: Any) -> Model:
    """A new model for `LABELS`, in evaluation mode; the fields are its config's."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"backbone": "test_resnet", "embedding_size": 16, "hidden_size": 24} | fields
    model = Model.from_backbone(settings.pop("backbone"), id2label=LABELS, label_counts=[9, 3, 5, 7, 1], **settings)
    if model.path_decoder is not None:  # steps that differ clearly, so that no test passes by mere evenness
        with torch.no_grad():
            model.path_decoder.label_embedding.weight.mul_(4)
    return model.eval()


def generate(model: Model, pixel_values: torch.Tensor | None = PIXELS, **arguments: Any) -> Any:
    """The paths of `model.generate`, whose fields are never None."""
    return model.generate(pixel_values, **arguments)


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "attention": {"pooling": "attention"},
    "gru": {"cell": "gru", "fusion": "path"},
    "paper": {"cell": "relu_lstm", "relevance_loss": "none", "fusion": "path"},
    "relevance only": {"path_loss": "none", "fusion": "relevance"},
}
variants = pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)


def all_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer, those that are never saved among them."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def assert_same_tensors(actual: torch.nn.Module, expected: torch.nn.Module) -> None:
    """Same names, types and values."""
    one, two = all_tensors(actual), all_tensors(expected)
    assert list(one) == list(two)
    assert [name for name in two if one[name].dtype != two[name].dtype or not torch.equal(one[name], two[name])] == []


class Photos(torch.utils.data.Dataset):
    """Four photos, as a `datasets.Dataset` with a transform would give them."""

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": PIXELS[index], "labels": TARGETS[index]}
