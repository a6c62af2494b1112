"""Parameter groups and schedule."""

from typing import Literal

import pytest
import torch

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.training.optimization import build_average, build_optimizer, build_schedule
from cnn_rnn.training.run_config import TrainConfig


@pytest.fixture(scope="module")
def model() -> CnnRnnForImageClassification:
    """A small model."""
    return CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"])


@pytest.mark.parametrize("name", ["adamw", "rmsprop", "sgd"])
def test_every_trainable_parameter_is_in_one_group_with_its_own_rate(
    model: CnnRnnForImageClassification, name: Literal["adamw", "rmsprop", "sgd"]
) -> None:
    config = TrainConfig(optimizer=name, lr=1.0, backbone_lr=0.5, embedding_lr=0.25, weight_decay=0.1)
    optimizer = build_optimizer(model, config)
    settings = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(settings) == sum(len(group["params"]) for group in optimizer.param_groups)
    for parameter_name, parameter in model.named_parameters():
        rate, decay = settings[id(parameter)]
        own_rate = 0.25 if "label_embedding" in parameter_name else 1.0
        assert rate == (0.5 if parameter_name.startswith("backbone.") else own_rate)
        assert decay == (0.0 if parameter.ndim == 1 or "embedding" in parameter_name else 0.1)


def test_a_frozen_backbone_is_left_out() -> None:
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"])
    model.freeze_backbone()
    members = [p for group in build_optimizer(model, TrainConfig()).param_groups for p in group["params"]]
    assert {id(p) for p in members} == {id(p) for n, p in model.named_parameters() if not n.startswith("backbone.")}


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.0), ("linear", 0.0), ("constant", 1.0)])
def test_the_rate_rises_over_the_warm_up_and_ends_as_asked(
    schedule: Literal["cosine", "linear", "constant"], last: float
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build_schedule(optimizer, TrainConfig(schedule=schedule, warmup=0.1), 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:11] == pytest.approx([step / 10 for step in range(11)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(last)


def test_one_cycle_rises_to_the_rate_of_each_group_and_leaves_momentum() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups, momentum=0.8)
    scheduler = build_schedule(optimizer, TrainConfig(schedule="one_cycle", warmup=0.3), 100)
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    highest = max(range(100), key=lambda step: rates[step][0])
    assert 25 < highest < 35
    assert rates[highest] == pytest.approx([1.0, 0.1], rel=0.01)
    assert rates[0] == pytest.approx([1 / 25, 0.1 / 25])
    assert rates[-1][0] < 0.001
    assert optimizer.param_groups[0]["momentum"] == 0.8


def test_the_running_average_follows_closely_at_first() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    assert build_average(layer, TrainConfig()) is None
    average = build_average(layer, TrainConfig(ema_decay=0.99))
    assert average is not None
    layer.weight.data.fill_(1.0)
    average.update(layer, step=1)
    assert average.module.weight.item() == 1.0
    decays = [average.get_decay(step) for step in (2, 20, 200, 20_000)]
    assert decays == sorted(decays)
    assert decays[-1] == 0.99
