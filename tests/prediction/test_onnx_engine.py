"""A backbone in onnxruntime beside the one in torch: the same rows, and a graph that is kept and trusted with care."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, get_args

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.commands_by_name import main_of

from cnn_rnn import (
    CnnRnnForImageClassification,
    CnnRnnImageProcessor,
    MultiLabelImageClassificationPipeline,
)
from cnn_rnn.prediction import SavedModel, kept_graphs, onnx_engine
from cnn_rnn.prediction.kept_graphs import FOLDER
from cnn_rnn.prediction.onnx_engine import (
    UnfitGraphError,
    choose_engine,
    digest_of,
    set_engine,
    use_onnxruntime,
)

LABELS = ["blue", "green", "red", "yellow"]
CPU = torch.device("cpu")


def save_model(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(3)
    fields: dict[str, Any] = {"embedding_size": 16, "hidden_size": 16, "image_size": 32, "crop_pct": 1.0}
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=LABELS, **(fields | changes)).eval()
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    paths = []
    for number in range(5):
        colour = random.integers(0, 255, (1, 1, 3)) + random.integers(-60, 60, (40, 50, 3))
        path = folder / f"{number}.png"
        Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(path)
        paths.append(str(path))
    return paths


def by_torch(folder: Path) -> MultiLabelImageClassificationPipeline:
    loaded = SavedModel.load(folder)
    return MultiLabelImageClassificationPipeline(model=loaded.model, image_processor=loaded.processor, device="cpu")


def by_onnx(folder: Path, **arguments: Any) -> MultiLabelImageClassificationPipeline:
    """The pipeline with its backbone in onnxruntime."""
    loaded = SavedModel.load(folder)
    use_onnxruntime(loaded.model, loaded.name)
    return MultiLabelImageClassificationPipeline(
        model=loaded.model, image_processor=loaded.processor, device="cpu", **arguments
    )


def assert_same_rows(found: Any, expected: Any) -> None:
    """Equal labels in the same order, scores to 1e-4."""
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        if isinstance(one, dict) and "labels" in one:
            assert one["path_score"] == pytest.approx(two["path_score"], abs=1e-4)
            assert_same_rows([one["labels"], one["path"]], [two["labels"], two["path"]])
        elif isinstance(one, list):
            assert_same_rows(one, two)
        else:
            assert one["label"] == two["label"]
            assert one["score"] == pytest.approx(two["score"], abs=1e-4)


@pytest.mark.parametrize("arguments", [{}, {"threshold": 0.1}, {"top_k": 2, "return_path": True}], ids=str)
def test_the_rows_are_those_of_torch_with_the_pipelines_arguments(
    saved: Path, photos: list[str], arguments: dict[str, Any]
) -> None:
    classify = by_onnx(saved, **arguments)
    expected = by_torch(saved)(photos, **arguments)
    assert_same_rows(classify(photos), expected)
    assert_same_rows(classify(photos, batch_size=3), expected)
    assert_same_rows([classify(photos[0])], expected[:1])


def test_attention_over_places_runs_there_too(tmp_path: Path, photos: list[str]) -> None:
    folder = save_model(tmp_path / "model", pooling="attention", relevance_head="residual_attention", cell="gru")
    found = by_onnx(folder)(photos, return_path=True, top_k=4)
    assert_same_rows(found, by_torch(folder)(photos, return_path=True, top_k=4))


def stand_in_for_the_export(monkeypatch: pytest.MonkeyPatch, saved: Path) -> list[str]:
    """Another model's graph in place of an export, which takes seconds; returns the digests of what was exported."""
    by_onnx(saved)
    graph = next((saved / FOLDER).iterdir()).read_bytes()
    made: list[str] = []

    def export(model: Any) -> bytes:
        made.append(digest_of(model))
        return graph

    monkeypatch.setattr(onnx_engine, "export_backbone", export)
    return made


