"""A model that was published in bfloat16, in everything that a person does with one in float32."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands_by_name import main_of
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor
from cnn_rnn.data import TrainTransform, load_image_folder, prepare_examples


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model in bfloat16."""
    folder = tmp_path_factory.mktemp("half") / "model"
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet",
        id2label=["red", "green", "blue"],
        label_counts=[3, 2, 1],
        image_size=32,
        crop_pct=1.0,
        beam_width=2,
        max_path_length=1,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    CnnRnnImageProcessor.from_config(model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, a colour and a label each, as a split to measure on and to train on."""
    root = tmp_path_factory.mktemp("colours")
    for split in ("train", "test"):
        (root / split).mkdir()
        lines = []
        for number, colour in enumerate(["red", "green", "blue"] * 2):
            Image.new("RGB", (40, 40), colour).save(root / split / f"{number}.png")
            lines.append(json.dumps({"file_name": f"{number}.png", "labels": [colour]}))
        (root / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (root / "labels.json").write_text(json.dumps(["red", "green", "blue"]), encoding="utf-8")
    return root


def test_it_is_loaded_as_it_was_saved_and_the_snippet_of_the_readme_runs(halved: Path, photos: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(halved).eval()
    processor = AutoImageProcessor.from_pretrained(halved)
    assert model.dtype == torch.bfloat16
    known = torch.zeros(1, 3)
    known[0, model.config.label2id["green"]] = 1
    found = model.generate(**processor(Image.open(photos / "test/0.png"), return_tensors="pt"), known_labels=known)
    assert found.logits.isfinite().all()
    assert 1 in found.paths[0, 0]


def test_it_is_validated_and_reported(halved: Path, photos: Path, tmp_path: Path) -> None:
    data = ["--data.name", "image_folder", "--data.root", str(photos), "--data.split", "test"]
    quick = ["--num_workers", "0"]
    assert main_of("validate")([str(halved), *data, *quick, "--samples", "0", "--output", str(tmp_path / "v")]) == 0
    assert json.loads((tmp_path / "v" / "metrics.json").read_text())["counts"]["images"] == 6
    page = tmp_path / "report.html"
    assert main_of("report")([str(halved), *data, *quick, "--examples", "1", "--output", str(page)]) == 0
    assert 'class="card"' in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_is_exported(halved: Path, tmp_path: Path) -> None:
    assert main_of("export_onnx")([str(halved), "--output", str(tmp_path / "f.onnx")]) == 0
    assert (tmp_path / "f.onnx").stat().st_size > 0


def test_the_trainer_evaluates_in_half_precision(halved: Path, photos: Path, tmp_path: Path) -> None:
    model = CnnRnnForImageClassification.from_pretrained(halved)
    rows = load_image_folder(photos, split="test")
    examples = prepare_examples(rows, TrainTransform(CnnRnnImageProcessor.from_pretrained(halved)))
    arguments = TrainingArguments(
        str(tmp_path), bf16_full_eval=True, use_cpu=True, report_to=[], remove_unused_columns=False, disable_tqdm=True
    )
    figures = Trainer(model, arguments, eval_dataset=examples).evaluate()
    assert np.isfinite(figures["eval_loss"])
