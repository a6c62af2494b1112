"""Both pipelines on a saved folder, as a user calls them."""

import base64
import builtins
import inspect
import math
from copy import deepcopy
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets
from datasets import Image as ImageColumn
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.data.loopback import serve
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetModel,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.pipelines.pt_utils import KeyDataset

from cnn_rnn import (
    CnnRnnConfig,
    CnnRnnForImageClassification,
    CnnRnnImageProcessor,
    MultiLabelImageClassificationPipeline,
)
from cnn_rnn.data import EvalTransform, decode_image
from cnn_rnn.pipeline_cnn_rnn import TASK

LABELS = ["cat", "dog", "bird", "car", "tree", "cup", "pen"]
THRESHOLDS = [0.0, 0.9999, 0.5, 0.2, 0.0, 1.0, 0.3]


def photo(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((120 + 10 * seed, 90), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with thresholds of its own."""
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=LABELS, embedding_size=16, hidden_size=16, thresholds=THRESHOLDS
    )
    assert model.path_decoder is not None
    with torch.no_grad():
        model.path_decoder.label_embedding.weight.mul_(4)
    target = tmp_path_factory.mktemp("model")
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def own(folder: Path) -> Any:
    """Our pipeline."""
    return pipeline(TASK, model=str(folder))


@pytest.fixture(scope="module")
def stock(folder: Path) -> Any:
    """The one of transformers."""
    return pipeline("image-classification", model=str(folder))


def by_label(result: list[dict[str, Any]]) -> dict[str, float]:
    return {item["label"]: item["score"] for item in result}


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(prompt: str = "") -> str:
        raise AssertionError(f"a person was asked: {prompt}")

    monkeypatch.setattr(builtins, "input", asked)


@pytest.mark.parametrize("task", [TASK, "image-classification"])
def test_the_installed_package_loads_a_folder_without_a_question(task: str, folder: Path) -> None:
    loaded = pipeline(task, model=str(folder))
    assert type(loaded.model) is CnnRnnForImageClassification
    assert type(loaded.image_processor) is CnnRnnImageProcessor
    assert type(AutoModelForImageClassification.from_pretrained(folder)) is CnnRnnForImageClassification


def test_both_pipelines_give_the_same_scores(own: Any, stock: Any) -> None:
    for seed in range(3):
        ours = by_label(own(photo(seed), top_k=len(LABELS)))
        theirs = by_label(stock(photo(seed), top_k=len(LABELS)))
        assert ours.keys() == theirs.keys() == set(LABELS)
        for label in LABELS:
            assert ours[label] == pytest.approx(theirs[label], abs=1e-6)


def test_images_come_in_any_form_alone_or_in_a_list(own: Any, tmp_path: Path) -> None:
    image = photo(1)
    image.save(tmp_path / "photo.png")
    expected = own(image)
    assert own(str(tmp_path / "photo.png")) == own(tmp_path / "photo.png") == expected
    assert own(np.array(image)) == expected
    grey = np.array(image.convert("L"))
    assert own(grey) == own(grey[..., None]) == own(image.convert("L"))
    assert own(np.array(image.convert("RGBA"))) == expected
    images = [photo(seed) for seed in range(5)]
    alone = [own(each) for each in images]
    for batch_size in (1, 2, 5):
        together = own(images, batch_size=batch_size)
        assert len(together) == 5
        for one, other in zip(alone, together, strict=True):
            assert by_label(one) == pytest.approx(by_label(other), abs=1e-5)
    streamed = list(own(each for each in images))
    assert [by_label(each) for each in streamed] == [by_label(each) for each in alone]


def test_the_models_own_thresholds_decide_unless_others_are_given(own: Any) -> None:
    scores = by_label(own(photo(0), threshold=0.0))
    assert scores.keys() == set(LABELS)
    least = dict(zip(LABELS, THRESHOLDS, strict=True))
    expected = {label for label, score in scores.items() if score >= least[label]}
    assert by_label(own(photo(0))).keys() == expected
    assert "cat" in expected
    assert "cup" not in expected
    middle = sorted(scores.values())[3]
    assert by_label(own(photo(0), threshold=middle)).keys() == {k for k, score in scores.items() if score >= middle}
    assert own(photo(0), threshold=1.0) == []


def test_top_k_and_threshold_together(own: Any) -> None:
    ranked = own(photo(0), threshold=0.0)
    assert [item["score"] for item in ranked] == sorted((item["score"] for item in ranked), reverse=True)
    assert own(photo(0), top_k=2) == ranked[:2]
    assert own(photo(0), top_k=100) == ranked
    assert own(photo(0), top_k=2, threshold=ranked[1]["score"] + 1e-6) == ranked[:1]


def test_without_thresholds_one_half_decides(folder: Path) -> None:
    model = CnnRnnForImageClassification.from_pretrained(folder, thresholds=None)
    own = MultiLabelImageClassificationPipeline(model, image_processor=CnnRnnImageProcessor.from_config(model.config))
    scores = by_label(own(photo(0), threshold=0.0))
    assert by_label(own(photo(0))).keys() == {label for label, score in scores.items() if score >= 0.5}


def test_bytes_base64_rows_and_data_sets_are_images_too(own: Any, tmp_path: Path) -> None:
    images = [photo(seed) for seed in range(3)]
    for seed, image in enumerate(images):
        image.save(tmp_path / f"{seed}.png")
    encoded = [(tmp_path / f"{seed}.png").read_bytes() for seed in range(3)]
    expected = [own(image) for image in images]
    assert [own(content) for content in encoded] == expected
    text = base64.b64encode(encoded[0]).decode()
    assert own(text) == own(f"data:image/png;base64,{text}") == expected[0]
    assert own({"bytes": encoded[0], "path": None}) == own({"bytes": None, "path": str(tmp_path / "0.png")})
    rows = Dataset.from_dict({"image": [str(tmp_path / f"{seed}.png") for seed in range(3)]})
    for decode in (True, False):
        column = KeyDataset(rows.cast_column("image", ImageColumn(decode=decode)), "image")
        for batch_size in (1, 2):
            results = list(own(column, batch_size=batch_size))
            for one, other in zip(results, expected, strict=True):
                assert by_label(one) == pytest.approx(by_label(other), abs=1e-5)


def test_an_image_comes_from_the_web_or_the_error_says_why_not(own: Any, tmp_path: Path) -> None:
    photo(0).save(tmp_path / "photo.png")
    with serve({"/photo.png": (tmp_path / "photo.png").read_bytes(), "/page.png": b"<html>"}) as web:
        assert own(f"{web.url}/photo.png", timeout=10) == own(photo(0))
        for name, reason in (("missing.png", "404"), ("page.png", "cannot identify")):
            with pytest.raises(ValueError, match=rf"{name}.* is no readable image: .*{reason}") as refused:
                own(f"{web.url}/{name}")
            assert "\n" not in str(refused.value)
        assert own(f"{web.url}/photo.png".replace("http", "HTTP")) == own(photo(0))
    with pytest.raises(ValueError, match=r"photo\.png.* is no readable image"):
        own(f"{web.url}/photo.png", timeout=10)


def test_thresholds_for_each_label(own: Any, folder: Path) -> None:
    scores = by_label(own(photo(0), threshold=0.0))
    middle = sorted(scores.values())[3]
    least = dict.fromkeys(LABELS, 1.0) | {"car": 0.0, "pen": 0.0}
    assert by_label(own(photo(0), threshold=list(least.values()))).keys() == {"car", "pen"}
    assert by_label(own(photo(0), threshold=least)).keys() == {"car", "pen"}
    own_least = dict(zip(LABELS, THRESHOLDS, strict=True)) | {"dog": middle}
    expected = {label for label, score in scores.items() if score >= own_least[label]}
    assert by_label(own(photo(0), threshold={"dog": middle})).keys() == expected
    assert own(photo(0), threshold="calibrated") == own(photo(0))
    assert len(own(photo(0), threshold="calibrated", top_k=1)) == 1
    model = CnnRnnForImageClassification.from_pretrained(folder, thresholds=None)
    bare = MultiLabelImageClassificationPipeline(model, image_processor=CnnRnnImageProcessor.from_config(model.config))
    with pytest.raises(ValueError, match="no calibrated thresholds"):
        bare(photo(0), threshold="calibrated")


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_path_comes_with_its_probabilities(own: Any, batch_size: int) -> None:
    images = [photo(seed) for seed in range(3)]
    for image, result in zip(images, own(images, return_path=True, batch_size=batch_size), strict=True):
        assert by_label(result["labels"]) == pytest.approx(by_label(own(image)), abs=1e-5)
        pixel_values = own.image_processor(image, return_tensors="pt")["pixel_values"]
        generated = own.model.generate(pixel_values)
        walked = [LABELS[label] for label in generated.paths[0, 0].tolist() if label < len(LABELS)]
        assert [step["label"] for step in result["path"]] == walked
        steps = generated.step_scores[0, 0].exp().tolist()
        assert [step["score"] for step in result["path"]] == pytest.approx(steps[: len(walked)], abs=1e-5)
        product = float(np.prod([*(step["score"] for step in result["path"]), steps[len(walked)]]))
        assert result["path_score"] == pytest.approx(product, abs=1e-5)


def test_the_beam_width_is_the_callers_to_choose(own: Any) -> None:
    pixel_values = own.image_processor(photo(0), return_tensors="pt")["pixel_values"]
    results = []
    for width in (1, 6):
        scores = by_label(own(photo(0), beam_width=width, threshold=0.0))
        expected = own.model.generate(pixel_values, beam_width=width).logits[0].sigmoid().tolist()
        assert [scores[label] for label in LABELS] == pytest.approx(expected, abs=1e-6)
        results.append(scores)
    assert results[0] != results[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.5}, r"threshold is a probability in 0\.\.1, got 1\.5"),
        ({"threshold": -0.1}, r"in 0\.\.1, got -0\.1"),
        ({"threshold": float("nan")}, r"in 0\.\.1, got nan"),
        ({"threshold": "best"}, "'calibrated', got 'best'"),
        ({"threshold": [0.5]}, "1 thresholds for 7 labels"),
        ({"threshold": [0.5] * 6 + [2]}, r"in 0\.\.1, got 2"),
        ({"threshold": {"dogs": 0.5}}, "no label 'dogs'; did you mean 'dog'"),
        ({"threshold": {"dog": -1}}, r"in 0\.\.1, got -1"),
        ({"threshold": np.float32(1.5)}, r"in 0\.\.1, got 1\.5"),
        ({"threshold": torch.tensor([0.5] * 6)}, "6 thresholds for 7 labels"),
        ({"threshold": True}, r"in 0\.\.1, got True"),
        ({"threshold": [None] * 7}, r"in 0\.\.1, got None"),
        ({"threshold": b"0.5"}, r"in 0\.\.1, got b'0\.5'"),
        ({"threshold": {"dog": [0.5]}}, r"in 0\.\.1, got \[0\.5\]"),
        ({"top_k": 2.5}, "top_k must be a whole number, got 2.5"),
        ({"beam_width": 2.5}, "beam_width must be a whole number, got 2.5"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_k": -1}, "top_k must be at least 1, got -1"),
        ({"beam_width": 0}, "beam_width .* at least 1, got 0"),
        ({"ask": "no"}, "ask must be True or False, got 'no'"),
        ({"return_path": 1}, "return_path must be True or False, got 1"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, a day at most, got 0"),
        ({"timeout": "5"}, "above 0, a day at most, got '5'"),
        ({"timeout": float("inf")}, "a day at most, got inf"),
        ({"known": [{"dog": True}]}, "of all images of a call, .*call once for each image where they differ"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str, own: Any) -> None:
    with pytest.raises(ValueError, match=message):
        own(photo(0), **arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"treshold": 0.3}, "there is no argument 'treshold'; did you mean threshold?"),
        ({"bach_size": 2}, "did you mean batch_size?"),
        ({"returns": True}, "did you mean return_path?"),
        ({"zzz": 1}, "there are threshold, top_k, beam_width, return_path, timeout, decision, known, ask, batch_size"),
    ],
)
def test_an_argument_that_there_is_not_is_asked_about(
    arguments: dict[str, Any], told: str, own: Any, folder: Path
) -> None:
    for call in (partial(own, photo(0)), partial(own, [photo(0)] * 2), partial(pipeline, TASK, model=str(folder))):
        with pytest.raises(TypeError) as raised:
            call(**arguments)
        assert told in str(raised.value)


def test_the_help_of_a_call_tells_every_argument() -> None:
    pipeline_class = MultiLabelImageClassificationPipeline
    told = inspect.getdoc(pipeline_class.__call__) or ""
    taken = pipeline_class._sanitize_parameters  # noqa: SLF001 - the one list of them
    arguments = set(inspect.signature(taken).parameters) - {"self"}
    assert not [name for name in arguments if f"`{name}`: " not in told]


@pytest.mark.parametrize("threshold", [np.float64(0.3), np.array(0.3), torch.tensor(0.3), [np.float32(0.3)] * 7])
def test_a_number_of_another_library_is_a_threshold(threshold: Any, own: Any) -> None:
    assert own(photo(0), threshold=threshold, top_k=np.int64(3)) == own(photo(0), threshold=0.3, top_k=3)


def test_numbers_that_are_not_finite_are_refused_and_named(own: Any, tmp_path: Path) -> None:
    name, key = "relevance_head.bias", "the model's logits are no finite numbers, as its weights relevance_head.bias"
    model = deepcopy(own.model)
    with torch.no_grad():
        model.get_parameter(name)[0] = math.nan
    with pytest.raises(ValueError, match=key):
        type(own)(model=model, image_processor=own.image_processor)(photo(0))
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"weights are not finite numbers \({name}\)"):
        AutoModelForImageClassification.from_pretrained(tmp_path)
    pixels = own.preprocess(photo(0))["pixel_values"]
    with pytest.raises(ValueError, match=r"though its weights are: .*torch\.float32"):
        own.postprocess(own.forward({"pixel_values": pixels * math.nan}))


def test_a_model_without_its_head_is_refused_until_it_is_trained(own: Any, tmp_path: Path) -> None:
    own.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: weights[name] for name in weights if "relevance_head" not in name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match=r"hold no relevance_head\.bias, relevance_head\.weight that fits"):
        pipeline("multi-label-image-classification", model=str(tmp_path))
    model = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(own)(model=model.train().eval(), image_processor=own.image_processor)(photo(0), top_k=1)


@pytest.mark.parametrize("size", [{"shortest_edge": 10**6}, {"height": 10**6, "width": 10**6}])
def test_a_preprocessor_that_would_take_all_memory_is_refused(size: dict[str, int], own: Any) -> None:
    for field in {"size": size}, {"crop_size": {"height": 10**6, "width": 10**6}}:
        processor = type(own.image_processor)(**(own.image_processor.to_dict() | field))
        with pytest.raises(ValueError, match="at most 67,108,864"):
            type(own)(model=own.model, image_processor=processor)(photo(0))


def test_an_unreadable_image_is_named(own: Any, tmp_path: Path) -> None:
    photo(0).save(tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "whole.jpg").read_bytes()[:-400])
    text = tmp_path / "text.jpg"
    text.write_text("no image at all")
    for path in (cut, text, tmp_path / "missing.jpg"):
        with pytest.raises(ValueError, match=path.name):
            own(str(path))


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.full((40, 50, 3), 0.5, dtype=np.float32), r"shape \(40, 50, 3\) and float32; expected .* of uint8"),
        (np.zeros((3, 40, 50), dtype=np.uint8), r"shape \(3, 40, 50\) and uint8; expected \(h, w, 3\)"),
        (np.zeros((40, 50, 3), dtype=np.int64), r"shape \(40, 50, 3\) and int64; expected .* of uint8"),
        (np.zeros(600, dtype=np.uint8), r"shape \(600,\) and uint8; .*; the bytes of a file as `bytes`"),
    ],
    ids=["fractions", "channels first", "long numbers", "a file's bytes"],
)
def test_an_array_that_could_mean_two_things_is_asked_about(own: Any, pixels: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=f"is no readable image: an array of {said}"):
        own(pixels)


def test_fractions_are_refused_not_taken_for_a_black_image(own: Any, stock: Any) -> None:
    pixels = pixels_of(photo(1))
    for fractions in (pixels / 255, (pixels / 255).numpy()):
        with pytest.raises(ValueError, match=r"fractions of 0\.\.1, not of 0\.\.255: give do_rescale=False"):
            stock(fractions)
    given = own.image_processor(pixels / 255, do_rescale=False, return_tensors="pt")["pixel_values"]
    expected = own.image_processor(photo(1), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(given, expected, atol=0.03, rtol=0)  # bytes are rounded after resizing, fractions not
    whole = own.image_processor(pixels.float(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(whole, expected, atol=0.03, rtol=0)
    black = own.image_processor(torch.zeros(3, 40, 50), return_tensors="pt")["pixel_values"]
    assert torch.equal(black, own.image_processor(Image.new("RGB", (50, 40)), return_tensors="pt")["pixel_values"])


def test_a_model_that_gives_tuples_gives_the_pipeline_names(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = own(photo(0), top_k=7)
    monkeypatch.setattr(own.model.config, "return_dict", False)
    assert own(photo(0), top_k=7) == expected


def test_a_model_without_a_path_decoder_has_labels_but_no_paths() -> None:
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=LABELS, path_loss="none", fusion="relevance"
    )
    own = MultiLabelImageClassificationPipeline(model, image_processor=CnnRnnImageProcessor.from_config(model.config))
    assert len(own(photo(0), top_k=7)) == 7
    for argument in ("return_path", "beam_width"):
        with pytest.raises(ValueError, match=f"{argument} needs a path decoder, which this model has not: leave it"):
            own(photo(0), **{argument: True if argument == "return_path" else 2})


def test_half_precision_gives_nearly_the_same_scores(own: Any, folder: Path) -> None:
    half = pipeline(TASK, model=str(folder), dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    exact, rounded = by_label(own(photo(0), threshold=0.0)), by_label(half(photo(0), threshold=0.0))
    assert rounded == pytest.approx(exact, abs=0.05)


def odd_images() -> dict[str, bytes]:
    """An encoded image of every kind that is easily read in two ways."""
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = Image.linear_gradient("L").resize((120, 90))
    layered = photo(0).resize((120, 90))
    layered.putalpha(clear)
    palette = photo(0).quantize(16)
    pixels: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "alpha": (layered, "PNG", {}),
        "grey alpha": (layered.convert("LA"), "PNG", {}),
        "clear palette": (palette, "PNG", {"transparency": 3}),
        "clear palette by entry": (palette, "PNG", {"transparency": bytes(range(0, 256, 16))}),
        "clear colour": (Image.new("RGB", (40, 30), (9, 9, 9)), "PNG", {"transparency": (9, 9, 9)}),
        "gif": (palette, "GIF", {"transparency": 3}),
        "cmyk": (photo(0).convert("CMYK"), "JPEG", {}),
        "sixteen bits": (Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80) * 10), "PNG", {}),
        "sixteen bits tiff": (Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80) * 10), "TIFF", {}),
        "turned": (photo(0), "JPEG", {"exif": turned}),
        "turned and clear": (layered, "PNG", {"exif": turned}),
        "one bit": (photo(0).convert("1"), "PNG", {}),
        "grey": (photo(0).convert("L"), "JPEG", {}),
    }
    encoded = {}
    for kind, (image, file_format, options) in pixels.items():
        buffer = BytesIO()
        image.save(buffer, file_format, **options)
        encoded[kind] = buffer.getvalue()
    return encoded


@pytest.mark.parametrize("kind", odd_images())
def test_odd_images_are_the_same_pixels_as_in_training(kind: str, own: Any, tmp_path: Path) -> None:
    content = odd_images()[kind]
    (tmp_path / "image").write_bytes(content)
    expected = EvalTransform(own.image_processor)(decode_image(content, kind))
    opened = Image.open(BytesIO(content))
    for given in (tmp_path / "image", str(tmp_path / "image"), base64.b64encode(content).decode(), opened):
        assert torch.equal(own.preprocess(given)["pixel_values"][0], expected)
    assert torch.equal(own.image_processor(opened, return_tensors="pt")["pixel_values"][0], expected)
    raw = np.asarray(opened.convert("RGB"))
    if kind not in {"one bit", "grey", "cmyk"}:  # where nothing but the plain conversion is right
        assert raw.shape[:2] != decode_image(content).size[::-1] or (raw != np.asarray(decode_image(content))).any()


def test_an_image_from_the_web_keeps_its_transparency(own: Any, tmp_path: Path) -> None:
    (tmp_path / "clear.png").write_bytes(odd_images()["alpha"])
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        there = own.preprocess(f"{address}/clear.png", timeout=5)["pixel_values"]
        with pytest.raises(ValueError, match=r"missing\.png.*404"):
            own.preprocess(f"{address}/missing.png")
        server.shutdown()
    assert torch.equal(there, own.preprocess(tmp_path / "clear.png")["pixel_values"])


def test_what_is_no_image_is_named_in_one_line(own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "base").mkdir()
    told = {
        str(tmp_path): rf"'{tmp_path}' is no readable image: it is a folder: give the paths of its files",
        "base": "'base' is no readable image: it is a folder",  # base64, too, of three bytes
        "ftp://a/b.png": "'ftp://a/b.png' is no readable image: there is no such file, and it is neither an http",
        str(tmp_path / "page.png"): r"page.png' is no readable image: cannot identify the format of its bytes",
    }
    pixels = np.zeros((40, 50, 3), dtype=np.float32)
    for given, message in [*told.items(), (pixels, r"what was given \(ndarray\) is no readable image: an array of")]:
        with pytest.raises(ValueError, match=message) as refused:
            own(given)
        assert "\n" not in str(refused.value)


def test_a_text_that_is_no_image_is_refused(own: Any) -> None:
    for text in ("", "photo of a cat", "a" * 5000, "data:image/png;base64,####"):
        with pytest.raises(ValueError, match="is no readable image"):
            own.preprocess(text)


def photos_in(folder: Path, column: str = "image") -> Dataset:
    """Three photos on disk as a data set."""
    files = []
    for seed in range(3):
        files.append(str(folder / f"{seed}.png"))
        photo(seed).save(files[-1])
    return Dataset.from_dict({column: files, "name": ["a", "b", "c"]}).cast_column(column, ImageColumn())


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).movedim(-1, 0)


def test_a_data_set_and_its_column_and_its_tensors_give_what_their_images_give(own: Any, tmp_path: Path) -> None:
    data = photos_in(tmp_path)
    expected = own([photo(seed) for seed in range(3)], top_k=3)
    for inputs in (
        data,
        data["image"],
        data[:]["image"],
        tuple(data[:]["image"]),
        [pixels_of(photo(seed)) for seed in range(3)],
        data.with_format("torch")["image"],
        data.cast_column("image", ImageColumn(decode=False)),
    ):
        given = own(inputs, top_k=3)
        assert isinstance(given, list)
        assert given == expected
    alone = [own(photo(seed), top_k=3) for seed in range(3)]  # a product of one row is rounded as no other
    for one, among_others in zip(alone, expected, strict=True):
        assert by_label(one) == pytest.approx(by_label(among_others), abs=1e-6)
    assert list(own(KeyDataset(data.with_format("torch"), "image"), top_k=3)) == alone
    assert list(own(data.to_iterable_dataset(), top_k=3)) == alone
    assert list(own(iter([photo(seed) for seed in range(3)]), top_k=3)) == alone
    assert list(own(map(photo, range(3)), top_k=3)) == alone
    assert own(pixels_of(photo(1)), top_k=3) == alone[1]
    with (tmp_path / "1.png").open("rb") as file:  # an iterator too, but one image
        assert own(file, top_k=3) == alone[1]
    assert own([]) == own(data.select([])) == own(data.select([])["image"]) == []


def test_a_stack_is_as_many_images(own: Any) -> None:
    pictures = [photo(1).resize((60, 50)), photo(2).resize((60, 50))]
    arrays = np.stack([np.array(picture) for picture in pictures])
    expected = own(pictures, top_k=2)
    assert own(arrays, top_k=2) == expected
    assert own(torch.from_numpy(arrays).movedim(-1, 1), top_k=2) == expected


def test_images_of_a_column_are_read_when_their_turn_comes(own: Any, tmp_path: Path) -> None:
    data = photos_in(tmp_path)
    (tmp_path / "2.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="readable image"):
        own(data.cast_column("image", ImageColumn(decode=False)))


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.rand(3, 20, 20), "torch.float32; expected .* of uint8"),
        (torch.zeros(20, 20, 3, dtype=torch.uint8), r"shape \(20, 20, 3\)"),
        (torch.zeros(4, 20, 20, dtype=torch.uint8), r"shape \(4, 20, 20\)"),
    ],
    ids=["fractions", "channels last", "four channels"],
)
def test_a_tensor_that_could_mean_two_things_is_asked_about(own: Any, pixels: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        own(pixels)


def test_a_data_set_without_one_column_of_images_is_asked_about(own: Any, tmp_path: Path) -> None:
    data = photos_in(tmp_path)
    with pytest.raises(ValueError, match=r"\['image', 'second'\]: give a column"):
        own(concatenate_datasets([data, photos_in(tmp_path, "second").remove_columns("name")], axis=1))
    with pytest.raises(ValueError, match=r"this one has \[\]: give a column"):
        own(data.remove_columns("image"))
    with pytest.raises(ValueError, match="a row with image, name; give its image alone"):
        own(data[0])
    with pytest.raises(ValueError, match=r"the splits train, test: give one of them, such as data\['train'\]"):
        own(DatasetDict(train=data, test=data))
    with pytest.raises(ValueError, match="NoneType is no kind of image: give a path"):
        own([photo(0), None])


@pytest.mark.parametrize("task", [TASK, "image-classification"])
@pytest.mark.parametrize("fields", [{}, {"relevance_loss": "none", "fusion": "path"}], ids=["default", "path only"])
def test_straight_after_training_the_pipeline_gives_what_a_saved_model_gives(
    fields: dict[str, Any], task: str, tmp_path: Path
) -> None:
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=LABELS, hidden_size=8, **fields)
    settings: dict[str, Any] = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    example = {"pixel_values": torch.rand(3, 32, 32), "labels": torch.ones(len(LABELS))}
    trainer = Trainer(model, TrainingArguments(str(tmp_path), max_steps=1, **settings), train_dataset=[example] * 2)
    trainer.train()
    assert trainer.model.training
    trainer.save_model(str(tmp_path))
    CnnRnnImageProcessor.from_config(model.config).save_pretrained(tmp_path)
    model.backbone.timm_model.conv1.eval()  # and somebody keeps a part as it is
    modes = {name: module.training for name, module in model.named_modules()}
    statistics = {name: tensor.clone() for name, tensor in model.named_buffers()}
    after = pipeline(task, model=trainer.model, image_processor=str(tmp_path))
    saved = pipeline(task, model=str(tmp_path))
    given, expected = (
        {item["label"]: item["score"] for item in classify(photo(1), top_k=7)} for classify in (after, saved)
    )
    assert given == pytest.approx(expected, abs=1e-6)
    if task == TASK:
        paths = [classify(photo(1), return_path=True)["path_score"] for classify in (after, saved)]
        assert paths[0] == pytest.approx(paths[1], abs=1e-6)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(tensor, statistics[name]) for name, tensor in model.named_buffers())


@pytest.mark.parametrize("given", ["name", "objects"])
def test_the_feature_pipeline_gives_features(given: str, folder: Path, own: Any) -> None:
    model = AutoModelForImageClassification.from_pretrained(folder).train()  # as a Trainer leaves it
    parts = {"name": {"model": str(folder)}, "objects": {"model": model, "image_processor": own.image_processor}}
    extract = pipeline("image-feature-extraction", **parts[given])
    statistics = {name: tensor.clone() for name, tensor in model.named_buffers()}
    with torch.no_grad():
        image = own.model.get_image_features(own.preprocess(photo(0))["pixel_values"])
    for batch in (None, 2):
        features = extract([photo(0)] * 2, return_tensors=True, batch_size=batch)
        torch.testing.assert_close(features[0], image.last_hidden_state)
        pooled = extract([photo(0)] * 2, return_tensors=True, pool=True, batch_size=batch)
        torch.testing.assert_close(pooled[1], image.pooler_output)
    assert all(torch.equal(tensor, statistics[name]) for name, tensor in model.named_buffers())


def test_the_feature_pipeline_of_other_models_is_as_it_was(own: Any) -> None:
    other = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])).eval()
    features = pipeline("image-feature-extraction", model=other, image_processor=own.image_processor)(photo(0))
    with torch.no_grad():
        expected = other(own.preprocess(photo(0))["pixel_values"]).last_hidden_state
    torch.testing.assert_close(torch.tensor(features), expected)


def test_a_picture_without_pixels_or_far_too_long_is_refused(own: Any) -> None:
    for shape in ((0, 0, 3), (0, 5, 3), (5, 0, 3)):
        with pytest.raises(ValueError, match="there is nothing in it"):
            own(Image.new("RGB", (shape[1], shape[0])))
        with pytest.raises(ValueError, match=r"no readable image|nothing in it"):
            own(np.zeros(shape, dtype=np.uint8))
    with pytest.raises(ValueError, match="a side over 1000 times the other"):
        own(Image.new("RGB", (1, 60_000)))
    for size in ((1, 60_000), (60_000, 1)):
        with pytest.raises(ValueError, match="a side over 1000 times the other"):
            own.image_processor(np.zeros((*size, 3), dtype=np.uint8), return_tensors="pt")


def test_pixels_after_resizing_are_bounded_before_they_are_paid_for() -> None:
    processor = CnnRnnImageProcessor.from_config(CnnRnnConfig(image_size=1024, crop_pct=1.0, id2label={0: "a"}))
    with pytest.raises(ValueError, match=r"4 x 400 pixels, resized to a shorter side of 1024, would be 104,857,600"):
        processor(Image.new("RGB", (4, 400)), return_tensors="pt")


def test_of_what_is_unfamiliar_no_label_is_named_unless_asked_how_and_it_is_told(folder: Path) -> None:
    classify = pipeline(TASK, model=str(folder))
    image = Image.new("RGB", (40, 40), "red")
    best = max(by_label(classify(image, threshold=0.0)).values())
    assert "unfamiliar" not in classify(image, return_path=True)
    classify.model.config.familiar_from = best - 1e-4
    assert classify(image, return_path=True)["unfamiliar"] is False
    named = classify(image, threshold=0.0)
    classify.model.config.familiar_from = best + 1e-4
    assert classify(image) == []
    found = classify(image, return_path=True)
    assert found["unfamiliar"] is True
    assert found["labels"] == []
    assert classify(image, threshold=0.0) == named
    assert len(classify(image, top_k=2)) == 2
    assert by_label(classify(image, known={LABELS[0]: True}))[LABELS[0]] > 0.99  # a person has seen what it is
