"""What a prediction costs beside the backbone that it cannot do without.

Both are measured in turns in one process, our model against timm's own forward in whichever layout of its tensors is
the faster. The floor is what the decoder cannot avoid: its arithmetic as a share of the backbone's.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import timm
import torch
from photos import write_photos
from PIL import Image
from row import Row
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from turns import Times, Turns
from walking_models import varied_images, walking_model

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline

RESNET, LITE = "resnet50", "tf_efficientnet_lite0"
SIDE, LABELS, PHOTOS, MANY_PHOTOS, PIPELINE_BATCH = 224, 80, 64, 256, 16
BATCHES = (1, 8, 32)
MANY_LABELS = (20, 1000, 10_000)
LIMITS = {(RESNET, 32): "<= 1.02", (LITE, 32): "<= 1.06", (RESNET, 1): "<= 1.08", (LITE, 1): "<= 1.3"}
SEARCH_LABELS, SEARCH_WIDTH, SEARCH_BATCH, SEARCHED_PLAINLY = 1000, 10, 64, 8
TURNS = {1: 25, 8: 7, 32: 5}


def measure(workspace: Path) -> list[Row]:
    """All figures of this section."""
    with torch.inference_mode():
        rows = [*measure_backbones(), *measure_searches()]
        if torch.cuda.is_available():
            rows += measure_on_a_gpu()
    return [*rows, *measure_files(workspace)]


def measure_backbones() -> Iterator[Row]:
    """`generate` against the backbone's own forward; with more labels, and with walks that never end."""
    for backbone in (RESNET, LITE):
        plain = timm.create_model(backbone, num_classes=0).eval()
        models = {f"{LABELS} labels": walking_model(backbone, LABELS, image_size=SIDE)}
        if backbone == LITE:
            models["never ends"] = walking_model(backbone, LABELS, ends=False, image_size=SIDE)
        else:
            models |= {f"{number} labels": walking_model(backbone, number, image_size=SIDE) for number in MANY_LABELS}
        for batch in BATCHES:
            yield from _measure_batch(backbone, plain, models, batch)


def _measure_batch(
    backbone: str, plain: Any, models: dict[str, CnnRnnForImageClassification], batch: int
) -> Iterator[Row]:
    """The first of the models beside timm's own, and the further ones beside the first at the largest batch."""
    model, *_ = models.values()
    pixels = varied_images(batch, SIDE)
    ways: dict[str, Callable[[], object]] = {
        "timm": partial(plain, pixels),
        "timm, channels last": partial(plain, pixels.contiguous(memory_format=torch.channels_last)),
        "forward": lambda: model(pixels),
    }
    compared_models = models if batch == max(BATCHES) else dict(list(models.items())[:1])
    times = Turns.take(
        ways | {name: partial(each.generate, pixels) for name, each in compared_models.items()}, TURNS[batch]
    )
    alone = min((times["timm"], times["timm, channels last"]), key=lambda each: each.least)
    own = times[next(iter(models))]
    what, unit = f"{backbone}, batch {batch}", "s; timm's forward alone"
    floor = f"{unit}; floor {1 + _share(model, plain, pixels):.4f} by arithmetic"
    short = "lite0" if backbone == LITE else backbone
    key = f"predict_{'' if batch == max(BATCHES) else f'batch{batch}_'}over_backbone_{short}"
    yield compared(f"generate, {what}", own, alone, floor, (LIMITS.get((backbone, batch), ""), key))
    yield compared(f"forward, {what}", times["forward"], alone, unit)
    for name in list(compared_models)[1:]:
        if name == "never ends":
            limit = "<= 1.2", "never_ending_over_ending"
            walks = f"walks of {model.config.max_path_length} labels, {what}"
            yield compared(walks, times[name], own, "s; walks that end", limit)
        else:
            limit = "<= 1.1" if name == "10000 labels" else "", f"labels_{name.split()[0]}_over_{LABELS}"
            yield compared(f"{name}, {what}", times[name], own, f"s; {LABELS} labels", limit)


def _share(model: CnnRnnForImageClassification, plain: Any, pixels: Tensor) -> float:
    """Arithmetic of all that `generate` does beside the backbone, of the backbone's; walk states known already."""
    with FlopCounterMode(display=False) as whole:
        model.generate(pixels)
    with FlopCounterMode(display=False) as alone:
        plain(pixels)
    return whole.get_total_flops() / alone.get_total_flops() - 1


def compared(what: str, ours: Times, reference: Times, unit: str, limit: tuple[str, str] = ("", "")) -> Row:
    """The best turns of both, and the ratio of the median ones; `limit` is what is wanted, and its key."""
    return Row(what, ours.least, unit, reference.least, *limit, ours.median / reference.median)


def measure_searches() -> Iterator[Row]:
    """The search for many images at once against a plain one, written as one would, for one image at a time."""
    model = walking_model("test_resnet", SEARCH_LABELS, image_size=64, beam_width=SEARCH_WIDTH)
    features = model.encode_images(varied_images(SEARCH_BATCH, 64))
    some = features[:SEARCHED_PLAINLY]
    times = Turns.take(
        {
            "ours": lambda: model.generate(image_features=features),
            "one image at a time": lambda: [plain_search(model, row[None], SEARCH_WIDTH) for row in some],
        },
        turns=3,
    )
    ours, plain = times.values()
    plain = Times([seconds * SEARCH_BATCH / SEARCHED_PLAINLY for seconds in plain.seconds])
    what = f"search, {SEARCH_LABELS} labels, {SEARCH_WIDTH} walks, batch {SEARCH_BATCH}"
    yield compared(what, ours, plain, "s; one image at a time", ("<= 0.02", "beam_over_reference"))


