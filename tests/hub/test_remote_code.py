"""A saved folder where the package is not installed: its own copy of the code must do all that the package does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands_by_name import WITHOUT_PACKAGE
from transformers import pipeline

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.pipeline_cnn_rnn import TASK

LABELS = ["cat", "dog", "bird", "car", "tree"]

# Runs in another process. Its arguments: the folder, a photo, a folder to save to, the file for its results.
ELSEWHERE = (
    WITHOUT_PACKAGE
    + """
import json
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline

folder, photo, again, results = sys.argv[1:]

def run(folder):
    remote = {"trust_remote_code": True}
    config = AutoConfig.from_pretrained(folder, **remote)
    processor = AutoImageProcessor.from_pretrained(folder, **remote)
    pixel_values = processor(Image.open(photo), return_tensors="pt")["pixel_values"]
    found = {"config": config.to_dict(), "pixel_values": pixel_values.double().mean().item()}
    for auto in (AutoModel, AutoModelForImageClassification):
        model = auto.from_pretrained(folder, **remote)
        with torch.no_grad():
            output = model(pixel_values)
            found[auto.__name__] = output.logits[0].tolist()
            found["features"] = output.pooler_output[0].tolist()
            found["places"] = list(output.last_hidden_state.shape)
        known = torch.tensor([[1, -1, 0, 0, 0]])
        found["generate"] = model.generate(pixel_values, known_labels=known).label_scores[0].tolist()
    for task in ("image-classification", "multi-label-image-classification"):
        loaded = pipeline(task, model=folder, **remote)
        found[task] = loaded(photo, top_k=5)
    found["path"] = loaded(photo, return_path=True)
    found["modules"] = sorted({type(part).__module__.partition(".")[0] for part in (config, processor, model, loaded)})
    return found, loaded

