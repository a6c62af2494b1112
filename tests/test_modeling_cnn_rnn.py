"""The model as a whole: what it promises to Trainer, to whoever saves it, and to whoever asks it for paths."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainingArguments

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.label_paths import paths_to_labels

LABELS = ["cat", "dog", "bird", "car", "tree"]
NUM_LABELS = len(LABELS)
PIXELS = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]])

Model = CnnRnnForImageClassification


def model_of(seed: int = 0, **fields: Any) -> Model:
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
    one, two = all_tensors(actual), all_tensors(expected)
    assert list(one) == list(two)
    assert [name for name in two if one[name].dtype != two[name].dtype or not torch.equal(one[name], two[name])] == []


# Forward


@variants
@torch.no_grad()
def test_an_image_alone_gives_what_it_gives_in_a_batch(fields: dict[str, Any]) -> None:
    model = model_of(**fields)
    together = model(PIXELS)
    for index in range(len(PIXELS)):
        alone = model(PIXELS[index : index + 1])
        torch.testing.assert_close(alone.logits[0], together.logits[index], rtol=1e-4, atol=1e-4)


@variants
@torch.no_grad()
def test_the_loss_of_a_batch_is_the_mean_over_its_images_however_long_their_paths(fields: dict[str, Any]) -> None:
    model = model_of(**fields)
    alone = [model(PIXELS[i : i + 1], labels=TARGETS[i : i + 1]).loss for i in range(len(PIXELS))]
    torch.testing.assert_close(model(PIXELS, labels=TARGETS).loss, torch.stack(alone).mean(), rtol=1e-4, atol=1e-4)


@variants
@torch.no_grad()
def test_the_sigmoid_of_the_logits_is_a_probability(fields: dict[str, Any]) -> None:
    output = model_of(**fields)(PIXELS)
    probabilities = output.logits.sigmoid()
    assert probabilities.shape == (4, NUM_LABELS)
    assert probabilities.min() > 0
    assert probabilities.max() < 1
    assert output.loss is None


@torch.no_grad()
def test_the_fusion_is_the_weighted_sum_that_the_config_states() -> None:
    model = model_of(fusion_weights=[0.3, 0.9, -0.4])
    both = model(PIXELS)
    log_odds = torch.log(both.label_scores) - torch.log1p(-both.label_scores)
    torch.testing.assert_close(both.logits, 0.3 * log_odds + 0.9 * both.relevance_logits - 0.4)
    model.config.fusion = "path"
    path = model(PIXELS)
    torch.testing.assert_close(path.logits, 0.3 * log_odds - 0.4)
    model.config.fusion = "relevance"
    relevance = model(PIXELS)
    torch.testing.assert_close(relevance.logits, 0.9 * both.relevance_logits - 0.4)
    assert relevance.label_scores is None  # and no search was made for nothing


@torch.no_grad()
def test_before_any_fit_one_part_alone_is_taken_as_it_is() -> None:
    path = model_of(fusion="path")(PIXELS)
    torch.testing.assert_close(path.logits.sigmoid(), path.label_scores)
    relevance = model_of(fusion="relevance")(PIXELS)
    assert torch.equal(relevance.logits, relevance.relevance_logits)


@torch.no_grad()
def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    def loss(path: float, relevance: float) -> float:
        model = model_of(path_loss_weight=path, relevance_loss_weight=relevance)
        return float(model(PIXELS, labels=TARGETS).loss)

    assert loss(0.25, 3.0) == pytest.approx(0.25 * loss(1.0, 0.0) + 3.0 * loss(0.0, 1.0), rel=1e-5)
    assert loss(1.0, 0.0) > 0


def test_left_out_labels_take_no_part_in_the_loss() -> None:
    labels = TARGETS.clone()
    labels[0, 1] = labels[1, 0] = labels[3, 4] = -100
    left_out = labels < 0
    model = model_of()
    output = model(PIXELS, labels=labels)
    output.relevance_logits.retain_grad()
    output.path_logits.retain_grad()
    output.loss.backward()
    assert output.relevance_logits.grad[left_out].eq(0).all()
    assert output.relevance_logits.grad[~left_out].ne(0).all()
    assert output.path_logits.grad.mT[:, :NUM_LABELS][left_out].eq(0).all()
    assert model(PIXELS, labels=torch.where(left_out, -1.0, labels)).loss == output.loss
    for value in (0.0, 1.0):
        assert model(PIXELS, labels=torch.where(left_out, value, labels)).loss != output.loss


def test_images_whose_labels_are_all_left_out_are_harmless() -> None:
    model = model_of()
    loss = model(PIXELS, labels=torch.full_like(TARGETS, -100)).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_path_logits_are_the_teacher_forced_steps_of_the_frequent_first_path() -> None:
    model = model_of()
    output = model(PIXELS[1:2], labels=TARGETS[1:2])
    assert model.path_decoder is not None
    walked = torch.tensor([[NUM_LABELS + 1, 3, 1, 4]])  # START, then car, dog, tree by their counts
    image = model.path_decoder.embed_image(model.get_image_features(PIXELS[1:2]))
    torch.testing.assert_close(output.path_logits, model.path_decoder(walked, image)[0])


@pytest.mark.parametrize("shape", [(4, NUM_LABELS + 1), (3, NUM_LABELS), (4,)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multi-hot of shape \(4, 5\).*got \("):
        model_of()(PIXELS, labels=torch.zeros(shape))


def test_either_pixels_or_features_are_needed() -> None:
    model = model_of()
    with pytest.raises(ValueError, match="either pixel_values or image_features"):
        model()
    features = model.get_image_features(PIXELS)
    with pytest.raises(ValueError, match="either pixel_values or image_features"):
        model(PIXELS, image_features=features)
    assert torch.equal(model(image_features=features).logits, model(PIXELS).logits)


# Training


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
        features = model.get_image_features(PIXELS)
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


class Photos(torch.utils.data.Dataset):
    """Four photos, as a `datasets.Dataset` with a transform would give them."""

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": PIXELS[index], "labels": TARGETS[index]}


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
    with torch.no_grad():
        expected = model.eval()(PIXELS).logits
    torch.testing.assert_close(torch.tensor(seen[0].predictions), expected, rtol=1e-4, atol=1e-4)


# Saving and loading


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
    features = loaded.get_image_features(PIXELS)
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
    with pytest.raises(StrictDataclassError, match="label_counts has 5 entries for 7 labels"):
        Model.from_pretrained(tmp_path, num_labels=7)
    with pytest.raises(StrictDataclassError, match="label_counts has 5 entries for 2 labels"):
        Model.from_pretrained(tmp_path, id2label=names, label2id=ids)
    with pytest.raises(StrictDataclassError, match="label2id is not the inverse of id2label"):
        Model.from_pretrained(tmp_path, id2label=names, label_counts=[1, 1])
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        Model.from_pretrained(tmp_path, id2label=names, label2id=ids, label_counts=[1, 1])


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


def test_from_backbone_takes_over_the_backbones_preprocessing() -> None:
    config = model_of(backbone="tf_efficientnet_lite0").config
    expected = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert config.image_size == expected.input_size[-1]
    assert (config.crop_pct, config.interpolation) == (expected.crop_pct, expected.interpolation)
    assert (tuple(config.image_mean), tuple(config.image_std)) == (expected.mean, expected.std)
    assert Model.from_backbone("test_resnet", id2label=LABELS, image_size=96).config.image_size == 96


# Walking paths


@pytest.mark.parametrize("fields", [VARIANTS["default"], VARIANTS["attention"], VARIANTS["paper"]], ids=str)
def test_generate_gives_padded_paths_best_first(fields: dict[str, Any]) -> None:
    output = generate(model_of(**fields), beam_width=6, max_path_length=3)
    assert output.paths.shape == (4, 6, 3)
    assert output.path_scores.shape == (4, 6)
    assert output.step_scores.shape == (4, 6, 4)
    assert output.label_scores.shape == output.logits.shape == (4, NUM_LABELS)
    assert output.path_scores.diff(dim=-1).max() <= 0
    torch.testing.assert_close(output.step_scores.sum(-1), output.path_scores)
    for path in output.paths.flatten(0, 1).tolist():
        labels = list(itertools.takewhile(lambda label: label != NUM_LABELS, path))
        assert path == labels + [NUM_LABELS] * (3 - len(labels))
        assert len(set(labels)) == len(labels)


def test_generate_scores_labels_as_forward_does() -> None:
    model = model_of()
    forward, generated = model(PIXELS), generate(model)
    assert torch.equal(generated.label_scores, forward.label_scores)
    assert torch.equal(generated.logits, forward.logits)
    assert generated.paths.shape == (4, model.config.beam_width, NUM_LABELS)  # no path is longer than the labels


def probabilities_of_all_paths(model: Model, pixel_values: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every path of one image, from `forward`'s teacher-forced logits alone."""
    model.config.label_order = "given"
    every = {}
    for labels in itertools.chain.from_iterable(
        itertools.combinations(range(NUM_LABELS), n) for n in range(NUM_LABELS + 1)
    ):
        for path in itertools.permutations(labels):
            assert model.path_decoder is not None
            walked = torch.tensor([[NUM_LABELS + 1, *path]])
            image = model.path_decoder.embed_image(model.get_image_features(pixel_values))
            logits = model.path_decoder(walked, image)[0][0]
            score = 0.0
            for step, label in enumerate([*path, NUM_LABELS]):
                logits[step, list(path[:step])] = -math.inf
                score += float(logits[step].log_softmax(-1)[label])
            every[path] = math.exp(score)
    return every


