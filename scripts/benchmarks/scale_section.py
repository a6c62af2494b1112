"""How time and memory of each stage grow from a tenth of a data set to all of it: nothing faster than its input.

Every stage runs in a process of its own. The photos are small files of one content; the model of bulk prediction is
mocked, so that what is measured is what grows with the number of photos.
"""

import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from row import Row
from tqdm.auto import tqdm

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.commands import predict
from cnn_rnn.data import load_image_folder, stratified_split
from cnn_rnn.data.batches import eval_loader
from cnn_rnn.metrics.resampling import bootstrap_intervals
from cnn_rnn.prediction import bulk_prediction

PHOTOS = 82_783 + 40_504  # COCO 2014
NAMES = 1_000_000  # in the list of bulk prediction; 10_000_000 takes an hour
LABELS, LABELS_A_PHOTO, SAMPLES = 80, 3, 100
GROWTH = "<= 13"  # ten times the photos, and what noise there is
MEMORY_GROWTH = "<= 1.1"  # of bulk prediction: the same


@dataclass(frozen=True)
class Cost:
    """Seconds, and megabytes at the highest."""

    seconds: float
    megabytes: float


def measure(workspace: Path) -> list[Row]:
    """All figures of this section."""
    rows = []
    for count in (PHOTOS // 10, PHOTOS):
        write_photos(workspace / str(count), count)
    for name, stage in STAGES.items():
        tenth, full = (cost_of(stage, workspace / str(count), count) for count in (PHOTOS // 10, PHOTOS))
        what = f"{name}, {PHOTOS:,} photos"
        rows.append(Row(what, full.seconds, "s; a tenth of them", tenth.seconds, GROWTH))
        rows.append(Row(f"{what}, peak memory", full.megabytes, "MB; a tenth of them", tenth.megabytes, "<= 10"))
    write_model(workspace / "model")
    tenth, full = (cost_of(label_list, workspace, count) for count in (NAMES // 10, NAMES))
    what = f"bulk prediction, {NAMES:,} names"
    rows.append(Row(what, full.seconds, "s; a tenth of them", tenth.seconds, GROWTH))
    rows.append(Row(f"{what}, peak memory", full.megabytes, "MB; a tenth of them", tenth.megabytes, MEMORY_GROWTH))
    return rows


def write_photos(root: Path, count: int) -> None:
    """An image folder whose photos are one file under many names."""
    folder = root / "train"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(root / "one.png")
    chosen = np.random.default_rng(0).integers(0, LABELS, (count, LABELS_A_PHOTO))
    source = root / "one.png"
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for index in tqdm(range(count), desc="writing photos", unit="photo", leave=False):
            name = f"{index:07d}.png"
            if index and not index % 30_000:  # a file has so many names at most, on some disks
                source = root / f"{index}.png"
                source.write_bytes((root / "one.png").read_bytes())
            os.link(source, folder / name)
            labels = sorted({f"label {label}" for label in chosen[index]})
            lines.write(json.dumps({"file_name": name, "labels": labels}) + "\n")


def write_model(folder: Path) -> None:
    """A small model."""
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"], image_size=32)
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(folder)


def index(root: Path, _: int) -> None:
    """From files to rows."""
    load_image_folder(root, split="train")


def split(root: Path, _: int) -> None:
    """A tenth held out, by label."""
    stratified_split(load_image_folder(root, split="train"), 0.1, 0)


def first_batch(root: Path, _: int) -> None:
    """The loader's first batch."""
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a"], image_size=32)
    rows = load_image_folder(root, split="train")
    next(iter(eval_loader(rows, CnnRnnImageProcessor.from_config(model.config), 32, 0)))


def intervals(_: Path, count: int) -> None:
    """Figures of a validation with bootstrap intervals."""
    generator = np.random.default_rng(0)
    truth = generator.random((count, LABELS)) < LABELS_A_PHOTO / LABELS
    scores = generator.random((count, LABELS)).astype(np.float32)
    bootstrap_intervals(scores, truth, None, samples=SAMPLES)


def label_list(workspace: Path, count: int) -> None:
    """Bulk prediction of a list of one photo's name, the model left out."""
    photo = workspace / "photo.png"
    Image.new("RGB", (8, 8), "red").save(photo)
    listed = workspace / f"{count}.txt"
    with listed.open("w", encoding="utf-8") as lines:
        lines.writelines("photo.png\n" for _ in range(count))
    answer: dict[str, Any] = {"labels": [{"label": "a", "score": 0.5}], "path": [], "path_score": 0.5}
    mocks: dict[tuple[Any, str], Callable[..., Any]] = {
        (bulk_prediction.PreparedImages, "prepare"): lambda *_: torch.zeros(1),
        (bulk_prediction, "label_rows"): lambda _, prepared, *__: [dict(answer) for _ in prepared],
    }
    for (owner, name), mock in mocks.items():
        setattr(owner, name, mock)
    arguments = ["--model", str(workspace / "model"), "--input", str(listed), "--output", str(workspace / f"o{count}")]
    if predict.main([*arguments, "--num_workers", "0", "--batch_size", "256"]):
        raise RuntimeError("prediction failed, see above")


STAGES: dict[str, Callable[[Path, int], None]] = {
    "index": index,
    "index and split": split,
    "index and first batch": first_batch,
    f"validation with {SAMPLES} resamples": intervals,
}


def cost_of(stage: Callable[[Path, int], None], root: Path, count: int) -> Cost:
    """What a stage costs in a process of its own, which starts with everything imported.

    Raises:
        RuntimeError: The stage failed.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(stage, root, count, sender))
    process.start()
    sender.close()
    try:
        found: Cost = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{stage.__name__}: the process failed, see above") from None
    finally:
        process.join()
    return found


def _run(stage: Callable[[Path, int], None], root: Path, count: int, sender: Any) -> None:
    torch.set_num_threads(1)
    begin = time.process_time()
    stage(root, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send(Cost(time.process_time() - begin, peak))
