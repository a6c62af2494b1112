"""The model in the hands of the libraries around it: offloading, adapters, quantised weights, explanations."""

import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import pytest
import torch
from accelerate.utils import DistributedType
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageClassification, Trainer, TrainingArguments

from cnn_rnn.training.hardware import reach_sharded

from .small_models import NUM_LABELS, PIXELS, TARGETS, VARIANTS, Model, Photos, generate, model_of, variants

TOLD: dict[str, Any] = {"known_labels": "state", "relevance_in_path": True, "cooccurrence": True, "neighbours": 4}
QUERIES: dict[str, Any] = {"pooling": "attention", "relevance_head": "ml_decoder", "relevance_hidden_size": 16}
PLACES = QUERIES | {"relevance_head": "residual_attention"}
LARGER = {"told by a larger head": TOLD | {"relevance_head": "mlp"}}
EVERY = VARIANTS | {"told": TOLD, "queries": QUERIES, "places": TOLD | PLACES} | LARGER
KNOWN = torch.tensor([[1, -1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, -1]])
every_variant = pytest.mark.parametrize("fields", EVERY.values(), ids=EVERY)
ALWAYS = (
    "default",
    "attention",
    "relevance only",
    "told",
)  # differ in their parts; the others' searches take seconds each
MARKED = {
    name: pytest.param(own, id=name, marks=() if name in ALWAYS else pytest.mark.slow) for name, own in EVERY.items()
}
slow_beside = pytest.mark.parametrize("fields", MARKED.values())
with_walks = pytest.mark.parametrize(
    "fields", [MARKED[name] for name, fields in EVERY.items() if fields.get("path_loss") != "none"]
)


def required(name: str) -> Any:
    """An optional library; where it is not installed the test skips, but fails in CI."""
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        return pytest.importorskip(name, exc_type=ImportError)
    return importlib.import_module(name)


def assert_same_outputs(given: Model, expected: Model) -> None:
    """Both give the same logits, and the same walks where they take any."""
    told = KNOWN if expected.config.known_labels == "state" else None
    for known in (None, told):
        with torch.no_grad():
            torch.testing.assert_close(
                given(PIXELS, known_labels=known).logits, expected(PIXELS, known_labels=known).logits
            )
        if expected.path_decoder is not None:
            found = generate(given, known_labels=known)
            for name, value in generate(expected, known_labels=known).items():
                torch.testing.assert_close(found[name], value)


@slow_beside
@pytest.mark.parametrize("part", ["path_decoder", "relevance_head", "backbone"])
def test_a_part_that_lies_on_the_disk_is_read_from_there(fields: dict[str, Any], part: str, tmp_path: Path) -> None:
    model = model_of(**fields)
    if getattr(model, part) is None:
        pytest.skip(f"this variant has no {part}")
    model.save_pretrained(tmp_path / "model")
    places = {name: "disk" if name == part else "cpu" for name, _ in model.named_children()}
    loaded = AutoModelForImageClassification.from_pretrained(
        tmp_path / "model", device_map=places, offload_folder=tmp_path / "offload"
    )
    assert {weight.device.type for weight in getattr(loaded, part).parameters()} == {"meta"}
    assert_same_outputs(loaded, model)