@torch.no_grad()
def test_a_wide_beam_knows_every_path_and_the_conditional_probability_of_every_label() -> None:
    model = model_of()
    every = probabilities_of_all_paths(model, PIXELS[:1])
    assert sum(every.values()) == pytest.approx(1, abs=1e-4)
    free = generate(model, PIXELS[:1], beam_width=400)
    best = max(every, key=lambda path: every[path])
    assert tuple(free.paths[0, 0, : len(best)].tolist()) == best
    marginals = [sum(score for path, score in every.items() if label in path) for label in range(NUM_LABELS)]
    assert free.label_scores[0].tolist() == pytest.approx(marginals, abs=1e-4)

    # Confirmed labels open the walk in the configured order, ruled out ones never come; the rest is conditional.
    model.config.label_order = "frequent_first"
    known = torch.tensor([[0, 1, -1, 1, 0]])
    output = generate(model, PIXELS[:1], beam_width=400, known_labels=known)
    open_walks = {path[2:]: score for path, score in every.items() if path[:2] == (3, 1)}
    assert output.label_scores[0, [1, 2, 3]].tolist() == [1, 0, 1]
    # Ruling out renormalises each step over what is left, so it is worked out step by step.
    after = stepwise_without(model, PIXELS[:1], prefix=(3, 1), ruled_out={2})
    assert set(after) == {path for path in open_walks if 2 not in path}
    assert sum(after.values()) == pytest.approx(1, abs=1e-4)
    expected = [sum(score for path, score in after.items() if label in path) for label in (0, 4)]
    assert output.label_scores[0, [0, 4]].tolist() == pytest.approx(expected, abs=1e-4)

    # With confirmed labels alone the scores are Bayes' rule on the free walk.
    output = generate(model, PIXELS[:1], beam_width=400, known_labels=known.clamp(min=0))
    total = sum(open_walks.values())
    for label in (0, 2, 4):
        share = sum(score for path, score in open_walks.items() if label in path) / total
        assert output.label_scores[0, label].item() == pytest.approx(share, abs=1e-4)


