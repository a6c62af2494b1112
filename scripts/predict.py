"""Label images: scripts/predict.py --model MODEL --input FILE|FOLDER|LIST --output DIR.

For very many: accelerate launch scripts/predict.py ... shares them out to all processes; killed, the same command goes
on where it was.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from accelerate import Accelerator, InitProcessGroupKwargs
from PIL import Image

from cnn_rnn import MultiLabelImageClassificationPipeline
from cnn_rnn.bulk_prediction import (
    PREDICTIONS,
    Job,
    PreparedImages,
    digest_names,
    digest_weights,
    join_parts,
    predict_parts,
    unreadable_reasons,
)
from cnn_rnn.data import SOURCES, decode_image, label_names, load_source
from cnn_rnn.pictures import Caption, draw_page
from cnn_rnn.training import SavedModel

IMAGE_SUFFIXES = set(Image.registered_extensions())
PICTURED = 24  # images on the page
NAMED = 20  # unreadable images that are named


@dataclass
class Inputs:
    """Images to label: names, undecoded images and, for a data set, true labels, each by position."""

    names: Sequence[str]
    images: Sequence[Any]
    truths: Sequence[list[str]] | None = None


def find_images(source: str) -> list[Path]:
    """Image files that a file, a folder (searched through) or a text file with a path a line names.

    Raises:
        FileNotFoundError: There is no such file or folder, or it holds no image.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{path} holds no image file ({', '.join(sorted(IMAGE_SUFFIXES)[:8])}, ...)")
        return found
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {source!r}; data sets are written NAME:SPLIT, such as digits:test")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path]
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [path.parent / line.strip() for line in lines if line.strip()]
    if not found:
        raise FileNotFoundError(f"{path} names no image; expected a path a line")
    return found


def read_inputs(source: str, root: str | None, limit: int | None) -> Inputs:
    """The images that --input names, none of them opened yet."""
    name, _, split = source.partition(":")
    if name in SOURCES and split:
        from datasets import Image as ImageFeature

        dataset = load_source(name, root, split=split).cast_column("image", ImageFeature(decode=False))
        dataset = dataset.select(range(min(limit or len(dataset), len(dataset))))
        names = label_names(dataset)
        truths = [[names[label] for label in labels] for labels in dataset["labels"]]
        return Inputs(list(dataset["image_id"]), dataset["image"], truths)
    files = [str(file) for file in find_images(source)[:limit]]
    return Inputs(files, files)


def main(arguments: list[str] | None = None) -> int:
    """Predict labels and paths, write predictions.parquet and a page of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a run, or name on the Hub")
    parser.add_argument("--input", required=True, help="image, folder, text file with a path a line, or NAME:SPLIT")
    parser.add_argument("--output", type=Path, required=True, help="folder for predictions.parquet and paths.png")
    parser.add_argument("--data.root", dest="root", help="folder of the data set that --input names")
    parser.add_argument("--threshold", type=float, help="least probability of a label (default: the model's own)")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_workers", type=int, default=2, help="processes that read images, for each process")
    parser.add_argument("--part_size", type=int, default=2000, help="images after which a killed run can go on")
    known = parser.parse_args(arguments)
    # Only the end of the work is waited for, and that may be hours away.
    accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=7))])
    try:
        saved = SavedModel.load(known.model)
        classify = MultiLabelImageClassificationPipeline(
            model=saved.model,
            image_processor=saved.processor,
            device=accelerator.device,
            threshold=known.threshold,  # a wrong one is refused here
        )
        inputs = read_inputs(known.input, known.root, known.limit)
        job = Job(
            saved.name,
            digest_weights(saved.model),
            len(inputs.names),
            digest_names(inputs.names),
            known.threshold,
            known.part_size,
        )
        done = job.is_done(known.output)
        if not done and accelerator.is_main_process:
            job.claim(known.output)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    accelerator.wait_for_everyone()
    if not done:
        try:
            predict_parts(
                classify,
                PreparedImages(inputs.images, inputs.names, saved.processor),
                known.output,
                job,
                batch_size=known.batch_size,
                num_workers=known.num_workers,
                process_index=accelerator.process_index,
                num_processes=accelerator.num_processes,
            )
            accelerator.wait_for_everyone()
        except KeyboardInterrupt:
            if accelerator.is_main_process:
                print(f"stopped: the same command goes on with what {known.output} lacks", file=sys.stderr)
            return 130
    if accelerator.is_main_process:
        if not done:
            join_parts(known.output, job)
            picture(inputs, known.output)
        report(known.output, job)
    accelerator.end_training()
    return 0


def picture(inputs: Inputs, folder: Path) -> None:
    """Draw the first images with their paths as paths.png."""
    pictured: list[Image.Image] = []
    captions: list[Caption] = []
    batches = pq.ParquetFile(folder / PREDICTIONS).iter_batches(PICTURED)
    rows = (row for batch in batches for row in batch.to_pylist())
    readable = (entry for entry in enumerate(rows) if entry[1]["error"] is None)
    for index, row in itertools.islice(readable, PICTURED):
        path = row["path"] if row["path"] is not None else row["labels"]
        pictured.append(decode_image(inputs.images[index], inputs.names[index]))
        truth = inputs.truths[index] if inputs.truths else None
        captions.append(Caption([(step["label"], step["score"]) for step in path], truth))
    if pictured:
        draw_page(pictured, captions).save(folder / "paths.png")


def report(folder: Path, job: Job) -> None:
    """Say how many images were labelled, and name those that were not."""
    reasons = unreadable_reasons(folder / PREDICTIONS)
    print(f"{job.images - len(reasons)} images labelled, {len(reasons)} unreadable, written to {folder}")
    for reason in reasons[:NAMED]:
        print(f"unreadable: {reason}", file=sys.stderr)
    if len(reasons) > NAMED:
        print(f"... and {len(reasons) - NAMED} more: the column 'error' of {PREDICTIONS} has all", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