@pytest.mark.parametrize(("split", "fields"), [("all", TOLD), ("all", QUERIES), ("layers", TOLD)], ids=str)
def test_parts_however_small_are_read_from_the_disk(split: str, fields: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(**fields)
    model.save_pretrained(tmp_path / "model")
    layers = [name for name, module in model.named_modules() if not list(module.children()) and module.state_dict()]
    places = dict.fromkeys([""] if split == "all" else layers, "disk")
    loaded = AutoModelForImageClassification.from_pretrained(
        tmp_path / "model", device_map=places, offload_folder=tmp_path / "offload"
    )
    assert {tensor.device.type for tensor in loaded.parameters()} == {"meta"}
    assert_same_outputs(loaded, model)


def test_what_has_no_room_in_memory_lies_on_the_disk(tmp_path: Path) -> None:
    model = model_of()
    model.save_pretrained(tmp_path / "model")
    loaded = AutoModelForImageClassification.from_pretrained(
        tmp_path / "model", device_map="auto", max_memory={"cpu": 1_500_000}, offload_folder=tmp_path / "offload"
    )
    assert "disk" in loaded.hf_device_map.values()
    assert_same_outputs(loaded, model)


@with_walks
@pytest.mark.parametrize("offload", [accelerate.cpu_offload, accelerate.disk_offload], ids=["cpu", "disk"])
def test_weights_that_come_when_they_are_needed_are_the_models(
    fields: dict[str, Any], offload: Any, tmp_path: Path
) -> None:
    model, offloaded = model_of(**fields), model_of(**fields)
    folder = [tmp_path / "offload"] if offload is accelerate.disk_offload else []
    offload(offloaded, *folder, execution_device=torch.device("cpu"))
    assert_same_outputs(offloaded, model)


ADAPTED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "embedding": (["label_embedding"], {}),
    "projections": (["relevance_head", "image_projection", "recurrent_projection"], {}),
    "attention": (["query"], {}),
    "what is known": (["confirmed", "ruled_out"], TOLD),
    "label queries": (["out_proj", "query_embed", "embed_standart"], QUERIES),
}


@pytest.mark.parametrize("decomposed", [False, True], ids=["LoRA", "DoRA"])
@pytest.mark.parametrize("where", ADAPTED)
def test_an_adapter_merged_gives_what_it_gave_beside_the_weights(where: str, decomposed: bool, tmp_path: Path) -> None:
    peft = required("peft")
    targets, changes = ADAPTED[where]
    fields = {"pooling": "attention"} | changes
    known = KNOWN if fields.get("known_labels") == "state" else None
    model = model_of(**fields)
    settings = peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False, use_dora=decomposed)
    adapted = peft.get_peft_model(model_of(**fields), settings).eval()
    with torch.no_grad():
        before = adapted(PIXELS, known_labels=known).logits
        assert not torch.equal(before, model(PIXELS, known_labels=known).logits)
        adapted.save_pretrained(tmp_path / "adapter")
        merged = adapted.merge_and_unload().eval()
        torch.testing.assert_close(merged(PIXELS, known_labels=known).logits, before, rtol=1e-5, atol=1e-5)
        merged.save_pretrained(tmp_path / "merged")
        again = Model.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(again(PIXELS, known_labels=known).logits, before, rtol=1e-5, atol=1e-5)
        loaded = peft.PeftModel.from_pretrained(model_of(**fields), tmp_path / "adapter").eval()
        torch.testing.assert_close(loaded(PIXELS, known_labels=known).logits, before)


def test_quantised_on_loading_the_model_still_knows_its_labels(tmp_path: Path) -> None:
    # Not in dev: transformers loads it wherever it is installed, and it warns at every start. .ci/run installs it.
    quantization = pytest.importorskip("torchao.quantization", reason="needs torchao: pip install torchao")
    from transformers import TorchAoConfig

    model = model_of(hidden_size=32)
    model.save_pretrained(tmp_path)
    config = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path, quantization_config=config, device_map="cpu")
    assert type(loaded.relevance_head.weight.data) is not torch.Tensor
    with torch.no_grad():
        torch.testing.assert_close(loaded(PIXELS).logits, model(PIXELS).logits, rtol=0.1, atol=0.1)
    assert generate(loaded).paths.shape == generate(model).paths.shape


