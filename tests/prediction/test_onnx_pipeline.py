"""The pipeline by a model's graph beside the pipeline by torch: the same rows for the same questions, and no torch."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnn_rnn import (
    CnnRnnForImageClassification,
    CnnRnnImageProcessor,
    CnnRnnOnnx,
    MultiLabelImageClassificationPipeline,
)
from cnn_rnn.foundation.provenance import Provenance
from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.prediction import SavedModel, graph_making
from cnn_rnn.prediction.answers import read_answers
from cnn_rnn.prediction.graph_model import GraphModel
from cnn_rnn.prediction.kept_graphs import FOLDER, WEIGHTS
from cnn_rnn.prediction.onnx_engine import UnfitGraphError
from cnn_rnn.prediction.stored_weights import stored_weights
from cnn_rnn.prediction.torch_labeller import TorchLabeller

LABELS = ["blue", "green", "red", "yellow"]
WITHOUT = """
import sys
from cnn_rnn import CnnRnnOnnx
from cnn_rnn.commands.cli import main
model, photo, output = sys.argv[1:]
CnnRnnOnnx.from_pretrained(model)(photo, return_path=True)
assert main(["predict", "--input", photo]) == 0
assert main(["predict", "--input", photo, "--output", output]) == 0
heavy = {"torch", "torchvision", "timm", "transformers", "datasets", "accelerate", "onnx"} & set(sys.modules)
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that takes known labels in, with its graph."""
    torch.manual_seed(3)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet",
        id2label=LABELS,
        embedding_size=16,
        hidden_size=16,
        image_size=32,
        known_labels="state",
        cooccurrence=True,
        beam_width=3,
        thresholds=[0.3, 0.5, 0.4, 0.6],
    ).eval()
    folder = tmp_path_factory.mktemp("saved") / "model"
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(folder)
    CnnRnnOnnx.from_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    random = np.random.default_rng(0)
    colours = random.integers(0, 255, (5, 1, 1, 3)) + random.integers(-60, 60, (5, 40, 50, 3))
    return [Image.fromarray(one.clip(0, 255).astype(np.uint8)) for one in colours]


def by_torch(folder: Path) -> MultiLabelImageClassificationPipeline:
    loaded = SavedModel.load(folder)
    return MultiLabelImageClassificationPipeline(model=loaded.model, image_processor=loaded.processor, device="cpu")


def plain(found: Any) -> Any:
    """Rows with their scores rounded to 1e-4 apart, labels as they are."""
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    return (
        pytest.approx(found, abs=1e-4)
        if isinstance(found, float)
        else [plain(one) for one in found]
        if isinstance(found, list)
        else found
    )


ASKED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "threshold": {"threshold": 0.1},
    "top and path": {"top_k": 2, "return_path": True},
    "by name": {"threshold": {"red": 0.9}},
    "expected f1": {"decision": "expected_f1"},
    "the path's labels": {"decision": "path", "return_path": True},
    "known": {"known": {"red": True, "blue": False}, "return_path": True, "threshold": 0.0},
    "a question": {"known": {"red": True}, "ask": True},
    "another width": {"beam_width": 1, "return_path": True, "threshold": 0.0},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_the_rows_are_those_of_torch(saved: Path, photos: list[Image.Image], asked: dict[str, Any]) -> None:
    classify = CnnRnnOnnx.from_pretrained(saved)
    expected = by_torch(saved)(photos, **asked)
    assert classify(photos, **asked) == plain(expected)
    assert classify(photos, batch_size=2, **asked) == plain(expected)
    assert classify(photos[0], **asked) == plain(expected[0])
    assert CnnRnnOnnx.from_pretrained(saved, **asked)(photos) == plain(expected)


def test_inputs_are_those_of_the_pipeline(saved: Path, photos: list[Image.Image], tmp_path: Path) -> None:
    classify = CnnRnnOnnx.from_pretrained(saved, top_k=4)
    expected = [plain(one) for one in classify(photos)]
    photos[0].save(tmp_path / "0.png")
    assert classify(tmp_path / "0.png") == classify(str(tmp_path / "0.png")) == expected[0]
    assert classify((tmp_path / "0.png").read_bytes()) == classify(np.array(photos[0])) == expected[0]
    assert classify(torch.from_numpy(np.array(photos[0])).movedim(-1, 0)) == expected[0]
    assert classify(np.stack([np.array(photo) for photo in photos])) == classify(tuple(photos)) == expected
    with (tmp_path / "0.png").open("rb") as file:
        assert classify(file) == expected[0]
    stream = classify(iter(photos))
    assert isinstance(stream, Iterator)
    assert next(stream) == expected[0]
    assert list(stream) == expected[1:]
    assert classify([]) == []
    with pytest.raises(ValueError, match="is no readable image"):
        classify("none.png")


def test_wrong_arguments_are_refused_as_the_pipeline_refuses_them(saved: Path, photos: list[Image.Image]) -> None:
    classify, plainly = CnnRnnOnnx.from_pretrained(saved), by_torch(saved)
    for wrong in (
        *({"top_k": 0}, {"threshold": 1.5}, {"known": {"pink": True}}, {"decision": "none"}),
        *({"ask": "no"}, {"return_path": 0}, {"timeout": -1}),
    ):
        told = []
        for pipeline in (classify, plainly):
            with pytest.raises(ValueError, match=r"\w") as refused:
                pipeline(photos[0], **wrong)
            told.append(str(refused.value))
        assert told[0] == told[1]
    with pytest.raises(ValueError, match="threshold is a probability"):
        CnnRnnOnnx.from_pretrained(saved, threshold=2.0)
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
            classify(photos, batch_size=size)
        with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
            CnnRnnOnnx.from_pretrained(saved, batch_size=size)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"treshold": 0.3}, "there is no argument 'treshold'; did you mean threshold?"),
        ({"bach_size": 2}, "did you mean batch_size?"),
        ({"zzz": 1}, "there are timeout, known, beam_width, threshold, top_k, return_path, decision, ask, batch_size"),
        ({"answers": 1}, "there is no argument 'answers'"),
    ],
)
def test_an_argument_that_there_is_not_is_asked_about(
    arguments: dict[str, Any], told: str, saved: Path, photos: list[Image.Image]
) -> None:
    for call in (partial(CnnRnnOnnx.from_pretrained(saved), photos[0]), partial(CnnRnnOnnx.from_pretrained, saved)):
        with pytest.raises(TypeError) as raised:
            call(**arguments)
        assert told in str(raised.value)
    with pytest.raises(TypeError, match=r"did you mean threads\?"):
        CnnRnnOnnx.from_pretrained("nowhere", thread=2)  # told before anything is loaded


def test_answers_that_no_path_or_rule_takes_are_refused_by_whichever_engine(
    saved: Path, photos: list[Image.Image], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = {"implies": {"red": "green"}, "excludes": [["green", "blue"]]}
    model = SavedModel.load(saved).model
    model.config.update({"label_rules": rules, "max_path_length": 2})
    MultiLabelImageClassificationPipeline(
        CnnRnnForImageClassification(model.config).eval(), image_processor=SavedModel.load(saved).processor
    ).save_pretrained(tmp_path)
    for _ in range(2):
        CnnRnnOnnx.from_pretrained(tmp_path)
    assert caplog.text.count(f"{tmp_path} is exported to onnxruntime, once") == 1
    known = tmp_path / "known.jsonl"
    for answers, message in (
        ({"red": True, "green": False}, "contradict label_rules, by which 'red' would be there and not be there"),
        ({"red": True, "yellow": True}, "3 labels are confirmed, but a path holds at most 2"),
    ):
        for classify in (CnnRnnOnnx.from_pretrained(tmp_path), by_torch(tmp_path)):
            with pytest.raises(ValueError, match=message):
                classify(photos[0], known=answers)
        known.write_text(json.dumps({"image_id": "1.png", "known": answers}))
        with pytest.raises(ValueError, match=rf"known\.jsonl, line 1: .*{message}"):
            read_answers(known, ["1.png"], LABELS, CnnRnnOnnx.from_pretrained(tmp_path).answers.known)


def test_a_copy_answers_alike(saved: Path, photos: list[Image.Image]) -> None:
    classify = CnnRnnOnnx.from_pretrained(saved, threshold=0.1, return_path=True, batch_size=2, threads=1)
    unpickled = pickle.loads(pickle.dumps(classify))  # noqa: S301
    for copied in (unpickled, copy.deepcopy(classify)):
        assert copied(photos) == classify(photos)
        assert (copied.batch_size, copied.model.threads) == (2, 1)


def test_what_a_graph_takes_no_known_labels_for_is_done_by_torch(
    saved: Path, photos: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = CnnRnnOnnx.from_pretrained(saved)
    monkeypatch.setattr(classify.model, "takes_known", False)
    asked: dict[str, Any] = {"known": {"red": True}, "return_path": True}
    assert classify(photos[0], **asked) == plain(by_torch(saved)(photos[0], **asked))


def test_the_graph_is_made_once_and_holds_no_weights(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_making, "weightless_graph", None)
    CnnRnnOnnx.from_pretrained(saved)
    (graph,) = (saved / FOLDER).iterdir()
    assert graph.stat().st_size < 0.2 * (saved / "model.safetensors").stat().st_size


def test_other_weights_or_settings_have_no_graph(saved: Path, tmp_path: Path) -> None:
    for name, change in (("config.json", {"beam_width": 2}), ("preprocessor_config.json", {"resample": 2})):
        folder = shutil.copytree(saved, tmp_path / name)
        assert GraphModel.find(folder) is not None
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(settings | change))
        assert GraphModel.find(folder) is None
    folder = shutil.copytree(saved, tmp_path / "weights")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert GraphModel.find(folder) is None


def test_a_planted_graph_is_not_run_and_that_is_told(
    saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (path,) = (folder / FOLDER).iterdir()
    path.write_bytes(path.read_bytes() + b"\0")
    assert GraphModel.find(folder) is None
    assert "was not written by this user" in caplog.text


def test_steps_that_numpy_does_not_take_stay_with_torch(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_center_crop": False}))
    with pytest.raises(UnfitGraphError, match=r"other steps \(do_center_crop\) is done by torch alone"):
        CnnRnnOnnx.from_pretrained(folder)


def test_a_job_is_known_by_the_same_words_whoever_runs_it(saved: Path) -> None:
    loaded = SavedModel.load(saved)
    graph = GraphModel.find(saved)
    assert graph is not None
    by_graph = Provenance.of_graph(graph, stored_weights(saved / WEIGHTS))
    assert by_graph == Provenance.of_model(loaded.model, loaded.processor)


def test_the_model_in_the_box_has_its_graph_wherever_it_is_copied(tmp_path: Path, photos: list[Image.Image]) -> None:
    folder = tmp_path / "box"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.copy(bundled_model() / name, folder)
    assert GraphModel.find(folder) is not None, "make it anew: python scripts/bundled/make_graph.py"
    asked: dict[str, Any] = {"known": {"dog": True, "cat": False}, "return_path": True, "threshold": 0.05}
    photo = Image.open(bundled_model() / "example.jpg")
    for images, question in ((photos[:2], {"return_path": True, "top_k": 5}), (photo, asked)):
        assert CnnRnnOnnx.from_pretrained(folder)(images, **question) == plain(by_torch(folder)(images, **question))


def test_neither_torch_nor_transformers_is_loaded(tmp_path: Path) -> None:
    arguments = [str(bundled_model()), str(bundled_model() / "example.jpg"), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "example.jpg: cat 1.00" in done.stdout
    assert (tmp_path / "out" / "labels.parquet").is_file()


def test_what_needs_torch_says_so_where_there_is_none(saved: Path, photos: list[Image.Image]) -> None:
    by_graph = CnnRnnOnnx.from_pretrained(saved)
    pixels = by_graph.prepare(photos[0])[None]
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "cnn_rnn.prediction.graph_making")
        patch.setitem(sys.modules, "torch", None)
        for asked, named in (({"beam_width": 2}, "another beam_width"), ({"sets": True}, "decision='set'")):
            with pytest.raises(ImportError, match=f"{named} is not in a graph, but in torch: pip install torch"):
                by_graph.forward(pixels, None, **asked)
    assert by_graph.forward(pixels, None, beam_width=2)["logits"].shape == (1, 4)


def test_a_graph_that_is_no_longer_the_models_is_not_run_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(bundled_model(), tmp_path / "box"))
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"resample": 2}))
    assert GraphModel.find(folder) is None
    assert len(caplog.records) == 1
    assert "it is not run; install the package again" in caplog.text


def test_a_graph_and_torch_see_the_same_features_given_what_is_known_too(
    saved: Path, photos: list[Image.Image]
) -> None:
    by_graph, torch_pipeline = CnnRnnOnnx.from_pretrained(saved), TorchLabeller(by_torch(saved))
    pixels = np.stack([by_graph.prepare(photo) for photo in photos])
    for known in (np.zeros((len(photos), 4), np.int64), np.eye(len(photos), 4, dtype=np.int64)):
        for found, expected in zip(by_graph.look(pixels, known), torch_pipeline.look(pixels, known), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)
