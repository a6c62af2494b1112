"""The exported backbone beside PyTorch's, whole predictions each time, and the copy in 8 bits beside the whole one."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from photos import write_photos
from predict_section import LABELS, LITE, MANY_PHOTOS, RESNET, SIDE, bulk_command, compared
from row import Row
from turns import Turns
from walking_models import varied_images, walking_model

from cnn_rnn import CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.onnx_engine import use_onnxruntime
from cnn_rnn.publishing.onnx_graph import OnnxModel, export_onnx, quantize_onnx

TURNS = {1: 15, 32: 4}
CALIBRATION = 64
LIMITS = {LITE: "<= 0.5", RESNET: "<= 0.9"}


def measure(workspace: Path) -> list[Row]:
    """All figures of this section."""
    return [row for backbone in (LITE, RESNET) for row in measure_backbone(workspace / backbone, backbone)]


def measure_backbone(workspace: Path, backbone: str) -> Iterator[Row]:
    """One backbone: engines, the whole graph and, of the light one, its copy in 8 bits and bulk prediction."""
    model = walking_model(backbone, LABELS, image_size=SIDE)
    processor = CnnRnnImageProcessor.from_config(model.config)
    folder = workspace / "model"
    MultiLabelImageClassificationPipeline(model=model, image_processor=processor).save_pretrained(folder)
    exported = SavedModel.load(folder).model
    use_onnxruntime(exported, str(folder))
    graph = export_onnx(model, workspace / "whole.onnx")
    ways: dict[str, Any] = {"torch": model.generate, "onnx": exported.generate, "whole graph": OnnxModel(graph)}
    light = backbone == LITE
    if light:
        small = quantize_onnx(graph, workspace / "int8.onnx", varied_images(CALIBRATION, SIDE))
        ways["int8"] = OnnxModel(small)
    short = "lite0" if light else backbone
    for batch, turns in TURNS.items():
        pixels = varied_images(batch, SIDE)
        with torch.inference_mode():
            times = Turns.take({name: partial(way, pixels) for name, way in ways.items()}, turns)
        what, unit = f"{backbone}, batch {batch}", "s; by torch"
        limit = LIMITS[backbone], f"onnx_over_torch_{short}_batch{batch}"
        yield compared(f"predict, onnxruntime, {what}", times["onnx"], times["torch"], unit, limit)
        yield compared(f"predict, the whole as one graph, {what}", times["whole graph"], times["torch"], unit)
        if light:
            limit = ("<= 0.6", "int8_over_float32") if batch == 1 else ("", "")
            yield compared(f"int8, {what}", times["int8"], times["whole graph"], "s; the float graph", limit)
    if light:
        sizes = [path.stat().st_size / 2**20 for path in (small, graph)]
        yield Row("size, int8", sizes[0], "MB; the float graph", sizes[1], "<= 0.35", "int8_over_float32_size")
        yield from measure_bulk(workspace, folder)


def measure_bulk(workspace: Path, model: Path) -> Iterator[Row]:
    """JPEG files to Parquet by both engines."""
    photos = workspace / "photos"
    write_photos(photos, MANY_PHOTOS)
    predict = bulk_command(model, photos, Path(tempfile.mkdtemp(dir=workspace)))
    engines = {name: partial(predict, "--engine", name) for name in ("torch", "onnx")}
    starts = {f"{name}, one image": partial(way, "--limit", "1") for name, way in engines.items()}
    times = Turns.take(engines | starts, turns=3)
    ours, plain = (times[name].less(times[f"{name}, one image"].least) for name in ("onnx", "torch"))
    what = f"JPEG files to Parquet, {MANY_PHOTOS} photos, lite0, onnxruntime"
    yield compared(what, ours, plain, "s beyond the start; by torch", ("<= 0.6", "bulk_onnx_over_torch"))
