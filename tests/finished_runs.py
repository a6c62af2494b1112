"""Folders as a run and its measurement leave them, the parts that must stay at home among them."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.metrics import MultiLabelMetrics

LABELS = ["nought", "one", "two|three", "<b>four</b>"]
NAME = "org/cnn-rnn-digits"
ENDPOINT = {"handler.py", "requirements.txt"}
PUBLISHED = {
    *("README.md", "config.json", "metrics.json", "model.safetensors", "preprocessor_config.json", "run_config.yaml"),
    *(
        "beam_search.py",
        *("configuration_checks.py", "nearest_names.py", "timm_backed_model.py"),
        "configuration_cnn_rnn.py",
        "image_backbone.py",
        "image_processing_cnn_rnn.py",
    ),
    *("label_paths.py", "losses.py", "model_outputs.py", "modeling_cnn_rnn.py", "path_decoder.py"),
    *("photos_from_the_web.py", "pipeline_cnn_rnn.py", "relevance_head.py"),
    *("cooccurrence.py", "decisions.py", "known_labels.py", "neighbours.py", "walk_states.py"),
    *("fusion.py", "recurrent_layer.py", "walking.py"),
    *ENDPOINT,
    *(
        "backbone_weights.py",
        "closed_sets.py",
        "given_images.py",
        "label_rules.py",
        "ruled_answers.py",
        "ruled_tensors.py",
        "whole_sets.py",
    ),
    *("expected_f1.py", "label_answers.py", "label_order.py", "pixel_values.py", "upright_rgb.py"),
}


def write_run(folder: Path, **changes: Any) -> Path:
    """A folder as a run leaves it, the parts that must stay at home among them."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32, "thresholds": [0.5] * 4}
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=LABELS, label_counts=[40, 30, 2, 1], **(fields | changes)
    )
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(folder)
    run = {
        "model": {"backbone": "test_resnet", "weights": "/somebody/weights.pth"},
        "data": {
            "name": "digits",
            "root": "/somebody/photos",
            "train_split": "train",
            "validation_split": None,
            "validation_fraction": 0.1,
        },
        "train": {"output_dir": "/somebody/runs/digits", "epochs": 3, "feature_cache": "/somebody/cache"},
        "hub": {"repo": None, "private": False, "license": "apache-2.0"},
    }
    (folder / "run_config.yaml").write_text(yaml.safe_dump(run))
    (folder / "checkpoints").mkdir()
    for stray in ("checkpoints/random_states_0.pkl", "pytorch_model.bin", "predictions.parquet", "secret.py", ".env"):
        (folder / stray).write_bytes(b"stays at home")
    return folder


def write_metrics(path: Path, **changes: Any) -> Path:
    """Figures as cnn-rnn validate writes them."""
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.rand(40, 4, generator=generator), torch.rand(40, 4, generator=generator) > 0.5
    metrics = MultiLabelMetrics(LABELS)
    metrics.update(scores, targets, paths=scores > 0.6)
    figures = metrics.compute() | {
        "model": "/somebody",
        "data": "digits",
        "split": "test",
        "unreadable_images": {},
    }
    path.write_text(json.dumps(figures | {"unreadable_images": {}} | changes), encoding="utf-8")
    return path
