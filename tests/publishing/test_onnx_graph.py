"""The exported graph beside the model: same paths, same scores, at any batch size."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tests.commands_by_name import main_of

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.data import load_image_folder
from cnn_rnn.prediction import SavedModel, measure, predict_dataset
from cnn_rnn.publishing import onnx_graph
from cnn_rnn.publishing.onnx_graph import OnnxModel, export_onnx, quantize_onnx

LABELS = ["blue", "green", "red"]


def small_model(**changes: Any) -> Any:
    """A random model whose walks differ from image to image."""
    torch.manual_seed(3)
    fields: dict[str, Any] = {"embedding_size": 16, "hidden_size": 16, "image_size": 32, "crop_pct": 1.0}
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=LABELS, **(fields | changes)).eval()
    if model.path_decoder is not None:
        projection = model.path_decoder.image_projection
        with torch.no_grad():
            model.path_decoder.label_embedding.weight.mul_(2)
            projection.weight.mul_(10)
            projection.bias.sub_(projection(model.encode_images(images(16)).flatten(0, -2)).mean(0))
    return model


def images(count: int) -> torch.Tensor:
    """Noise of different colours."""
    generator = torch.Generator().manual_seed(count)
    return 3 * torch.randn(count, 3, 1, 1, generator=generator) + torch.randn(count, 3, 32, 32, generator=generator)


@pytest.fixture(scope="module")
def exported(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its graph and the 8-bit copy, and the figures of both, as the command makes them."""
    folder = tmp_path_factory.mktemp("export")
    model = small_model(thresholds=[0.2, 0.5, 0.7])
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(folder / "model")
    files = ["--output", str(folder / "f.onnx"), "--int8", str(folder / "g.onnx")]
    data = ["--data.name", "image_folder", "--data.root", str(photo_folder)]
    assert main_of("export_onnx")([str(folder / "model"), *files, *data]) == 0
    return folder


def assert_same(graph: OnnxModel, model: Any, batch: int, tolerance: float) -> None:
    pixel_values = images(batch)
    expected, found = model.generate(pixel_values), graph(pixel_values)
    assert set(found) == {"logits", "paths", "path_scores"}
    assert torch.equal(found["paths"], expected.paths)
    assert torch.allclose(found["path_scores"], expected.path_scores, atol=tolerance)
    assert torch.allclose(found["logits"], expected.logits, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16])
def test_the_graph_walks_the_paths_of_the_model(exported: Path, batch: int) -> None:
    model = CnnRnnForImageClassification.from_pretrained(exported / "model").eval()
    assert_same(OnnxModel(exported / "f.onnx"), model, batch, tolerance=1e-4)


def test_the_walks_of_this_test_differ(exported: Path) -> None:
    model = CnnRnnForImageClassification.from_pretrained(exported / "model").eval()
    best = model.generate(images(16)).paths[:, 0]
    assert len({tuple(path.tolist()) for path in best}) > 2


def test_the_search_is_one_loop_and_no_weight_stands_in_the_file_twice(exported: Path) -> None:
    graph = onnx.load(exported / "f.onnx").graph
    (loop,) = (node for node in graph.node if node.op_type == "Loop")
    inside = loop.attribute[0].g
    assert not {node.op_type for node in inside.node} & {"If", "Loop"}
    values = [onnx.numpy_helper.to_array(tensor) for tensor in (*graph.initializer, *inside.initializer)]
    large = [
        frozenset(value.ravel().tolist()) for value in values if value.ndim > 1 and value.any()
    ]  # transposed ones are the same
    assert len(set(large)) == len(large) >= 10
    weights = CnnRnnForImageClassification.from_pretrained(exported / "model").state_dict().values()
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    assert sum(value.nbytes for value in values) <= size
    assert (exported / "f.onnx").stat().st_size < 1.2 * size


def test_the_loop_is_left_where_all_walks_have_ended(exported: Path, tmp_path: Path) -> None:
    model = CnnRnnForImageClassification.from_pretrained(exported / "model").eval()
    graph = onnx.load(exported / "f.onnx")
    (loop,) = (node for node in graph.graph.node if node.op_type == "Loop")
    rounds = onnx.helper.make_tensor_value_info(loop.output[0], onnx.TensorProto.INT64, [])
    graph.graph.output.append(rounds)
    onnx.save(graph, tmp_path / "told.onnx")
    for batch in (1, 5):
        pixels = images(batch)
        steps = int(OnnxModel(tmp_path / "told.onnx")(pixels)[loop.output[0]])
        longest = int((model.generate(pixels).paths < len(LABELS)).sum(-1).max())
        assert longest < steps <= len(LABELS) + 1


