"""The library's common model tests on ours, and on two of its own image classifiers in the same harness."""

import unittest
from typing import Any

import pytest
import torch
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
    set_seed,
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


# Those that differ in parts and shapes run always; the others, and the library's own two, on a clean clone (.ci/run).
ALWAYS = ("Default", "HeadOnly", "Attention")


class ModelTester:
    """What the common tests ask of a model: a small config and a batch."""

    batch_size = 3
    is_training = True
    num_hidden_layers = 2  # no layer here is counted, but one that is must not be large
    expected_num_hidden_layers = 5  # feature maps of `test_resnet`: the stem and four stages

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


class ImageClassifierTest(common.ModelTesterMixin):  # type: ignore[name-defined]
    """The common tests with the flags that the library's own tests of image classifiers on a CNN set."""

    has_attentions = False
    test_resize_embeddings = False
    skip_test_image_features_output_shape = True  # it looks for the width of tokens in the config's `hidden_size`
    tester: ModelTester

    def setUp(self) -> None:
        """As the common tests expect it; a fixed seed, since some of them look at the mean of a few random weights."""
        self.model_tester = self.tester
        set_seed(0)

    def _prepare_for_class(self, inputs: dict[str, Any], model_class: type, return_labels: bool = False) -> Any:
        inputs = super()._prepare_for_class(inputs, model_class)
        return inputs | {"labels": self.tester.labels()} if return_labels else inputs

    @unittest.skip("an image classifier has no embedding of tokens")
    def test_model_get_set_embeddings(self) -> None:
        """Left out, as for ResNet and TimmWrapper."""

    @torch.no_grad()
    def test_hidden_states_output(self) -> None:
        """In place of layers of tokens: feature maps (B, D, h, w), each no larger than the one before."""
        config, inputs = self.tester.prepare_config_and_inputs_for_common()
        (model_class,) = self.all_model_classes
        asked = model_class(config).eval()(**inputs, output_hidden_states=True).hidden_states
        config.output_hidden_states = True
        configured = model_class(config).eval()(**inputs).hidden_states
        for maps in (asked, configured):
            assert len(maps) > 2
            assert all(len(each) == self.tester.batch_size and each.dim() == 4 for each in maps)
            sides = [each.shape[-1] for each in maps]
            assert sides == sorted(sides, reverse=True)


def common_tests(name: str, model_class: type, config_class: type, fields: dict[str, Any]) -> type:
    """The common tests for one class of models."""
    tester = ModelTester(config_class, fields, multi_hot=model_class is CnnRnnForImageClassification)
    settings = {"tester": tester, "all_model_classes": (model_class,), "__module__": __name__}
    return type(name, (ImageClassifierTest, unittest.TestCase), settings)


for variant, fields in OURS.items():
    tests = common_tests(f"Test{variant}", CnnRnnForImageClassification, CnnRnnConfig, SMALL | fields)
    globals()[f"Test{variant}"] = tests if variant in ALWAYS else pytest.mark.slow(tests)
TestResNet = pytest.mark.slow(
    common_tests(
        "TestResNet",
        ResNetForImageClassification,
        ResNetConfig,
        {"embedding_size": 8, "hidden_sizes": [8, 128], "depths": [1, 1], "num_labels": 3},
    )
)
TestTimmWrapper = pytest.mark.slow(
    common_tests(
        "TestTimmWrapper",
        TimmWrapperForImageClassification,
        TimmWrapperConfig,
        {"architecture": "test_resnet", "num_labels": 3},
    )
)