def stepwise_without(
    model: Model, pixel_values: torch.Tensor, prefix: tuple[int, ...], ruled_out: set[int]
) -> dict[tuple[int, ...], float]:
    """Probability of what follows a prefix where some labels are ruled out, from the decoder's logits."""
    assert model.path_decoder is not None
    image = model.path_decoder.embed_image(model.get_image_features(pixel_values))
    left = [label for label in range(NUM_LABELS) if label not in ruled_out | set(prefix)]
    result = {}
    for labels in itertools.chain.from_iterable(itertools.permutations(left, n) for n in range(len(left) + 1)):
        walked = torch.tensor([[NUM_LABELS + 1, *prefix, *labels]])
        logits = model.path_decoder(walked, image)[0][0, len(prefix) :]
        score = 0.0
        for step, label in enumerate([*labels, NUM_LABELS]):
            logits[step, [*prefix, *ruled_out, *labels[:step]]] = -math.inf
            score += float(logits[step].log_softmax(-1)[label])
        result[labels] = math.exp(score)
    return result


def test_known_labels_hold_on_every_path_of_every_image() -> None:
    known = torch.tensor([[1, 0, -1, 0, 0], [0, 0, 0, 0, 0], [-1, -1, -1, -1, 1], [0, 1, 1, -1, 1]])
    model = model_of()
    output = generate(model, beam_width=3, known_labels=known)
    for row, paths, scores in zip(known, output.paths, output.path_scores, strict=True):
        confirmed = [label for label in (0, 3, 2, 1, 4) if row[label] == 1]  # the most frequent first
        for path, score in zip(paths.tolist(), scores, strict=True):
            if score.isfinite():
                assert path[: len(confirmed)] == confirmed
                assert not set(path) & set((row == -1).nonzero().flatten().tolist())
    assert output.label_scores[known == 1].eq(1).all()
    assert output.label_scores[known == -1].eq(0).all()
    assert output.logits[known == 1].sigmoid().min() > 0.999
    assert output.logits[known == -1].sigmoid().max() < 0.001
    free = generate(model, beam_width=3)
    torch.testing.assert_close(output.label_scores[1], free.label_scores[1])  # nothing is known of this image
    assert not torch.allclose(output.label_scores[3, 0], free.label_scores[3, 0])


