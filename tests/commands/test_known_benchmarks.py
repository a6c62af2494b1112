"""The benchmarks of known labels and of other heads, at small size."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from datasets import Dataset

from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix
from cnn_rnn.prediction.known_measure import said_of_known
from cnn_rnn.prediction.predictions import PlacedFeatures
from cnn_rnn.training.feature_cache import CachedFeatures
from cnn_rnn.training.run_config import TrainConfig

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"
NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as context:
        context.syspath_prepend(str(BENCHMARKS))
        yield {name: importlib.import_module(name) for name in ("labels_alone", "rivals")}


def rows_of(present: np.ndarray) -> Dataset:
    """Rows with these labels (N, 3), whose images are not there."""
    count = len(present)
    ids = [str(row) for row in range(count)]
    return build_dataset(image_paths([None] * count), ids, label_lists_from_matrix(present), NAMES, split="train")


def twins(count: int) -> np.ndarray:
    """Labels (N, 3) of which the second is there where the first is."""
    present = np.random.default_rng(0).random((count, 3)) < 0.3
    present[:, 1] = present[:, 0]
    return present


def test_labels_alone_say_what_they_imply(modules: dict[str, ModuleType]) -> None:
    alone, rows = modules["labels_alone"], rows_of(twins(200))
    labels = torch.from_numpy(twins(200)).float()
    torch.manual_seed(0)
    config = TrainConfig(batch_size=32, lr=1e-2, known_share=0.75)
    known = torch.tensor([[1, 0, 0], [-1, 0, 0]])
    truth = twins(50).astype(np.int8)
    told = np.zeros_like(truth)
    told[:, 0] = np.where(truth[:, 0], 1, -1)
    for scores in (alone.counted(rows), alone.trained_states_head(labels, config, 60)):
        said = scores(known)
        assert said[0, 1] > said[1, 1] + 0.3
        untold, heard = (alone.precision_of_labels(scores, truth, state) for state in (np.zeros_like(truth), told))
        assert heard > untold + 0.2
    model = alone.trained_model(labels, rows, config, 20)
    assert alone.precision_of_labels(model, truth, told) > alone.precision_of_labels(model, truth, 0 * told) + 0.2


def test_what_a_present_and_an_absent_label_say_of_another_is_together_how_frequent_it_is(
    modules: dict[str, ModuleType],
) -> None:
    """By the law of total probability; that a twin is absent says most."""
    model = modules["labels_alone"].model_of(rows_of(twins(500)))
    frequency = (torch.tensor(model.config.label_counts) + 0.5) / 501
    present, absent = (said_of_known(model, sign * torch.eye(3)).exp() for sign in (1, -1))
    whole = frequency[:, None] * present + (1 - frequency[:, None]) * absent
    torch.testing.assert_close(whole, torch.ones(3, 3))
    model.config.counted_images = [500] * 3  # of each label, as where some images leave some out
    torch.testing.assert_close(said_of_known(model, -torch.eye(3)).exp(), absent)
    assert absent[0, 1] < 0.2
    assert abs(absent[0, 2] - 1) < 0.1


def test_label_tokens_hear_what_is_known_and_heads_are_measured(modules: dict[str, ModuleType]) -> None:
    rivals, present = modules["rivals"], twins(48)
    features = np.random.default_rng(1).normal(size=(48, 4, 16)).astype(np.float32)
    features[:, :, :3] += 3 * present[:, None]
    whole = CachedFeatures(PlacedFeatures("", rows_of(present), features, np.arange(48)))
    parts = rivals.Parts(whole, whole, whole)
    whole_floats = TrainConfig(batch_size=16, lr=3e-3, epochs=4)
    halves = replace(whole_floats, mixed_precision="bf16")
    cases = ("mlp", whole_floats), ("ml_decoder", halves), ("label_tokens", whole_floats), ("label_tokens", halves)
    for kind, config in cases:
        head = rivals.train_head(kind, 16, parts, config)
        figures = rivals.measure([head, head], parts, 0, 1)
        assert figures["mAP"] > 0.6
        assert (figures["told 50%"] != figures["untold 50%"]) == (kind == "label_tokens")


def test_a_shrunk_map_holds_the_means_of_what_its_places_stand_for(modules: dict[str, ModuleType]) -> None:
    rivals, rows = modules["rivals"], rows_of(twins(10))
    maps = np.random.default_rng(0).random((10, 36, 5), np.float32)
    order = np.arange(10)[::-1].copy()
    whole = CachedFeatures(*(PlacedFeatures("", rows, view, order) for view in (maps, maps + 1)), seed=3)
    parts = rivals.shrink(rivals.Parts(whole, whole.first_view(), whole.first_view()), 2)
    grid = maps.reshape(10, 6, 6, 5)
    expected = np.stack([grid[:, y : y + 3, x : x + 3].mean(axis=(1, 2)) for y in (0, 3) for x in (0, 3)], axis=1)
    np.testing.assert_allclose(parts.train.views[0].features, expected, rtol=1e-5)
    np.testing.assert_allclose(parts.train.views[1].features, expected + 1, rtol=1e-5)
    np.testing.assert_allclose(parts.test.views[0].take(0), expected[9], rtol=1e-5)
    assert parts.held_out.views[0].features is parts.train.views[0].features
    assert parts.train.seeds.seed == 3
