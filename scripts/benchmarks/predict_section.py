"""What a prediction costs beside the backbone that it cannot do without.

Both are measured in turns in one process, our model against timm's own forward in whichever layout of its tensors is
the faster. The floor is the backbone's time and what the decoder's arithmetic and weights cannot avoid.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from copy import deepcopy
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import timm
import torch
from floors import operations_of, seconds_at_least, weights_of
from photos import write_photos
from PIL import Image
from row import Part, Row
from torch import Tensor
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


def measure_backbone(_: Path, backbone: str, batch: int) -> Iterator[Row]:
    """`generate` and `forward` against the backbone's own forward."""
    plain = timm.create_model(backbone, num_classes=0).eval()
    model = walking_model(backbone, LABELS, image_size=SIDE)
    innermost = deepcopy(plain).to(memory_format=torch.channels_last)
    pixels = varied_images(batch, SIDE)
    with torch.inference_mode():
        times = Turns.take(
            {
                "timm": partial(plain, pixels),
                "timm, channels last": partial(innermost, pixels.contiguous(memory_format=torch.channels_last)),
                "generate": partial(model.generate, pixels),
                "forward": lambda: model(pixels),
            },
            TURNS[batch],
        )
        model.generate(pixels)  # its walk states are known by now
        beside = operations_of(partial(model.generate, pixels)) - operations_of(partial(plain, pixels))
    alone = min((times["timm"], times["timm, channels last"]), key=lambda each: each.least)
    least = seconds_at_least(beside, weights_of(model.path_decoder) + weights_of(model.relevance_head))
    floor = 1 + least / alone.least
    what, unit = f"{backbone}, batch {batch}", "s; timm's forward alone"
    limit = LIMITS.get((backbone, batch), ""), key_of(backbone, batch)
    yield compared(f"generate, {what}", times["generate"], alone, unit, limit, floor=floor)
    yield compared(f"forward, {what}", times["forward"], alone, unit, floor=floor)


def key_of(backbone: str, batch: int) -> str:
    """Key of what `generate` costs over the backbone."""
    part = "" if batch == max(BATCHES) else f"batch{batch}_"
    return f"predict_{part}over_backbone_{short_name(backbone)}"


def short_name(backbone: str) -> str:
    """The backbone's name in keys."""
    return "lite0" if backbone == LITE else backbone


def measure_labels() -> Iterator[Row]:
    """Fewer labels and many more, beside `LABELS`."""
    models = {number: walking_model(RESNET, number, image_size=SIDE) for number in (LABELS, *MANY_LABELS)}
    limits = {max(MANY_LABELS): "<= 1.1"}
    for number, (times, floor) in measure_models(models, LABELS).items():
        what = f"{number:,} labels, {RESNET}, batch {max(BATCHES)}"
        limit = limits.get(number, ""), f"labels_{number}_over_{LABELS}"
        yield compared(what, *times, f"s; {LABELS} labels", limit, floor=floor)


def measure_never_ending() -> Iterator[Row]:
    """A decoder whose walks go on to the most labels, beside one that ends."""
    models = {ends: walking_model(LITE, LABELS, ends=ends, image_size=SIDE) for ends in (True, False)}
    longest = models[True].config.max_path_length
    for times, floor in measure_models(models, reference=True).values():
        what = f"walks of {longest} labels, {LITE}, batch {max(BATCHES)}"
        yield compared(what, *times, "s; walks that end", ("<= 1.2", "never_ending_over_ending"), floor=floor)


def measure_models(
    models: Mapping[Any, CnnRnnForImageClassification], reference: Any
) -> dict[Any, tuple[tuple[Times, Times], float]]:
    """For each model but the reference the times of both, and the least ratio that there can be."""
    pixels = varied_images(max(BATCHES), SIDE)
    ways = {str(name): partial(model.generate, pixels) for name, model in models.items()}
    with torch.inference_mode():
        times = Turns.take(ways, TURNS[max(BATCHES)])
        operations = {name: operations_of(way) for name, way in ways.items()}
    plain = str(reference)
    found = {}
    for name, model in models.items():
        if name != reference:
            beside = max(0.0, operations[str(name)] - operations[plain])
            moved = max(0.0, weights_of(model) - weights_of(models[reference]))
            floor = 1 + seconds_at_least(beside, moved) / times[plain].least
            found[name] = (times[str(name)], times[plain]), floor
    return found


def compared(
    what: str,
    ours: Times,
    reference: Times,
    unit: str,
    limit: tuple[str, str] = ("", ""),
    *,
    floor: float | None = None,
) -> Row:
    """The best turns of both, and the ratio of the median ones; `limit` is what is wanted, and its key."""
    return Row(what, ours.least, unit, reference.least, *limit, ours.median / reference.median, floor)


