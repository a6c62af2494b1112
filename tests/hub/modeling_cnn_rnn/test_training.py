"""What training does to the model, by hand and by the stock Trainer."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from cnn_rnn.label_paths import paths_to_labels

from .small_models import (
    NUM_LABELS,
    PIXELS,
    TARGETS,
    Model,
    Photos,
    all_tensors,
    assert_same_tensors,
    generate,
    model_of,
    variants,
)


@pytest.mark.parametrize(
    ("label_order", "path_loss"),
    [
        ("frequent_first", "cross_entropy"),
        ("rare_first", "cross_entropy"),
        ("given", "cross_entropy"),
        ("aligned", "cross_entropy"),
        ("aligned", "remaining_labels"),
    ],
)
def test_four_images_overfit(label_order: str, path_loss: str) -> None:
    model = model_of(label_order=label_order, path_loss=path_loss, projection_dropout=0.0)
    model.freeze_backbone()
    with torch.no_grad():  # random weights tell the images apart by little: enlarge the difference
        features = model.encode_images(PIXELS)
        features = torch.nn.functional.normalize(features - features.mean(dim=0))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.03)
    model.train()
    for _ in range(60):
        model(image_features=features, labels=TARGETS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    assert torch.equal(model(image_features=features).logits.sigmoid() > 0.5, TARGETS.bool())
    generated = generate(model, None, image_features=features)
    assert torch.equal(paths_to_labels(generated.paths[:, 0], NUM_LABELS), TARGETS.bool())
    if label_order != "aligned":
        order = {"frequent_first": [3, 1, 4], "rare_first": [4, 1, 3], "given": [1, 3, 4]}[label_order]
        assert generated.paths[1, 0].tolist() == [*order, NUM_LABELS, NUM_LABELS]


def test_the_whole_model_overfits_from_random_weights() -> None:
    model = model_of(projection_dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        model(PIXELS, labels=TARGETS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for module in model.modules():  # the running statistics are still on their way
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(PIXELS)
    model.eval()
    assert torch.equal(model(PIXELS).logits.sigmoid() > 0.5, TARGETS.bool())
    assert torch.equal(paths_to_labels(generate(model).paths[:, 0], NUM_LABELS), TARGETS.bool())


@variants
def test_a_gradient_reaches_every_parameter(fields: dict[str, Any]) -> None:
    model = model_of(**fields).train()
    model(PIXELS, labels=TARGETS).loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    heads = [(name, p.grad) for name, p in model.named_parameters() if not name.startswith("backbone.")]
    assert [name for name, gradient in heads if not gradient.any()] == []


def test_a_frozen_backbone_stays_as_it_is() -> None:
    model = model_of()
    model.freeze_backbone()
    before = {name: tensor.clone() for name, tensor in all_tensors(model.backbone).items()}
    model.train()
    assert model.training
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(PIXELS, labels=TARGETS).loss.backward()
    optimizer.step()
    assert [name for name, tensor in all_tensors(model.backbone).items() if not torch.equal(tensor, before[name])] == []
    thawed = model_of().train()
    thawed(PIXELS, labels=TARGETS)
    assert thawed.backbone.training
    name = next(name for name in before if name.endswith("running_mean"))
    assert not torch.equal(all_tensors(thawed.backbone)[name], before[name])  # so the check above can fail


def test_the_aligned_order_leaves_the_models_mode_as_it_was() -> None:
    model = model_of(label_order="aligned").train()
    model(PIXELS, labels=TARGETS)
    assert all(module.training for module in model.modules())


def test_a_seed_determines_a_model_and_its_training() -> None:
    def trained(seed: int) -> Model:
        model = model_of(seed).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            model(PIXELS, labels=TARGETS).loss.backward()
            optimizer.step()
        return model

    assert_same_tensors(trained(1), trained(1))
    one, two = all_tensors(trained(1)), all_tensors(trained(2))
    assert not torch.equal(one["relevance_head.weight"], two["relevance_head.weight"])


@variants
def test_the_stock_trainer_trains_and_evaluates_the_model_unchanged(fields: dict[str, Any], tmp_path: Path) -> None:
    seen: list[Any] = []

    def metrics(prediction: Any) -> dict[str, float]:
        seen.append(prediction)
        return {"right": float(((prediction.predictions > 0) == prediction.label_ids).mean())}

    model = model_of(**fields)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=3,
        learning_rate=0.01,
        include_for_metrics=["inputs", "loss"],
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=Photos(), eval_dataset=Photos(), compute_metrics=metrics)
    trainer.train()
    assert any(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    result = trainer.evaluate()
    assert math.isfinite(result["eval_loss"])
    assert 0 <= result["eval_right"] <= 1
    assert seen[0].predictions.shape == seen[0].label_ids.shape == (4, NUM_LABELS)
    assert seen[0].inputs.shape == PIXELS.shape
    assert seen[0].losses.shape == (4,)
    with torch.no_grad():
        expected = model.eval()(PIXELS).logits
    without_labels = trainer.predict([{"pixel_values": image} for image in PIXELS])
    assert without_labels.label_ids is None
    for found in (seen[0], trainer.predict(Photos()), without_labels):
        torch.testing.assert_close(torch.tensor(found.predictions), expected, rtol=1e-4, atol=1e-4)
