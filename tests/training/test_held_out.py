"""The fitted fusion against scikit-learn's logistic regression without a penalty."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tests.hub.random_rules import ANIMALS, NAMES, closed_sets
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cnn_rnn import CnnRnnConfig, CnnRnnForImageClassification
from cnn_rnn.fusion import fuse, path_log_odds
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.prediction import Predictions
from cnn_rnn.ruled_tensors import RuledTensors
from cnn_rnn.training.held_out import fit_fusion, fit_on_held_out


def likeliest(inputs: Tensor, targets: Tensor) -> list[float]:
    """Weights of the columns, then the bias, that make the targets most likely."""
    fitted = LogisticRegression(C=math.inf, tol=1e-10, solver="newton-cholesky").fit(inputs.double(), targets)
    return [*fitted.coef_[0], fitted.intercept_[0]]


@pytest.mark.parametrize("seed", range(5))
def test_the_fusion_is_a_logistic_regression_over_what_counts(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(300, 5, generator=generator) < 0.3
    relevance = 2 * truth - 1 + torch.randn(300, 5, generator=generator)
    scores = (1.5 * truth - 1 + torch.randn(300, 5, generator=generator)).sigmoid()
    targets = truth.float()
    targets[:40, 2] = -100
    counts = targets >= 0
    fitted = fit_fusion(scores, relevance, targets)
    inputs = torch.stack([path_log_odds(scores)[counts], relevance[counts]], dim=1)
    assert fitted == pytest.approx(likeliest(inputs, targets[counts]), abs=1e-4)
    probabilities = (inputs @ torch.tensor(fitted[:2]) + fitted[2]).sigmoid()
    assert probabilities.mean().item() == pytest.approx(targets[counts].mean().item(), abs=1e-5)
    targets[:40, 2] = -1
    relevance[:40, 2] = 50.0
    assert fit_fusion(scores, relevance, targets) == pytest.approx(fitted)


def test_under_rules_the_fusion_is_the_best_for_logits_that_obey() -> None:
    """No weights around it give the closed logits a smaller loss; those fitted without the rules give a greater one."""
    generator = torch.Generator().manual_seed(5)
    rules = LabelRules.of(ANIMALS, NAMES)
    assert rules is not None
    ruled = RuledTensors(rules, torch.device("cpu"))
    sets = closed_sets(ANIMALS, NAMES)
    targets = sets[torch.randint(len(sets), (200,), generator=generator)].float()
    scores, relevance = (2 * (2 * targets - 1) + 2 * torch.randn(200, 6, generator=generator) for _ in range(2))
    targets[:20, 1] = -100.0

    def loss(weights: tuple[float, ...]) -> float:
        logits = ruled.constrain(fuse(scores.sigmoid(), relevance, weights).double())
        counts = targets >= 0
        return float(binary_cross_entropy_with_logits(logits[counts], targets[counts].double()))

    fitted, before = (fit_fusion(scores.sigmoid(), relevance, targets, one) for one in (rules, None))
    assert loss(fitted) < loss(before) - 1e-4
    for place in range(3):
        for step in (-0.02, 0.02):
            moved = tuple(weight + step * (number == place) for number, weight in enumerate(fitted))
            assert loss(moved) > loss(fitted)


@pytest.mark.parametrize("size", [0.01, 1, 100])
def test_one_part_alone_is_scaled_and_shifted(size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    targets = (torch.rand(400, 3, generator=generator) < 0.4).float()
    logits = 3 * (2 * targets - 1 + torch.randn(400, 3, generator=generator)) + 1
    slope, bias = likeliest(logits.reshape(-1, 1), targets.flatten())
    assert fit_fusion(None, size * logits, targets) == pytest.approx((0, slope / size, bias), rel=1e-3)
    assert fit_fusion(logits.sigmoid(), None, targets) == pytest.approx((slope, 0, bias), abs=1e-2)


def test_labels_that_logits_separate_have_finite_weights() -> None:
    logits, targets = torch.tensor([[-1.0, 1.0]] * 50), torch.tensor([[0.0, 1.0]] * 50)
    path, relevance, bias = fit_fusion(None, logits, targets)
    assert path == 0
    assert 5 < relevance < 100
    assert bias == pytest.approx(0, abs=1e-3)


def test_a_common_threshold_has_the_best_overall_f1_of_all_and_own_ones_the_best_of_every_label() -> None:
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(400, 3, generator=generator) < torch.tensor([0.6, 0.3, 0.15])
    logits = 2 * (2 * truth - 1) + 2 * torch.randn(400, 3, generator=generator)
    names = {index: str(index) for index in range(3)}
    config = CnnRnnConfig(backbone="test_resnet", id2label=names, path_loss="none", fusion="relevance")
    model = CnnRnnForImageClassification(config)
    predictions = Predictions([str(index) for index in range(400)], truth.float(), logits, relevance_logits=logits)

    def figures(thresholds: list[float]) -> dict[str, float]:
        metrics = MultiLabelMetrics(thresholds=thresholds)
        metrics.update(fitted.logits.sigmoid(), truth)
        found: dict[str, float] = metrics.compute()["threshold"]
        return found

    fitted = fit_on_held_out(model, predictions)
    assert config.thresholds is not None
    each = figures(config.thresholds)
    assert len(set(config.thresholds)) == 3
    fitted = fit_on_held_out(model, predictions, "common")
    common = figures(config.thresholds)
    assert len(set(config.thresholds)) == 1
    others = [figures([step / 50] * 3) for step in range(1, 50)]
    assert common["OF1"] >= max(other["OF1"] for other in others)
    assert each["mean_class_F1"] >= max(other["mean_class_F1"] for other in [common, *others])


def test_what_is_called_unfamiliar_is_the_share_asked_for_and_has_the_least_probable_best_label() -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(200, 3, generator=generator)
    truth = (torch.rand(200, 3, generator=generator) < logits.sigmoid()).float()
    names = {index: str(index) for index in range(3)}
    config = CnnRnnConfig(backbone="test_resnet", id2label=names, path_loss="none", fusion="relevance")
    model = CnnRnnForImageClassification(config)
    predictions = Predictions([str(index) for index in range(200)], truth, logits, relevance_logits=logits)
    fit_on_held_out(model, predictions)
    assert config.familiar_from == 0
    best = fit_on_held_out(model, predictions, unfamiliar_share=0.1).logits.sigmoid().amax(dim=1)
    assert int((best < config.familiar_from).sum()) == 20
    config.id2label = {0: "other"}
    assert config.familiar_from == 0  # it was of the old labels