def test_the_graph_is_made_once_and_kept_beside_the_weights_it_belongs_to(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "model")
    made = stand_in_for_the_export(monkeypatch, saved)
    by_onnx(folder)
    by_onnx(folder)
    (path,) = (folder / FOLDER).iterdir()
    model = SavedModel.load(folder).model
    before = digest_of(model)
    assert made == [before]

    path.write_bytes(path.read_bytes()[:-2000])  # cut off
    by_onnx(folder)
    assert made == [before, before]

    with torch.no_grad():
        next(model.backbone.parameters()).mul_(2)
    assert digest_of(model) != before
    model.save_pretrained(folder)
    by_onnx(folder)
    assert len(made) == 3
    assert len(list((folder / FOLDER).iterdir())) == 2


@pytest.mark.parametrize(
    "change", [{"image_size": 64}, {"pooling": "max"}, {"backbone_args": {"drop_rate": 0.1}}], ids=str
)
def test_another_config_asks_for_another_graph(saved: Path, change: dict[str, Any]) -> None:
    model = SavedModel.load(saved).model
    before = digest_of(model)
    for name, value in change.items():
        setattr(model.config, name, value)
    assert digest_of(model) != before


def test_processes_that_keep_a_graph_at_once_leave_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, write = Barrier(3), Path.write_bytes

    def write_together(path: Path, content: bytes) -> int:
        together.wait(timeout=300)  # all have begun to write before one is done
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_together)
    monkeypatch.setattr(kept_graphs, "record_own", lambda *_: None)
    path = tmp_path / FOLDER / "a.onnx"
    with ThreadPoolExecutor(3) as pool:
        kept = [pool.submit(kept_graphs.keep_graph, b"graph", str(tmp_path), "a.onnx", "0") for _ in range(3)]
        assert {task.result() for task in kept} == {path}
    assert list((tmp_path / FOLDER).iterdir()) == [path]
    assert path.read_bytes() == b"graph"


def test_a_graph_of_other_weights_under_the_right_name_is_not_taken(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "model")
    stand_in_for_the_export(monkeypatch, saved)
    by_onnx(folder)
    (path,) = (folder / FOLDER).iterdir()
    right = path.read_bytes()
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"of": "others"})
    onnx.save(graph, path)
    by_onnx(folder)
    assert path.read_bytes() == right


def planted(path: Path, width: int = 0) -> None:
    """Put a graph with the right digest in a graph's place, whose features are all the same, or of another width."""
    graph = onnx.load(path)
    output = graph.graph.output[0]
    width = width or output.type.tensor_type.shape.dim[1].dim_value
    start, end = "planted_rows", "planted_shape"
    helper, kinds = onnx.helper, onnx.TensorProto
    value = helper.make_tensor("planted", kinds.FLOAT, [1, width], [9.0] * width)
    nodes = [
        helper.make_node("Shape", ["pixel_values"], [start], start=0, end=1),
        helper.make_node("Constant", [], ["planted_one"], value=helper.make_tensor("one", kinds.INT64, [1], [1])),
        helper.make_node("Concat", [start, "planted_one"], [end], axis=0),
        helper.make_node("Constant", [], ["planted_value"], value=value),
        helper.make_node("Expand", ["planted_value", end], [output.name]),
    ]
    pixels = list(graph.graph.input)
    shape = helper.make_tensor_value_info(output.name, kinds.FLOAT, ["batch", width])
    made = helper.make_model(helper.make_graph(nodes, "planted", pixels, [shape]), opset_imports=graph.opset_import)
    made.ir_version = graph.ir_version
    helper.set_model_props(made, {entry.key: entry.value for entry in graph.metadata_props})
    onnx.checker.check_model(made)
    onnx.save(made, path)