def test_path_lengths_keep_their_bounds() -> None:
    model = model_of()
    for fewest, most in ((3, None), (2, 2), (0, 1), (NUM_LABELS + 7, None)):
        paths = generate(model, max_path_length=most, min_path_length=fewest).paths
        lengths = (paths != NUM_LABELS).sum(-1)
        assert lengths.min() >= min(fewest, NUM_LABELS)
        assert lengths.max() <= (most or NUM_LABELS)


@torch.no_grad()
def test_a_beam_of_one_follows_the_most_probable_label() -> None:
    model = model_of()
    assert model.path_decoder is not None
    paths = generate(model, beam_width=1).paths[:, 0].tolist()
    image = model.path_decoder.embed_image(model.get_image_features(PIXELS))
    for row, path in enumerate(paths):
        walked = [NUM_LABELS + 1]
        while walked[-1] != NUM_LABELS and len(walked) <= NUM_LABELS:
            logits = model.path_decoder(torch.tensor([walked]), image[row : row + 1])[0][0, -1]
            logits[walked[1:]] = -math.inf
            walked.append(int(logits.argmax()))
        found = [label for label in walked[1:] if label != NUM_LABELS]
        assert path == found + [NUM_LABELS] * (NUM_LABELS - len(found))


def test_impossible_requests_are_refused() -> None:
    model = model_of()
    with pytest.raises(ValueError, match=r"beam_width .* at least 1, got 0"):
        generate(model, beam_width=0)
    with pytest.raises(ValueError, match="min_path_length 3 exceeds max_path_length 2"):
        generate(model, min_path_length=3, max_path_length=2)
    with pytest.raises(ValueError, match="3 labels are confirmed, but a path holds at most 2"):
        generate(model, max_path_length=2, known_labels=torch.tensor([[1, 1, 1, 0, 0]] * 4))
    with pytest.raises(ValueError, match=r"of shape \(4, 5\)"):
        generate(model, known_labels=torch.zeros(4, 6))
    with pytest.raises(ValueError, match=r"no path decoder .*use forward"):
        generate(model_of(path_loss="none", fusion="relevance"))


def test_generate_takes_no_dropout_even_in_training_mode() -> None:
    model = model_of()
    model.freeze_backbone()
    model.train()
    assert torch.equal(generate(model).path_scores, generate(model).path_scores)
    assert model.training


def test_the_search_exports_with_a_free_batch() -> None:
    class Search(torch.nn.Module):
        def __init__(self, model: Model) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = generate(self.model, pixel_values)
            return output.logits, output.paths, output.path_scores

    search = Search(model_of()).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(search, (PIXELS[:3],), dynamic_shapes=({0: batch},), strict=False).module()
    for size in (1, 4):
        torch.testing.assert_close(exported(PIXELS[:size]), search(PIXELS[:size]))
