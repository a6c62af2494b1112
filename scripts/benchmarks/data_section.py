"""Data sets at full size, and the way from files to batches.

Everything is generated, in the official layouts and sizes. Each of several ways runs several times in turn, in a fresh
process where memory is measured; the best run of each counts.
"""

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import torch
from photos import write_photos
from PIL import Image
from row import Part, Row
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2 import functional
from transformers import ViTImageProcessor

from cnn_rnn.data import (
    TrainTransform,
    build_dataset,
    collate,
    load_coco,
    load_hub,
    load_nus_wide,
    prepare_examples,
    write_parquet,
)
from cnn_rnn.data.batching.batches import TrainExamples
from cnn_rnn.data.data_config import DataConfig, train_transform
from cnn_rnn.data.files.coco_json import CocoDocument
from cnn_rnn.data.schema import image_bytes, image_paths, label_lists_from_matrix

COCO_IMAGES, COCO_BOXES, COCO_CLASSES = 82_783, 604_907, 80
NUS_WIDE_IMAGES = {"Train": 161_789, "Test": 107_859}
NUS_WIDE_CONCEPTS = 81
PHOTOS, BATCH, WORKERS, SIDE, ROUNDS = 512, 64, 2, 224, 8
MEGABYTE = 1 << 20


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    return {
        "coco": Part(measure_coco),
        "nus_wide": Part(measure_nus_wide),
        "opening": Part(measure_opening),
        "loader": Part(measure_loader),
    }


# COCO: index an annotation file


def measure_coco(workspace: Path) -> Iterator[Row]:
    """Time and memory of an index against the fastest library parse of the same file."""
    path = workspace / "coco" / "annotations" / "instances_train2014.json"
    write_coco(path)
    ways: dict[str, Callable[[Path], Any]] = {
        "ours": _index_coco,
        "json": _parse_json,
        "msgspec": _parse_msgspec,
        "typed": _parse_typed,
    }
    best: dict[str, tuple[float, float]] = {}
    for _ in range(3):
        for name, way in ways.items():
            seconds, memory = _in_fresh_process(way, path)
            known = best.get(name, (seconds, memory))
            best[name] = (min(seconds, known[0]), min(memory, known[1]))
    fastest = min((name for name in best if name != "ours"), key=lambda name: best[name][0])
    parse = {"json": "json.load", "msgspec": "msgspec, all fields", "typed": "msgspec, only our fields"}[fastest]
    size = path.stat().st_size / MEGABYTE
    yield Row(
        f"COCO index, {COCO_IMAGES:,} images, {COCO_BOXES:,} boxes, {size:.0f} MB",
        best["ours"][0], f"s; read and parsed by {parse}", best[fastest][0], "<= 1.5",
    )  # fmt: skip
    yield Row("COCO index, peak memory", best["ours"][1], f"MB; {parse}", best[fastest][1], "<= 1.5")
    yield Row("COCO index against the standard library", best["ours"][0], "s; json.load", best["json"][0])
    path.unlink()


def write_coco(path: Path) -> None:
    """A file of the size and shape of instances_train2014.json, with polygons."""
    random = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    ids = np.sort(random.choice(581_922, COCO_IMAGES, replace=False))
    categories = np.sort(random.choice(np.arange(1, 91), COCO_CLASSES, replace=False))
    files = (f"COCO_train2014_{i:012d}.jpg" for i in ids)
    images = [
        {"license": 3, "file_name": name, "coco_url": f"http://images.cocodataset.org/train2014/{name}", "height": 480,
         "width": 640, "date_captured": "2013-11-15 02:41:42", "flickr_url": "http://farm6.staticflickr.com/5268/5602445367_z.jpg",
         "id": int(i)}
        for name, i in zip(files, ids, strict=True)
    ]  # fmt: skip
    image_of, category_of = random.choice(ids, COCO_BOXES).tolist(), random.choice(categories, COCO_BOXES).tolist()
    corners = 2 * random.geometric(1 / 22, COCO_BOXES) + 6
    numbers = np.char.mod("%.2f", random.random(1 << 16) * 640).tolist()
    starts = random.integers(0, len(numbers) - int(corners.max()), COCO_BOXES)
    with path.open("w") as file:
        file.write(f'{{"info": {{}}, "images": {json.dumps(images)}, "licenses": [], "annotations": [')
        for k in range(COCO_BOXES):
            polygon = ", ".join(numbers[starts[k] : starts[k] + corners[k]])
            file.write(
                f'{", " * bool(k)}{{"segmentation": [[{polygon}]], "area": 702.1, "iscrowd": 0, '
                f'"image_id": {image_of[k]}, "bbox": [473.07, 395.93, 38.65, 28.67], '
                f'"category_id": {category_of[k]}, "id": {k + 1}}}'
            )
        classes = [{"supercategory": "thing", "id": int(i), "name": f"class {i}"} for i in categories]
        file.write(f'], "categories": {json.dumps(classes)}}}')


