"""How time and memory of each stage grow from a tenth of a data set to all of it: nothing faster than its input.

The stages are the commands that people type, each in a process of its own, over generated sets of the real ones' counts
whose photos are small files of one content. A list of very many names is labelled with the model mocked.

    python scripts/benchmarks/scale_section.py coco2014 nus-wide      these sets alone
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from costs import Cost, Stage, cost_of
from many_names import name_costs
from PIL import Image
from row import Row
from tqdm.auto import tqdm

from cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.commands import push_to_hub, report, train, validate
from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.data import load_image_folder, stratified_split
from cnn_rnn.data.batching.batches import eval_loader

NAMES = 1_000_000  # of the list that is labelled
LABELS_A_PHOTO, SAMPLES, SIDE = 3, 100, 32
MOST_LINKS = 30_000  # names that one file has at most, on some disks
GROWTH = "<= 13"  # ten times the photos, and what noise there is
MEMORY_GROWTH = "<= 10"
SAME_MEMORY = "<= 1.1"  # of bulk prediction, however long its list


@dataclass(frozen=True)
class SetSize:
    """How many photos and labels a set has.

    Attributes:
        train: Photos to train on.
        test: Photos to measure on; none where the set is too large to be trained on here.
        labels: How many labels there are.
    """

    train: int
    test: int
    labels: int

    def tenth(self) -> "SetSize":
        """The same labels on a tenth of the photos."""
        return SetSize(self.train // 10, self.test // 10, self.labels)


SET_SIZES = {
    "coco2014": SetSize(82_783, 40_504, 80),
    "nus-wide": SetSize(161_789, 107_859, 81),
    "a million of 10,000 labels": SetSize(1_000_000, 0, 10_000),
}


def measure(workspace: Path, names: list[str] | None = None) -> list[Row]:
    """All figures of this section; those of some sets alone where they are named."""
    rows = []
    for name in names or SET_SIZES:
        size = SET_SIZES[name]
        tenth, full = (dict(stage_costs(workspace / name / str(each.train), each)) for each in (size.tenth(), size))
        for stage in full:
            rows += growth(f"{stage}, {name}", tenth[stage], full[stage], MEMORY_GROWTH)
    if not names:
        (workspace / "names").mkdir()
        tenth_names, all_names = name_costs(workspace / "names", [NAMES // 10, NAMES])
        rows += growth(f"bulk prediction, {NAMES:,} names", tenth_names, all_names, SAME_MEMORY)
    return rows


def growth(what: str, tenth: Cost, full: Cost, memory_growth: str) -> list[Row]:
    """What all of a set costs beside a tenth of it."""
    return [
        Row(what, full.seconds, "s of processor time; a tenth", tenth.seconds, GROWTH),
        Row(f"{what}, peak memory", full.megabytes, "MB; a tenth", tenth.megabytes, memory_growth),
    ]


def stage_costs(root: Path, size: SetSize) -> Iterator[tuple[str, Cost]]:
    """What each stage costs over a generated set."""
    write_split(root / "train", size.train, size.labels)
    if size.test:
        write_split(root / "test", size.test, size.labels)
    for name, stage in stages(size):
        yield name, cost_of(stage, root, size.train)


def stages(size: SetSize) -> Iterator[tuple[str, Stage]]:
    """The stages by name, in their order; those after the first batch for sets that are measured on."""
    yield "index", index
    yield "index and split", split
    yield "index and first batch", first_batch
    if size.test:
        yield "training: features, one epoch", partial(trained, name="run")
        yield "training: cached features, one epoch", partial(trained, name="again")
        yield f"validation with {SAMPLES} resamples", validated
        yield "report", reported
        yield "card", carded


def write_split(folder: Path, count: int, labels: int) -> None:
    """A split of an image folder whose photos are one file under many names."""
    folder.mkdir(parents=True)
    content = folder.parent / "one.png"
    Image.new("RGB", (8, 8), "red").save(content)
    chosen = np.random.default_rng(0).integers(0, labels, (count, LABELS_A_PHOTO))
    source = content
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for number in tqdm(range(count), desc="writing photos", unit="photo", leave=False):
            if number and not number % MOST_LINKS:
                source = folder.parent / f"{folder.name}-{number}.png"
                source.write_bytes(content.read_bytes())
            os.link(source, folder / f"{number:07d}.png")
            named = sorted({f"label {label:05d}" for label in chosen[number]})
            lines.write(json.dumps({"file_name": f"{number:07d}.png", "labels": named}) + "\n")
    (folder.parent / "labels.json").write_text(json.dumps([f"label {label:05d}" for label in range(labels)]))


def index(root: Path, _: int) -> None:
    """From files to rows."""
    load_image_folder(root, split="train")


def split(root: Path, _: int) -> None:
    """A tenth held out, by label."""
    stratified_split(load_image_folder(root, split="train"), 0.1, 0)


def first_batch(root: Path, _: int) -> None:
    """The loader's first batch."""
    processor = CnnRnnImageProcessor.from_config(CnnRnnConfig(image_size=SIDE))
    next(iter(eval_loader(load_image_folder(root, split="train"), processor, 32, 0)))


def trained(root: Path, _: int, name: str) -> None:
    """One epoch on the features of a frozen backbone, which the first run computes and every other one finds."""
    settings = {
        "model.backbone": "test_resnet",
        "model.weights": "null",
        "model.image_size": SIDE,
        "data.name": "image_folder",
        "data.root": root,
        "train.freeze_backbone": "true",
        "train.cache_features": "true",
        "train.feature_cache": root / "features",
        "train.output_dir": root / name,
        "train.epochs": 1,
        "train.num_workers": 0,
        "train.trackers": "none",
    }
    succeed(train.main([part for key, value in settings.items() for part in (f"--{key}", str(value))]))


def validated(root: Path, _: int) -> None:
    """Figures with intervals on the test split."""
    options = ["--output", str(root / "test-figures"), "--samples", str(SAMPLES), "--num_workers", "0"]
    succeed(validate.main([str(root / "run"), *options]))


def reported(root: Path, _: int) -> None:
    """The page of the test split, from the predictions of the validation."""
    options = ["--predictions", str(root / "test-figures" / "predictions.parquet"), "--num_workers", "0"]
    succeed(report.main([str(root / "run"), *options, "--output", str(root / "page.html")]))


def carded(root: Path, _: int) -> None:
    """The model card."""
    options = ["--repo", "org/model", "--metrics", str(root / "test-figures" / "metrics.json"), "--dry_run"]
    succeed(push_to_hub.main([str(root / "run"), *options, "--data_note", "Generated."]))


def succeed(code: int) -> None:
    """Refuse to go on from a command that failed."""
    if code:
        raise RuntimeError(f"the command ended with {code}, see above")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for row in measure(Path(place), sys.argv[1:]):
            print(f"{row.what:<60} {row.ours:>10,.1f} {row.reference:>10,.1f} {row.ratio or 0:>6.2f} {row.unit}")
