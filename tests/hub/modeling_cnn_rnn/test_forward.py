"""What one call gives: logits, probabilities and losses."""

import math
from functools import partial
from typing import Any

import pytest
import torch

from .small_models import LABELS, NUM_LABELS, PIXELS, TARGETS, VARIANTS, Model, generate, model_of, variants


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
    image = model.path_decoder.embed_image(model.encode_images(PIXELS[1:2]))
    torch.testing.assert_close(output.path_logits, model.path_decoder(walked, image)[0])


@pytest.mark.parametrize("shape", [(4, NUM_LABELS + 1), (3, NUM_LABELS), (4,)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multi-hot of shape \(4, 5\).*got \("):
        model_of()(PIXELS, labels=torch.zeros(shape))


@pytest.mark.parametrize("value", [2.0, math.nan])
def test_labels_that_are_no_answer_are_refused(value: float) -> None:
    ids = torch.zeros(4, NUM_LABELS)
    ids[1, 2] = value
    with pytest.raises(ValueError, match=rf"multi-hot: 1 present, 0 absent, -100 unknown, .* got {value:g}"):
        model_of()(PIXELS, labels=ids)


def test_what_is_no_tensor_of_numbers_is_named() -> None:
    model, answers = model_of(), [[0] * NUM_LABELS] * 4
    pixels: Any = PIXELS.numpy()
    for calls in (model, partial(generate, model)):
        with pytest.raises(TypeError, match=r"known_labels must be a tensor of shape \(4, 5\), got list"):
            calls(PIXELS, known_labels=answers)
        with pytest.raises(TypeError, match=r"known_labels are 1 \(confirmed\).*False could be either"):
            calls(PIXELS, known_labels=torch.zeros(4, NUM_LABELS, dtype=torch.bool))
        with pytest.raises(
            TypeError, match=r"must be preprocessed images .*got ndarray: take what the image processor"
        ):
            calls(pixels)
    with pytest.raises(TypeError, match=r"labels must be a tensor of shape .*got list"):
        model(PIXELS, labels=answers)


def test_either_pixels_or_features_are_needed() -> None:
    model = model_of()
    with pytest.raises(ValueError, match="either pixel_values or image_features"):
        model()
    features = model.encode_images(PIXELS)
    with pytest.raises(ValueError, match="either pixel_values or image_features"):
        model(PIXELS, image_features=features)
    assert torch.equal(model(image_features=features).logits, model(PIXELS).logits)


@variants
@torch.no_grad()
def test_the_outputs_come_in_the_documented_order(fields: dict[str, Any]) -> None:
    model = model_of(**fields)
    output = model(PIXELS, labels=TARGETS)
    loss, logits = output[:2]
    assert (loss.shape, logits.shape) == ((), (4, NUM_LABELS))
    assert torch.equal(output[0], output.loss)
    assert torch.equal(model(PIXELS)[0], output.logits)
    as_tuple = model(PIXELS, labels=TARGETS, return_dict=False)
    assert type(as_tuple) is tuple
    assert len(as_tuple) == len(output)
    assert all(torch.equal(one, two) for one, two in zip(as_tuple, output.to_tuple(), strict=True))
    model.config.return_dict = False
    assert type(model(PIXELS)) is tuple


@pytest.mark.parametrize("pooling", ["avg", "attention"])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "mobilenetv3_small_050", "test_convnext"])
@torch.no_grad()
def test_hidden_states_and_features_change_nothing_else(backbone: str, pooling: str) -> None:
    size = {"test_vit": 160}.get(backbone, 64)
    pixels = torch.rand(2, 3, size, size)
    model = Model.from_backbone(backbone, id2label=LABELS, hidden_size=8, pooling=pooling).eval()
    plain, asked = model(pixels), model(pixels, output_hidden_states=True)
    assert plain.hidden_states is None
    assert len(asked.hidden_states) > 2
    torch.testing.assert_close(asked.logits, plain.logits)
    assert asked[1] is asked.hidden_states  # as the stock classifiers: loss, logits, hidden states
    image = model.get_image_features(pixels, output_hidden_states=True)
    width = model.backbone.timm_model.num_features
    assert (image.last_hidden_state.shape[0], image.last_hidden_state.shape[-1]) == (2, width)
    assert image.pooler_output.shape == (2, model.backbone.num_features)
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(plain[name], image[name])
    for features in (image, model.encode_images(pixels)):
        torch.testing.assert_close(model(image_features=features).logits, plain.logits)
    assert isinstance(model.get_image_features(pixels, return_dict=False), tuple)


def test_a_backbone_without_one_feature_map_has_none_to_attend_over() -> None:
    fields: dict[str, Any] = {"id2label": LABELS, "hidden_size": 8}
    pixels = torch.rand(1, 3, 240, 240)
    assert Model.from_backbone("crossvit_9_240", **fields).eval()(pixels).logits.shape == (1, NUM_LABELS)
    with pytest.raises(ValueError, match="no single feature map to attend over: set pooling='avg'"):
        Model.from_backbone("crossvit_9_240", pooling="attention", **fields).eval()(pixels)


def test_attentions_are_accepted_as_an_argument_and_refused_where_asked_for() -> None:
    model = model_of()
    assert torch.equal(model(PIXELS, output_attentions=False).logits, model(PIXELS).logits)
    with pytest.raises(ValueError, match="leave output_attentions out"):
        model(PIXELS, output_attentions=True)


@pytest.mark.parametrize("ask", ["forward", "generate", "get_image_features"])
def test_an_argument_that_there_is_not_is_asked_about(ask: str) -> None:
    with pytest.raises(TypeError, match="there is no argument 'pixel_value'; did you mean pixel_values"):
        getattr(model_of(), ask)(pixel_value=PIXELS)


REMEMBERS: dict[str, Any] = {"neighbours": 4, "cooccurrence": True, "known_labels": "state"}


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fields", [*VARIANTS.values(), REMEMBERS], ids=[*VARIANTS, "remembers"])
@torch.no_grad()
def test_a_model_in_half_precision_takes_images_in_full(fields: dict[str, Any], kind: torch.dtype) -> None:
    model = model_of(**fields)
    expected = model(PIXELS).logits
    features = model.encode_images(PIXELS)
    model.to(kind)
    for output in (model(PIXELS, labels=TARGETS), model(PIXELS.to(kind)), model(image_features=features)):
        assert output.logits.dtype == torch.float32
        assert output.logits.numpy().shape == (4, NUM_LABELS)
        torch.testing.assert_close(output.logits, expected, rtol=0.2, atol=0.2)
    if model.path_decoder is not None:
        assert generate(model).path_scores.isfinite().any()


def test_whole_numbers_are_no_preprocessed_images() -> None:
    for pixel_values in (PIXELS.byte(), PIXELS[0]):
        with pytest.raises(ValueError, match=r"fractions of shape \(B, 3, h, w\), got .* the image processor"):
            model_of()(pixel_values)


def test_an_answer_that_is_neither_yes_nor_no_nor_open_is_refused() -> None:
    for value in (math.nan, 0.3, 2.0, math.inf):
        known = torch.zeros(4, NUM_LABELS)
        known[1, 2] = value
        for call in (model_of(), partial(generate, model_of())):
            with pytest.raises(ValueError, match=rf"1 \(confirmed\), -1 \(ruled out\) or 0 \(open\), got {value:g}"):
                call(PIXELS, known_labels=known)
    with pytest.raises(ValueError, match="a batch of no images"):
        generate(model_of(), PIXELS[:0])


def test_in_training_logits_are_there_where_nothing_else_is() -> None:
    model = model_of(**VARIANTS["paper"]).train()
    assert model(PIXELS, labels=TARGETS).logits is None  # the search would be for nothing
    assert model(PIXELS).logits.shape == (4, NUM_LABELS)