@variants
def test_activations_are_computed_again_where_asked_for(fields: dict[str, Any]) -> None:
    def gradients(*, checkpointing: bool) -> dict[str, torch.Tensor]:
        model = model_of(**fields, projection_dropout=0.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        assert model.is_activation_checkpointing == checkpointing
        model(PIXELS, labels=torch.ones(len(PIXELS), NUM_LABELS)).loss.backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    plain, again = gradients(checkpointing=False), gradients(checkpointing=True)
    assert set(again) == set(plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-3, atol=1e-5)


def test_the_stock_trainer_checkpoints_the_backbone(tmp_path: Path) -> None:
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=1,
        gradient_checkpointing=True,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    model = model_of()
    Trainer(model, arguments, train_dataset=Photos()).train()
    assert model.backbone.timm_model.grad_checkpointing


def test_a_backbone_that_cannot_compute_again_says_so() -> None:
    model = Model.from_backbone("inception_v3", id2label=["cat"])
    assert not model.supports_gradient_checkpointing
    with pytest.raises(ValueError, match=r"does not support \w+ checkpointing"):
        model.gradient_checkpointing_enable()


def test_there_are_no_embeddings_of_tokens() -> None:
    model: Any = model_of()
    assert model.get_input_embeddings() is None
    with pytest.raises(NotImplementedError, match="takes images"):
        model.set_input_embeddings(torch.nn.Embedding(3, 4))


@variants
def test_the_logits_carry_a_gradient_to_every_pixel(fields: dict[str, Any]) -> None:
    attr = required("captum.attr")
    model = model_of(**fields)
    saliency = attr.Saliency(lambda pixels: model(pixels).logits).attribute(PIXELS, target=2)
    assert saliency.isfinite().all()
    assert (saliency.flatten(1).amax(dim=1) > 0).all()


@slow_beside
def test_integrated_gradients_add_up_to_what_the_image_changes(fields: dict[str, Any]) -> None:
    attr = required("captum.attr")
    model = model_of(**fields | {"beam_width": 400})  # keeps every walk: where other walks are kept the scores jump
    blank = torch.zeros_like(PIXELS)
    explainer = attr.IntegratedGradients(lambda pixels: model(pixels).logits)
    shares = explainer.attribute(PIXELS, blank, target=2, n_steps=48)
    with torch.no_grad():
        change = (model(PIXELS).logits - model(blank).logits)[:, 2]
    assert change.abs().min() > 1e-4
    torch.testing.assert_close(shares.flatten(1).sum(dim=1).float(), change, rtol=1e-3, atol=1e-4)


@with_walks
def test_the_gradient_of_the_label_scores_is_that_of_finite_differences(fields: dict[str, Any]) -> None:
    model = model_of(**fields | {"fusion": "path"}).double()
    model.config.beam_width = 200  # keeps every walk, so that no small step changes which are kept
    features = model.encode_images(PIXELS[:1].double()).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(image_features=features).label_scores[0, 1], features)
    direction = torch.randn_like(features)
    scores = [model(image_features=features + step * direction).label_scores[0, 1].item() for step in (-1e-3, 1e-3)]
    assert (gradient * direction).sum().item() == pytest.approx((scores[1] - scores[0]) / 2e-3, rel=0.05, abs=2e-5)


@every_variant
def test_sharded_weights_are_gathered_for_all_that_is_called(fields: dict[str, Any]) -> None:
    model, sharded = (model_of(**fields, projection_dropout=0.0, relevance_dropout=0.0) for _ in range(2))
    sharded.load_state_dict(model.state_dict())
    store: Any = vars(torch.distributed)["HashStore"]()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        backbone = sharded.backbone
        for part in (backbone.timm_model, backbone, sharded.path_decoder, sharded.relevance_head, sharded):
            if part is not None:
                fully_shard(part, mesh=mesh)
        reach_sharded(sharded, SimpleNamespace(distributed_type=DistributedType.FSDP))
        with torch.no_grad():
            features = model.encode_images(PIXELS)
            torch.testing.assert_close(sharded.encode_images(PIXELS), features)
        assert_same_outputs(sharded, model)
        for trained in (model, sharded):
            torch.manual_seed(0)  # label queries have a dropout of their own
            trained.train()(PIXELS, labels=TARGETS).loss.backward()
        gradients = {name: weight.grad for name, weight in sharded.named_parameters()}
        for name, weight in model.named_parameters():
            if weight.grad is not None:
                torch.testing.assert_close(gradients[name].full_tensor(), weight.grad, rtol=1e-4, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