first, loaded = run(folder)
loaded.save_pretrained(again)
second, _ = run(again)
# Tuned, and saved by its parts as a Trainer saves them.
model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
model.save_pretrained(again + "-by-parts")
AutoImageProcessor.from_pretrained(folder, trust_remote_code=True).save_pretrained(again + "-by-parts")
third, _ = run(again + "-by-parts")
torch.save(model, again + ".pt")
pickled = torch.load(again + ".pt", weights_only=False)
other = AutoModel.from_pretrained(folder, trust_remote_code=True)
of_class = {
    "bases": [base.__name__ for base in type(model).__mro__],
    "same class": type(model) is type(other) is type(pickled),
    "generates text": model.can_generate(),
}
with open(results, "w") as file:
    json.dump([first, second, third, of_class], file)
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model saved by its pipeline, and a photo beside it."""
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet",
        id2label=LABELS,
        label_counts=[5, 4, 3, 2, 1],
        embedding_size=16,
        hidden_size=16,
        cell="relu_lstm",
    )
    target = tmp_path_factory.mktemp("saved") / "model"
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(target)
    noise = np.random.default_rng(0).integers(0, 255, (120, 170, 3), dtype=np.uint8)
    Image.fromarray(noise).save(target.parent / "photo.png")
    return target


@pytest.fixture(scope="module")
def elsewhere(folder: Path) -> list[dict[str, Any]]:
    """What a process without the package finds in the folder, and in the one that it saved itself."""
    place = folder.parent
    script, results = place / "elsewhere.py", place / "results.json"
    script.write_text(ELSEWHERE)
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_MODULES_CACHE")}
    subprocess.run(
        [sys.executable, script, folder, place / "photo.png", place / "again", results],
        env=kept | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"},
        cwd=place,
        stdin=subprocess.DEVNULL,  # a question to a person would fail
        check=True,
        timeout=300,
    )
    found: list[dict[str, Any]] = json.loads(results.read_text())
    return found


def by_label(result: list[dict[str, Any]]) -> dict[str, float]:
    return {item["label"]: item["score"] for item in result}


@pytest.mark.parametrize("which", [0, 1, 2], ids=["saved here", "saved again there", "saved there by its parts"])
def test_a_folder_does_the_same_without_the_package(which: int, folder: Path, elsewhere: list[dict[str, Any]]) -> None:
    found = elsewhere[which]
    assert found["modules"] == ["transformers_modules"]
    photo = str(folder.parent / "photo.png")
    own, stock = pipeline(TASK, model=str(folder)), pipeline("image-classification", model=str(folder))
    pixel_values = own.image_processor(Image.open(photo), return_tensors="pt")["pixel_values"]
    assert found["pixel_values"] == pytest.approx(pixel_values.double().mean().item(), abs=1e-6)
    with torch.no_grad():
        logits = own.model(pixel_values).logits[0].tolist()
    assert found["AutoModel"] == pytest.approx(logits, abs=1e-6)
    assert found["AutoModelForImageClassification"] == pytest.approx(logits, abs=1e-6)
    with torch.no_grad():
        image = own.model.get_image_features(pixel_values)
    assert found["features"] == pytest.approx(image.pooler_output[0].tolist(), abs=1e-6)
    assert found["places"] == list(image.last_hidden_state.shape)
    known = own.model.generate(pixel_values, known_labels=torch.tensor([[1, -1, 0, 0, 0]])).label_scores[0]
    assert found["generate"] == pytest.approx(known.tolist(), abs=1e-6)
    assert len(found[TASK]) == len(LABELS)
    assert by_label(found[TASK]) == pytest.approx(by_label(own(photo, top_k=5)), abs=1e-6)
    assert by_label(found["image-classification"]) == pytest.approx(by_label(stock(photo, top_k=5)), abs=1e-6)
    path = own(photo, return_path=True)
    assert found["path"]["path_score"] == pytest.approx(path["path_score"], abs=1e-6)
    assert by_label(found["path"]["path"]) == pytest.approx(by_label(path["path"]), abs=1e-6)


def test_the_config_is_the_same_here_and_there(folder: Path, elsewhere: list[dict[str, Any]]) -> None:
    here = pipeline(TASK, model=str(folder)).model.config.to_dict()
    for found in elsewhere[:3]:
        there = found["config"]
        assert {key: there[key] for key in here if key[0] != "_" and key != "id2label"} == {
            key: value for key, value in json.loads(json.dumps(here)).items() if key[0] != "_" and key != "id2label"
        }
        assert list(there["id2label"].values()) == LABELS


def test_what_was_saved_without_the_package_loads_with_it(folder: Path, elsewhere: list[dict[str, Any]]) -> None:
    assert elsewhere
    again = pipeline(TASK, model=str(folder.parent / "again"))
    assert type(again.model) is CnnRnnForImageClassification
    photo = str(folder.parent / "photo.png")
    assert again(photo, top_k=5) == pipeline(TASK, model=str(folder))(photo, top_k=5)


def test_the_class_is_the_same_there_and_no_generator_of_text(folder: Path, elsewhere: list[dict[str, Any]]) -> None:
    of_class = elsewhere[3]
    assert of_class["same class"]  # by both auto classes, and pickled and back
    assert not of_class["generates text"]
    assert [name for name in of_class["bases"] if "Generation" in name] == []
    for saved in folder.parent.glob("again*/"):
        assert not (saved / "generation_config.json").exists()


def test_a_folder_saved_by_its_parts_keeps_the_pipelines_file(folder: Path, elsewhere: list[dict[str, Any]]) -> None:
    assert elsewhere
    parts = folder.parent / "again-by-parts"
    assert "custom_pipelines" in json.loads((parts / "config.json").read_text())
    assert (parts / "pipeline_cnn_rnn.py").is_file()


def test_a_folder_holds_the_code_and_nothing_else(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    code = {name for name in names if name.endswith(".py")}
    assert names - code == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert code == {
        "backbone_weights.py",
        "beam_search.py",
        "closed_sets.py",
        "configuration_checks.py",
        "configuration_cnn_rnn.py",
        "cooccurrence.py",
        "decisions.py",
        "expected_f1.py",
        "fusion.py",
        "given_images.py",
        "image_backbone.py",
        "image_processing_cnn_rnn.py",
        "known_labels.py",
        "label_answers.py",
        "label_order.py",
        "label_paths.py",
        "label_rules.py",
        "losses.py",
        "model_outputs.py",
        "modeling_cnn_rnn.py",
        "nearest_names.py",
        "neighbours.py",
        "path_decoder.py",
        "photos_from_the_web.py",
        "pipeline_cnn_rnn.py",
        "pixel_values.py",
        "recurrent_layer.py",
        "relevance_head.py",
        "ruled_answers.py",
        "ruled_tensors.py",
        "timm_backed_model.py",
        "upright_rgb.py",
        "walk_states.py",
        "walking.py",
        "whole_sets.py",
    }
