"""The exported backbone beside PyTorch's, whole predictions each time, and the copy in 8 bits beside the whole one.

The floor is what the arithmetic and the weights of a whole prediction take at the machine's best speed in float32; of
the 8-bit copy a quarter of that, since its numbers are a quarter as large.
"""

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from floors import operations_of, seconds_at_least, weights_of
from photos import write_photos
from predict_section import LABELS, LITE, MANY_PHOTOS, RESNET, SIDE, bulk_command, compared, short_name
from row import Part, Row
from turns import Turns, seconds_of
from walking_models import varied_images, walking_model

from cnn_rnn import CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.onnx_engine import use_onnxruntime
from cnn_rnn.publishing.onnx_graph import OnnxModel, export_onnx, quantize_onnx

GRAPH_TURNS = {1: 25, 32: 5}
CALIBRATION_PHOTOS = 64
GRAPH_LIMITS = {LITE: "<= 0.5", RESNET: "<= 0.9"}


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    return {
        **{
            short_name(backbone): Part(
                partial(measure_engines, backbone=backbone),
                tuple(graph_key_of(backbone, batch) for batch in GRAPH_TURNS),
            )
            for backbone in (LITE, RESNET)
        },
        **{
            f"compiled-{short_name(backbone)}": Part(
                partial(measure_compiled, backbone=backbone), (f"onnx_over_compiled_{short_name(backbone)}",)
            )
            for backbone in (LITE, RESNET)
        },
        "int8": Part(measure_int8, ("int8_over_float32", "int8_over_float32_size")),
        "bulk": Part(measure_bulk_by_engines, ("bulk_onnx_over_torch",)),
    }


def graph_key_of(backbone: str, batch: int) -> str:
    """Key of what a prediction by onnxruntime takes beside one by torch."""
    return f"onnx_over_torch_{short_name(backbone)}_batch{batch}"


def measure_engines(workspace: Path, backbone: str) -> Iterator[Row]:
    """`generate` with the backbone in onnxruntime, and the whole graph, beside torch."""
    model = walking_model(backbone, LABELS, image_size=SIDE)
    exported = SavedModel.load(save(model, workspace)).model
    use_onnxruntime(exported, str(workspace / "model"))
    whole = OnnxModel(export_onnx(model, workspace / "whole.onnx"))
    ways: dict[str, Any] = {"torch": model.generate, "onnx": exported.generate, "whole graph": whole}
    for batch, turns in GRAPH_TURNS.items():
        pixels = varied_images(batch, SIDE)
        with torch.inference_mode():
            times = Turns.take({name: partial(way, pixels) for name, way in ways.items()}, turns)
            least = seconds_at_least(operations_of(partial(model.generate, pixels)), weights_of(model))
        what, unit, floor = f"{backbone}, batch {batch}", "s; by torch", least / times["torch"].least
        limit = GRAPH_LIMITS[backbone], graph_key_of(backbone, batch)
        yield compared(f"predict, onnxruntime, {what}", times["onnx"], times["torch"], unit, limit, floor=floor)
        graph = f"predict, the whole as one graph, {what}"
        yield compared(graph, times["whole graph"], times["torch"], unit, floor=floor)


def measure_compiled(workspace: Path, backbone: str) -> Iterator[Row]:
    """`generate` with the backbone in onnxruntime beside the one that torch.compile makes for the CPU."""
    model = walking_model(backbone, LABELS, image_size=SIDE)
    exported = SavedModel.load(save(model, workspace)).model
    use_onnxruntime(exported, str(workspace / "model"))
    for batch, turns in GRAPH_TURNS.items():
        pixels = varied_images(batch, SIDE)
        torch.compiler.reset()
        compiled = deepcopy(model)
        # The search stays as it is: it shares walk states and leaves early, which a compiled one cannot.
        compiled.backbone.compile(dynamic=False)
        with torch.inference_mode():
            start = seconds_of(partial(compiled.generate, pixels))
            ways = {"onnx": exported.generate, "compiled": compiled.generate, "torch": model.generate}
            times = Turns.take({name: partial(way, pixels) for name, way in ways.items()}, turns)
        what = f"{backbone}, batch {batch}"
        key = f"onnx_over_compiled_{short_name(backbone)}" if batch == 1 else ""
        yield compared(f"predict, onnxruntime, {what}", times["onnx"], times["compiled"], "s; torch.compile", ("", key))
        yield compared(f"predict, torch.compile, {what}", times["compiled"], times["torch"], "s; by torch")
        yield Row(f"to compile, {what}", start, "s")


def measure_int8(workspace: Path) -> Iterator[Row]:
    """The light backbone's whole graph in 8 bits beside the same in float32."""
    model = walking_model(LITE, LABELS, image_size=SIDE)
    graph = export_onnx(model, workspace / "whole.onnx")
    small = quantize_onnx(graph, workspace / "int8.onnx", varied_images(CALIBRATION_PHOTOS, SIDE))
    ways = {"float32": OnnxModel(graph), "int8": OnnxModel(small)}
    for batch, turns in GRAPH_TURNS.items():
        pixels = varied_images(batch, SIDE)
        with torch.inference_mode():
            times = Turns.take({name: partial(way, pixels) for name, way in ways.items()}, turns)
            least = seconds_at_least(operations_of(partial(model.generate, pixels)), weights_of(model)) / 4
        limit = ("<= 0.6", "int8_over_float32") if batch == 1 else ("", "")
        floor = least / times["float32"].least
        what, unit = f"int8, {LITE}, batch {batch}", "s; the float graph"
        yield compared(what, times["int8"], times["float32"], unit, limit, floor=floor)
    sizes = [path.stat().st_size / 2**20 for path in (small, graph)]
    limit = "<= 0.35", "int8_over_float32_size"
    yield Row(
        "size, int8", sizes[0], "MB; the float graph", sizes[1], *limit, floor=weights_of(model) / 2**22 / sizes[1]
    )


def measure_bulk_by_engines(workspace: Path) -> Iterator[Row]:
    """JPEG files to Parquet by both engines."""
    photos, model = workspace / "photos", save(walking_model(LITE, LABELS, image_size=SIDE), workspace)
    write_photos(photos, MANY_PHOTOS)
    predict = bulk_command(model, photos, Path(tempfile.mkdtemp(dir=workspace)))
    engines = {name: partial(predict, "--engine", name) for name in ("torch", "onnx")}
    starts = {f"{name}, one image": partial(way, "--limit", "1") for name, way in engines.items()}
    times = Turns.take(engines | starts, turns=3)
    ours, plain = (times[name].less(times[f"{name}, one image"].least) for name in ("onnx", "torch"))
    what = f"JPEG files to Parquet, {MANY_PHOTOS} photos, lite0, onnxruntime"
    yield compared(what, ours, plain, "s beyond the start; by torch", ("<= 0.6", "bulk_onnx_over_torch"))


def save(model: Any, workspace: Path) -> Path:
    """The folder of a model that is saved with its pipeline."""
    folder, processor = workspace / "model", CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model=model, image_processor=processor).save_pretrained(folder)
    return folder