def _index_coco(path: Path) -> object:
    return load_coco(path.parents[1], 2014, require_images=False)


def _parse_json(path: Path) -> object:
    with path.open("rb") as file:
        return json.load(file)


def _parse_msgspec(path: Path) -> object:
    return msgspec.json.decode(path.read_bytes())


def _parse_typed(path: Path) -> object:
    return msgspec.json.decode(path.read_bytes(), type=CocoDocument)


# NUS-WIDE: index all concepts


def measure_nus_wide(workspace: Path) -> Iterator[Row]:
    """Time of an index of all concepts."""
    root = workspace / "nus-wide"
    write_nus_wide(root)
    ours, plain = (min(_in_fresh_process(way, root)[0] for _ in range(2)) for way in (_index_nus_wide, _read_nus_wide))
    total = sum(NUS_WIDE_IMAGES.values())
    yield Row(f"NUS-WIDE index, {total:,} images, {NUS_WIDE_CONCEPTS} concepts", ours, "s", wanted="<= 5")
    yield Row("NUS-WIDE index against reading the same files", ours, "s; pandas.read_csv", plain)


def write_nus_wide(root: Path) -> None:
    """Lists and labels of NUS-WIDE's size, in its layout."""
    random = np.random.default_rng(0)
    labels = root / "Groundtruth" / "TrainTestLabels"
    labels.mkdir(parents=True)
    (root / "ImageList").mkdir()
    names = [f"concept{i:02d}" for i in range(NUS_WIDE_CONCEPTS)]
    (root / "Concepts81.txt").write_text("\n".join(names))
    for part, count in NUS_WIDE_IMAGES.items():
        files = "".join(f"folder{i % 700}\\{i % 600:04d}_{i}{len(part)}.jpg\n" for i in range(count))
        (root / "ImageList" / f"{part}Imagelist.txt").write_text(files)
        for name in names:
            lines = np.full((count, 2), ord("\n"), np.uint8)
            lines[:, 0] = ord("0") + (random.random(count) < 0.023)
            (labels / f"Labels_{name}_{part}.txt").write_bytes(lines.tobytes())


def _index_nus_wide(root: Path) -> object:
    return load_nus_wide(root, require_images=False)


def _read_nus_wide(root: Path) -> object:
    files = sorted((root / "Groundtruth" / "TrainTestLabels").iterdir())
    return [pd.read_csv(path, header=None, dtype=np.uint8) for path in files]


# Parquet: open a prepared set again


def measure_opening(workspace: Path) -> Iterator[Row]:
    """Time to open prepared shards, first and again."""
    count = sum(NUS_WIDE_IMAGES.values())
    present = np.random.default_rng(0).random((count, NUS_WIDE_CONCEPTS)) < 0.023
    Image.new("RGB", (1, 1)).save(workspace / "dot.png")
    dot = (workspace / "dot.png").read_bytes()
    names = [f"concept{i}" for i in range(NUS_WIDE_CONCEPTS)]
    ids = [str(i) for i in range(count)]
    rows = build_dataset(image_bytes([dot] * count), ids, label_lists_from_matrix(present), names, split="train")
    folder = write_parquet(rows, workspace / "prepared")
    seconds = [_in_fresh_process(_open, folder)[0] for _ in range(3)]
    yield Row(f"open a prepared set of {count:,} images, the first time", seconds[0], "s")
    yield Row("open it again, in a new process", min(seconds[1:]), "s", wanted="<= 1")