def test_a_copy_that_is_no_smaller_is_refused_and_not_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(_source: str, path: str, **_: Any) -> None:
        Path(path).write_bytes((exported / "f.onnx").read_bytes())

    monkeypatch.setattr("onnxruntime.quantization.quantize_dynamic", grow)
    monkeypatch.setattr(onnx_graph, "_halve_weights", lambda _path: None)
    size = (exported / "f.onnx").stat().st_size
    with pytest.raises(ValueError, match=rf"g.onnx would have {size:,} bytes and f.onnx has {size:,}"):
        quantize_onnx(exported / "f.onnx", tmp_path / "g.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_attention_over_places_and_the_papers_cell_are_exported_too(tmp_path: Path) -> None:
    model = small_model(
        pooling="attention", relevance_head="residual_attention", cell="relu_lstm", beam_width=2, max_path_length=1
    )
    graph = OnnxModel(export_onnx(model, tmp_path / "new" / "f.onnx"))
    for batch in (1, 5):
        assert_same(graph, model, batch, tolerance=1e-4)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["f.onnx"]


def test_bytes_are_normalised_in_the_graph_and_a_calibrated_copy_is_small_and_close(tmp_path: Path) -> None:
    model = small_model(beam_width=2, max_path_length=1)
    octets = torch.randint(256, (24, 3, 1, 1), generator=torch.Generator().manual_seed(0))
    octets = (octets + torch.randint(-40, 40, (24, 3, 32, 32))).clamp(0, 255).to(torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (model.config.image_mean, model.config.image_std))
    expected = model.generate((octets / 255 - mean) / std)
    graph = OnnxModel(export_onnx(model, tmp_path / "f.onnx", uint8=True))
    found = graph(octets)
    assert torch.equal(found["paths"], expected.paths)
    torch.testing.assert_close(found["logits"], expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(graph((octets / 255 - mean) / std)["logits"], found["logits"])
    small = quantize_onnx(tmp_path / "f.onnx", tmp_path / "g.onnx", octets)
    assert {node.op_type for node in onnx.load(small).graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    quantized = OnnxModel(small)(octets)
    difference = (quantized["logits"].sigmoid() - expected.logits.sigmoid()).abs().mean()
    assert 1e-6 < difference < 0.05
    # Of what computes in 32 bits the large weights are kept in 16: far fewer bytes, and about the same numbers.
    sizes = {
        name: sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)
        for name, path in (("whole", tmp_path / "f.onnx"), ("small", small))
    }
    assert sizes["small"] < 0.4 * sizes["whole"]


def test_the_command_hands_on_bytes_and_the_images_to_calibrate_on(
    exported: Path,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, Any] = {}

    def write_graph(_model: Any, path: Path, **options: Any) -> Path:
        asked.update(options)
        return Path(shutil.copy(exported / "f.onnx", path))

    def write_copy(_source: Path, path: Path, calibration: torch.Tensor | None) -> Path:
        asked["calibration"] = calibration
        return Path(shutil.copy(exported / "g.onnx", path))

    monkeypatch.setattr(onnx_graph, "export_onnx", write_graph)
    monkeypatch.setattr(onnx_graph, "quantize_onnx", write_copy)
    output, copy = ["--output", str(tmp_path / "f.onnx")], ["--int8", str(tmp_path / "g.onnx")]
    photos = ["--calibrate", str(photo_folder / "train")]
    for name in "fg":
        (tmp_path / f"{name}.onnx").write_text("by hand")
    export = main_of("export_onnx")
    assert export([str(exported / "model"), *output, *copy, *photos, "--uint8"]) == 0
    assert asked["uint8"]
    assert asked["calibration"].dtype == torch.uint8
    assert asked["calibration"].shape[1:] == (3, 32, 32)
    assert export([str(exported / "model"), *output, *copy]) == 0
    assert asked == {"known_labels": False, "uint8": False, "calibration": None}
    assert export([str(exported / "model"), *output, *photos]) == 2
    assert "--calibrate is for the 8-bit copy: name its file with --int8" in capsys.readouterr().err
    assert export([str(exported / "model"), *output, "--int8", output[1]]) == 2
    assert "f.onnx is --output too: give the 8-bit copy a name of its own" in capsys.readouterr().err
    kept = {path.name: path.read_text() for path in tmp_path.glob("*.before*")}
    assert kept == {"f.before.onnx": "by hand", "g.before.onnx": "by hand"}  # and of its own nothing


def test_a_model_without_path_decoder_has_logits_alone(tmp_path: Path) -> None:
    model = small_model(path_loss="none", fusion="relevance")
    found = OnnxModel(export_onnx(model, tmp_path / "f.onnx"))(images(3))
    assert set(found) == {"logits"}
    assert torch.allclose(found["logits"], model(images(3)).logits, atol=1e-4)


def test_eight_bits_cost_little_and_how_much_is_written_down(exported: Path, photo_folder: Path) -> None:
    model = CnnRnnForImageClassification.from_pretrained(exported / "model").eval()
    found = OnnxModel(exported / "g.onnx")(images(16))
    difference = (found["logits"].sigmoid() - model(images(16)).logits.sigmoid()).abs().max()
    assert 1e-6 < difference < 0.05
    saved = SavedModel.load(exported / "model")
    predictions = predict_dataset(saved, load_image_folder(photo_folder, split="test"), 4, 0)
    figures = measure(predictions, LABELS, saved.model.config.thresholds)
    whole, small = (json.loads((exported / f"{name}.metrics.json").read_text()) for name in "fg")
    assert whole["mAP"] == pytest.approx(figures["mAP"])
    assert whole["path"] == figures["path"]
    assert whole["counts"]["images"] == small["counts"]["images"] == 12
    assert 0 <= small["mAP"] <= 1


def test_the_graph_tells_what_its_user_must_know(exported: Path) -> None:
    graph = onnx.load(exported / "f.onnx")
    told = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert told["labels"] == LABELS
    assert told["thresholds"] == [0.2, 0.5, 0.7]
    assert told["image_size"] == 32
    assert [entry.name for entry in graph.graph.input] == ["pixel_values"]
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert OnnxModel(exported / "g.onnx").labels == LABELS


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_of("export_onnx")([str(tmp_path / "none"), "--output", str(tmp_path / "f.onnx")]) == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "f.onnx").exists()


def knowing_model(**changes: Any) -> Any:
    """A model that takes in what is known in every way that there is, as trained ones do."""
    counted = {"label_counts": [5, 3, 7], "counted_images": 12}
    model = small_model(
        known_labels="state", cooccurrence=True, relevance_in_path=True, neighbours=6, **counted, **changes
    )
    model.cooccurrence.fit(torch.tensor([[6.0, 4, 1], [4, 5, 0], [1, 0, 7]]), 12)
    model.neighbours.fill(model.encode_images(images(6)), torch.eye(3).repeat(2, 1))
    model.neighbours.mix.copy_(torch.tensor([0.7, 0.4, 0.1]))
    return model


RULES = {"implies": {LABELS[1]: LABELS[0]}, "excludes": [[LABELS[0], LABELS[2]]]}


@pytest.mark.parametrize(
    "changes", [{"label_rules": RULES, "fusion_weights": [1.2, 0.8, 1.0]}, pytest.param({}, marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_a_second_input_takes_what_is_known_and_rules_are_obeyed(changes: dict[str, Any], tmp_path: Path) -> None:
    model = knowing_model(**changes)
    path = export_onnx(model, tmp_path / "known.onnx", known_labels=True)
    graph = OnnxModel(path)
    told = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert told.get("label_rules") == changes.get("label_rules")
    answers = (
        [[0, 0, 0]] * 4,
        [[1, 0, 0], [0, 1, -1], [0, 0, 0], [-1, -1, 1]],
        [[0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0, 0]],
    )
    for known in answers:
        given = torch.tensor(known)
        expected, found = model.generate(images(4), known_labels=given), graph(images(4), given)
        assert torch.equal(found["paths"], expected.paths)
        torch.testing.assert_close(found["logits"], expected.logits, atol=1e-4, rtol=1e-4)
        scores = found["logits"].sigmoid()
        assert not changes or (scores[:, 1] <= scores[:, 0] + 1e-6).all()
        assert not changes or (scores[:, 0] + scores[:, 2] <= 1 + 1e-5).all()
    assert torch.allclose(graph(images(2))["logits"], model.generate(images(2)).logits, atol=1e-4)


def test_known_labels_for_which_a_model_was_not_trained_are_no_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was not trained to take in known labels"):
        export_onnx(small_model(), tmp_path / "unknown.onnx", known_labels=True)
