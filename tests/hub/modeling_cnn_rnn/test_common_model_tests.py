"""The library's common model tests on ours, and on two of its own image classifiers in the same harness."""

import unittest
from typing import Any

import torch
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
)

from cnn_rnn import CnnRnnConfig, CnnRnnForImageClassification

from .library_tests import library_tests

common = library_tests("test_modeling_common")

LABELS = {0: "cat", 1: "dog", 2: "bird"}
SMALL: dict[str, Any] = {
    "backbone": "test_resnet",
    "embedding_size": 8,
    "hidden_size": 12,
    "label_counts": [3, 1, 2],
    "id2label": LABELS,
}
OURS: dict[str, dict[str, Any]] = {
    "Default": {},
    "PathOnly": {"relevance_loss": "none", "fusion": "path"},
    "HeadOnly": {"path_loss": "none", "fusion": "relevance"},
    "Attention": {"pooling": "attention"},
    "Gru": {"cell": "gru"},
    "ReluLstm": {"cell": "relu_lstm"},
}


class ModelTester:
    """What the common tests ask of a model: a small config and a batch."""

    batch_size = 3
    is_training = True

    def __init__(self, config_class: type, fields: dict[str, Any], *, multi_hot: bool) -> None:
        self.config_class, self.fields, self.multi_hot = config_class, fields, multi_hot

    def get_config(self) -> Any:
        """A new config."""
        return self.config_class(**self.fields)

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, torch.Tensor]]:
        """A new config and images."""
        return self.get_config(), {"pixel_values": torch.rand(self.batch_size, 3, 32, 32)}

    def labels(self) -> torch.Tensor:
        """Labels for the images."""
        if self.multi_hot:
            return torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
        return torch.zeros(self.batch_size, dtype=torch.long)


class ImageClassifierTest(common.ModelTesterMixin):  # type: ignore[misc, name-defined]
    """The common tests with the flags that every stock image classifier on a CNN sets."""

    has_attentions = False
    test_resize_embeddings = False
    tester: ModelTester

    def setUp(self) -> None:
        """As the common tests expect it."""
        self.model_tester = self.tester

    def _prepare_for_class(self, inputs: dict[str, Any], model_class: type, return_labels: bool = False) -> Any:
        inputs = super()._prepare_for_class(inputs, model_class)
        return inputs | {"labels": self.tester.labels()} if return_labels else inputs


def tests_of(model_class: type, config_class: type, fields: dict[str, Any], **flags: Any) -> type:
    """The common tests for one class of models."""
    tester = ModelTester(config_class, fields, multi_hot=model_class is CnnRnnForImageClassification)
    settings = {"tester": tester, "all_model_classes": (model_class,)} | flags
    return type("Test", (ImageClassifierTest, unittest.TestCase), settings)


for name, variant in OURS.items():
    globals()[f"Test{name}"] = tests_of(CnnRnnForImageClassification, CnnRnnConfig, SMALL | variant)
TestResNet = tests_of(
    ResNetForImageClassification,
    ResNetConfig,
    {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 3},
)
TestTimmWrapper = tests_of(
    TimmWrapperForImageClassification, TimmWrapperConfig, {"architecture": "test_resnet", "num_labels": 3}
)