def _open(folder: Path) -> object:
    return load_hub(str(folder), cache_dir=str(folder.parent / "cache"))["train"][7]["labels"]


# The loader: files to batches


class _Bare(TorchDataset[torch.Tensor]):
    """Nothing but torchvision's decoding and resizing."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = decode_image(read_file(self.paths[index]), mode=ImageReadMode.RGB)
        resized: torch.Tensor = functional.resize(pixels, [SIDE, SIDE], antialias=True)
        return resized


def measure_loader(workspace: Path) -> Iterator[Row]:
    """Images a second of the training loader, and whether its memory stays."""
    paths = write_photos(workspace / "photos", PHOTOS)
    present = np.random.default_rng(0).random((len(paths), COCO_CLASSES)) < 0.036
    names = [f"class {i}" for i in range(COCO_CLASSES)]
    rows = build_dataset(image_paths(paths), [Path(p).name for p in paths], label_lists_from_matrix(present), names)
    processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    octets, floats = train_transform(processor, DataConfig()), TrainTransform(processor)
    examples = TrainExamples(rows, octets, seed=0)
    torch.set_num_threads(1)
    bare, in_bytes = _loader(_Bare(paths)), _loader(examples, collate_fn=collate)
    in_floats = _loader(prepare_examples(rows, floats), collate_fn=collate)
    ways: dict[str, Callable[[], float]] = {
        "bare": lambda: _rate(bare),
        "bytes": lambda: _rate(in_bytes),
        "normalised": lambda: _rate(in_bytes, octets),
        "floats": lambda: _rate(in_floats),
    }
    best = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            best[name] = max(best[name], way())
    unit = f"images/s, {WORKERS} workers; torchvision decode + resize to bytes"
    yield Row("training loader, bytes for the device to normalise", best["bytes"], unit, best["bare"], ">= 0.9")
    yield Row("the same, normalised by the loop on its own core", best["normalised"], unit, best["bare"])
    yield Row("training loader, floats from the workers", best["floats"], unit, best["bare"])
    first, *later = _memory_by_epoch(examples)
    yield Row("memory of loop and workers, third epoch over first", later[-1], "MB", first, "<= 1.05")


def _loader(examples: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(examples, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, **options)


def _rate(loader: DataLoader[Any], normalise: TrainTransform | None = None) -> float:
    """Images a second, ready for the network."""
    room = torch.empty(BATCH, 3, SIDE, SIDE)
    start, images = time.perf_counter(), 0
    for batch in loader:
        pixels = batch["pixel_values"] if isinstance(batch, dict) else batch
        if normalise:
            normalise.to_pixel_values(pixels, out=room)
        images += len(pixels)
    return images / (time.perf_counter() - start)


def _collate_with_memory(examples: list[dict[str, Any]]) -> dict[str, Any]:
    return collate(examples) | {"worker": os.getpid(), "memory": _memory_now()}


def _memory_by_epoch(examples: Any) -> list[float]:
    """Megabytes that loop and workers hold at the end of each of three epochs, after one to warm up."""
    loader = _loader(examples, collate_fn=_collate_with_memory)
    totals = []
    for _ in range(4):
        held: dict[int, float] = {}
        for batch in loader:
            held[batch["worker"]] = batch["memory"]
        totals.append(_memory_now() + sum(held.values()))
    return totals[1:]


# Measuring


def _memory_now() -> float:
    """Megabytes of this process's own memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(pages[1]) - int(pages[2])) * resource.getpagesize() / MEGABYTE


def _in_fresh_process(way: Callable[[Path], object], path: Path) -> tuple[float, float]:
    """Seconds and megabytes at the peak that one way costs beyond the imports."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed, (way, path))


def _timed(way: Callable[[Path], object], path: Path) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = way(path)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del result
    kilobytes = 1 if sys.platform.startswith("linux") else 1024  # elsewhere the figure comes in bytes
    return seconds, (peak - before) / 1024 / kilobytes