@pytest.mark.parametrize("width", [0, 7], ids=["answers", "another_width"])
def test_a_graph_that_somebody_planted_is_not_run_and_that_is_told(
    width: int, photos: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(tmp_path / "model")
    by_onnx(folder)
    (path,) = (folder / FOLDER).iterdir()
    planted(path, width)
    found = by_onnx(folder)(photos, threshold=0.0)
    assert_same_rows(found, by_torch(folder)(photos, threshold=0.0))
    assert "was not written by this user" in caplog.text
    caplog.clear()
    by_onnx(folder)
    assert caplog.text == ""


def test_a_folder_that_cannot_be_written_keeps_no_graph(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: list[str]
) -> None:
    folder = save_model(tmp_path / "model")  # the same weights
    stand_in_for_the_export(monkeypatch, saved)
    (folder / FOLDER).write_text("a file stands in the way")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    assert_same_rows(by_onnx(folder)(photos), by_torch(folder)(photos))
    assert len(list((tmp_path / "home").rglob("*.onnx"))) == 1


def test_nothing_is_written_among_installed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "bundled_model"
    shipped.mkdir()
    monkeypatch.setattr(kept_graphs, "PLACES", (tmp_path,))
    assert [path.is_relative_to(shipped) for path in kept_graphs.paths_for(str(shipped), "a.onnx")] == [False]
    assert kept_graphs.paths_for(str(tmp_path), "a.onnx")[0] == tmp_path / FOLDER / "a.onnx"


@pytest.mark.parametrize("planted", [FOLDER, f"{FOLDER}/a.onnx"])
def test_nothing_is_written_where_a_link_in_the_models_folder_leads(tmp_path: Path, planted: str) -> None:
    (link := tmp_path / planted).parent.mkdir(exist_ok=True)
    link.symlink_to("/somewhere/else")
    assert [path.is_relative_to(tmp_path) for path in kept_graphs.paths_for(str(tmp_path), "a.onnx")] == [False]


def test_the_engine_is_chosen_by_device_and_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    assert [choose_engine(engine, CPU) for engine in get_args(kept_graphs.Engine)] == ["onnx", "torch", "onnx"]
    assert choose_engine("auto", gpu) == "torch"
    with pytest.raises(ValueError, match="'onnx' is for the CPU, the device is cuda:0"):
        choose_engine("onnx", gpu)
    monkeypatch.setattr(onnx_engine, "NEEDED", ("onnx", "no_such_package"))
    assert choose_engine("auto", CPU) == "torch"
    with pytest.raises(ImportError, match=r"needs no_such_package: pip install 'cnn-rnn\[export\]'"):
        choose_engine("onnx", CPU)


def test_a_backbone_whose_graph_sees_something_else_stays_in_torch(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(onnx_engine, "TOLERANCE", 0.0)
    monkeypatch.setattr(kept_graphs, "paths_for", lambda _name, file: [tmp_path / file])
    model = SavedModel.load(saved).model
    backbone = model.backbone
    with pytest.raises(UnfitGraphError, match="test_resnet by onnxruntime differs from torch"):
        set_engine(model, "any", "onnx", CPU)
    assert "engine torch on cpu: test_resnet by onnxruntime differs" in set_engine(model, "any", "auto", CPU)
    assert model.backbone.backbone is backbone
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_its_engine_and_writes_the_same_rows(
    saved: Path, photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {}
    for engine in ("torch", "auto"):
        output = ["--output", str(tmp_path / engine), "--engine", engine]
        arguments = ["--model", str(saved), "--input", str(Path(photos[0]).parent), "--num_workers", "0", *output]
        assert main_of("predict")(arguments) == 0
        tables[engine] = pq.read_table(tmp_path / engine / "labels.parquet").to_pylist()
        told = capsys.readouterr().err
        assert f"engine {'onnx' if engine == 'auto' else 'torch'} on cpu" in told
    assert [row.pop("image_id") for row in tables["auto"]] == [row.pop("image_id") for row in tables["torch"]]
    assert_same_rows(tables["auto"], tables["torch"])


def test_hidden_states_are_refused(saved: Path) -> None:
    classify = by_onnx(saved)
    with pytest.raises(ValueError, match="load the model by torch"):
        classify.model(torch.zeros(1, 3, 32, 32), output_hidden_states=True)


def test_a_graph_that_no_folder_takes_is_run_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in the way").write_text("")
    saved = SavedModel.load(save_model(tmp_path / "model"))
    monkeypatch.setattr(kept_graphs, "paths_for", lambda _, file: [tmp_path / "in the way" / file])
    assert set_engine(saved.model, saved.name, "onnx", CPU) == "engine onnx on cpu: its graph is not kept"
    assert isinstance(saved.model.backbone, onnx_engine.OnnxBackbone)