def measure_searches() -> Iterator[Row]:
    """The search for many images at once against a plain one, written as one would, for one image at a time."""
    model = walking_model("test_resnet", SEARCH_LABELS, image_size=64, beam_width=SEARCH_WIDTH)
    with torch.inference_mode():
        features = model.encode_images(varied_images(SEARCH_BATCH, 64))
    some = features[:SEARCHED_PLAINLY]
    search = partial(model.generate, image_features=features)
    with torch.inference_mode():
        times = Turns.take(
            {
                "ours": search,
                "one image at a time": lambda: [plain_search(model, row[None], SEARCH_WIDTH) for row in some],
            },
            turns=3,
        )
        least = seconds_at_least(operations_of(search), weights_of(model.path_decoder))
    ours, plain = times.values()
    plain = Times([seconds * SEARCH_BATCH / SEARCHED_PLAINLY for seconds in plain.seconds])
    what = f"search, {SEARCH_LABELS} labels, {SEARCH_WIDTH} walks, batch {SEARCH_BATCH}"
    limit = "<= 0.02", "beam_over_reference"
    yield compared(what, ours, plain, "s; one image at a time", limit, floor=least / plain.least)


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
    """`generate` in bfloat16 against the backbone's own forward; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return
    plain = timm.create_model(RESNET, num_classes=0).eval().to("cuda", memory_format=torch.channels_last)
    model = walking_model(RESNET, LABELS, image_size=SIDE).to("cuda", memory_format=torch.channels_last)
    limits = {256: ("<= 1.03", "gpu_predict_over_backbone"), 1: ("<= 1.25", "gpu_predict_batch1_over_backbone")}
    for batch, limit in limits.items():
        pixels = varied_images(batch, SIDE).to("cuda", memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
            times = Turns.take({"timm": partial(plain, pixels), "ours": partial(model.generate, pixels)}, 20, warm_up=3)
        what = f"generate, {RESNET}, batch {batch}, bf16, GPU"
        yield compared(what, times["ours"], times["timm"], "s; timm's forward alone", limit)


def measure_pipeline(workspace: Path) -> Iterator[Row]:
    """The pipeline over files, against the same steps written out."""
    files = PhotoFiles(workspace, PHOTOS)
    times = Turns.take(
        {
            "pipeline": lambda: files.classify(files.paths, batch_size=PIPELINE_BATCH),
            "decode, resize and backbone": lambda: [files.look(files.decode(part)) for part in files.parts],
            "decode and resize": lambda: [files.decode(part) for part in files.parts],
            "backbone": lambda: [files.look(pixels) for pixels in files.prepared],
        },
        turns=5,
    )
    plainly = times["decode, resize and backbone"]
    what = f"pipeline, {PHOTOS} photos, batch {PIPELINE_BATCH}, lite0"
    unit = "s; decode, resize and backbone, one after the other"
    floor = files.floor(times) / plainly.least
    yield compared(what, times["pipeline"], plainly, unit, ("<= 1.1", "pipeline_over_backbone"), floor=floor)


def measure_bulk(workspace: Path) -> Iterator[Row]:
    """The command for very many files, by torch, against the slower of its two stages."""
    files = PhotoFiles(workspace, MANY_PHOTOS)
    predict = bulk_command(files.folder, workspace / "photos", workspace)
    times = Turns.take(
        {
            "bulk": partial(predict, "--engine", "torch"),
            "bulk, one image": partial(predict, "--engine", "torch", "--limit", "1"),
            "decode and resize": lambda: [files.decode(part) for part in files.parts],
            "backbone": lambda: [files.look(pixels) for pixels in files.prepared],
        },
        turns=3,
    )
    start = times["bulk, one image"].least
    bulk = times["bulk"].less(start)
    slower = max((times["decode and resize"], times["backbone"]), key=lambda each: each.least)
    unit = f"s beyond a start of {start:.2g} s; the slower of decoding and backbone"
    what = f"JPEG files to Parquet, {MANY_PHOTOS} photos, lite0, torch"
    floor = files.floor(times) / slower.least
    yield compared(what, bulk, slower, unit, ("<= 1.15", "bulk_over_backbone"), floor=floor)


class PhotoFiles:
    """Photos on the disk, a model saved beside them, and the plain steps from the ones to features by the other.

    Args:
        workspace: An empty folder.
        number: Of photos.
    """

    def __init__(self, workspace: Path, number: int) -> None:
        self.paths = write_photos(workspace / "photos", number)
        self.folder = workspace / "model"
        model = walking_model(LITE, LABELS, image_size=SIDE)
        self.processor = CnnRnnImageProcessor.from_config(model.config)
        self.classify = MultiLabelImageClassificationPipeline(model=model, image_processor=self.processor)
        self.classify.save_pretrained(self.folder)
        self.plain = timm.create_model(LITE, num_classes=0).eval().to(memory_format=torch.channels_last)
        self.parts = [self.paths[start : start + PIPELINE_BATCH] for start in range(0, number, PIPELINE_BATCH)]
        self.prepared = [self.decode(part) for part in self.parts]

    def decode(self, some: list[str]) -> Tensor:
        """Pixel values, by one thread."""
        pictures = [Image.open(path).convert("RGB") for path in some]
        pixels: Tensor = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        return pixels

    @torch.inference_mode()
    def look(self, pixels: Tensor) -> object:
        """Features, by all threads."""
        return self.plain(pixels.contiguous(memory_format=torch.channels_last))

    def floor(self, times: Mapping[str, Times]) -> float:
        """Seconds of both stages where every core always has work."""
        return times["decode and resize"].least / torch.get_num_threads() + times["backbone"].least


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


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    backbones = {
        f"{short_name(backbone)}-{batch}": Part(
            partial(measure_backbone, backbone=backbone, batch=batch), (key_of(backbone, batch),)
        )
        for backbone, batch in itertools.product((RESNET, LITE), BATCHES)
    }
    return backbones | {
        "labels": Part(lambda _: measure_labels(), tuple(f"labels_{number}_over_{LABELS}" for number in MANY_LABELS)),
        "never_ending": Part(lambda _: measure_never_ending(), ("never_ending_over_ending",)),
        "search": Part(lambda _: measure_searches(), ("beam_over_reference",)),
        "pipeline": Part(measure_pipeline, ("pipeline_over_backbone",)),
        "bulk": Part(measure_bulk, ("bulk_over_backbone",)),
        "gpu": Part(lambda _: measure_on_a_gpu(), ("gpu_predict_over_backbone", "gpu_predict_batch1_over_backbone")),
    }