def plain_search(
    model: CnnRnnForImageClassification, features: Tensor, width: int
) -> list[tuple[float, tuple[int, ...]]]:
    """The best paths of one image, and their scores: every walk is scored by itself, from its first label on."""
    decoder, end = model.path_decoder, model.config.end_id
    assert decoder is not None
    image = decoder.embed_image(features)
    opened: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    closed: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(model.config.max_path_length + 1):
        extended = []
        for score, path in opened:
            logits = decoder(torch.tensor([[end + 1, *path]]), image)[0][0, -1]
            logits[list(path)] = -torch.inf
            steps = logits.log_softmax(dim=-1)
            best = steps.topk(min(2 * width, len(steps)))
            extended += [
                (score + value, (*path, label))
                for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            ]
        extended.sort(reverse=True)
        closed += [(score, path[:-1]) for score, path in extended[:width] if path[-1] == end]
        closed = sorted(closed, reverse=True)[:width]
        opened = [entry for entry in extended if entry[1][-1] != end][:width]
        if len(closed) == width and closed[-1][0] >= opened[0][0]:
            break
    return closed


def measure_on_a_gpu() -> Iterator[Row]:
    """`generate` in bfloat16 against the backbone's own forward."""
    plain = timm.create_model(RESNET, num_classes=0).eval().to("cuda", memory_format=torch.channels_last)
    model = walking_model(RESNET, LABELS, image_size=SIDE).to("cuda", memory_format=torch.channels_last)
    limits = {256: ("<= 1.03", "gpu_predict_over_backbone"), 1: ("<= 1.25", "gpu_predict_batch1_over_backbone")}
    for batch, limit in limits.items():
        pixels = varied_images(batch, SIDE).to("cuda", memory_format=torch.channels_last)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            times = Turns.take({"timm": partial(plain, pixels), "ours": partial(model.generate, pixels)}, 20, warm_up=3)
        what = f"generate, {RESNET}, batch {batch}, bf16, GPU"
        yield compared(what, times["ours"], times["timm"], "s; timm's forward alone", limit)


def measure_files(workspace: Path) -> Iterator[Row]:
    """From JPEG files: the pipeline, and the command for very many."""
    paths = write_photos(workspace / "photos", MANY_PHOTOS)
    model = walking_model(LITE, LABELS, image_size=SIDE)
    processor = CnnRnnImageProcessor.from_config(model.config)
    classify = MultiLabelImageClassificationPipeline(model=model, image_processor=processor)
    classify.save_pretrained(workspace / "model")
    plain = timm.create_model(LITE, num_classes=0).eval()

    def decode(some: list[str]) -> Tensor:
        pictures = [Image.open(path).convert("RGB") for path in some]
        pixels: Tensor = processor(images=pictures, return_tensors="pt")["pixel_values"]
        return pixels

    @torch.inference_mode()
    def look(pixels: Tensor) -> object:
        return plain(pixels.contiguous(memory_format=torch.channels_last))

    parts = [paths[start : start + PIPELINE_BATCH] for start in range(0, PHOTOS, PIPELINE_BATCH)]
    prepared = [decode(part) for part in parts]
    predict = bulk_command(workspace / "model", workspace / "photos", workspace)
    times = Turns.take(
        {
            "pipeline": lambda: classify(paths[:PHOTOS], batch_size=PIPELINE_BATCH),
            "decode, resize and backbone": lambda: [look(decode(part)) for part in parts],
            "decode and resize": lambda: [decode(part) for part in parts],
            "backbone": lambda: [look(pixels) for pixels in prepared],
            "bulk": predict,
            "bulk, one image": lambda: predict("--limit", "1"),
        },
        turns=3,
    )
    plainly = times["decode, resize and backbone"]
    what = f"pipeline, {PHOTOS} photos, batch {PIPELINE_BATCH}, lite0"
    unit = "s; decode, resize and backbone, one after the other"
    yield compared(what, times["pipeline"], plainly, unit, ("<= 1.1", "pipeline_over_backbone"))
    start = times["bulk, one image"].least
    bulk = times["bulk"].less(start)
    slower = max((times["decode and resize"], times["backbone"]), key=lambda each: each.least)
    slower = Times([seconds * MANY_PHOTOS / PHOTOS for seconds in slower.seconds])
    unit = f"s beyond a start of {start:.2g} s; the slower of decoding and backbone"
    what = f"JPEG files to Parquet, {MANY_PHOTOS} photos, lite0"
    yield compared(what, bulk, slower, unit, ("<= 1.15", "bulk_over_backbone"))


def bulk_command(model: Path, photos: Path, workspace: Path) -> Callable[..., None]:
    """`cnn-rnn predict` over a folder, each time into a new one; it takes further arguments."""
    from cnn_rnn.commands.predict import main

    numbers = itertools.count()

    def predict(*more: str) -> None:
        output = workspace / f"predicted-{next(numbers)}"
        arguments = ["--model", str(model), "--input", str(photos), "--output", str(output)]
        with redirect_stdout(StringIO()) as told:
            code = main([*arguments, "--batch_size", str(PIPELINE_BATCH), *more])
        if code:
            sys.exit(told.getvalue())

    return predict
