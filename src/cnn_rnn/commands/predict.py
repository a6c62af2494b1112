"""Label images: cnn-rnn predict --model MODEL --input FILE|FOLDER|LIST --output DIR.

For very many: accelerate launch -m cnn_rnn.commands.predict ... shares them out to all processes; killed, the same
command goes on where it was.
"""

import argparse
import itertools
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .console import refuse

if TYPE_CHECKING:
    from cnn_rnn.prediction.bulk_prediction import Job
    from cnn_rnn.prediction.found_images import FoundImages

PICTURED = 24  # images on the page
NAMED = 20  # unreadable images that are named


def main(arguments: list[str] | None = None) -> int:
    """Predict labels and paths, write labels.parquet and a page of pictures."""
    known = build_parser().parse_args(arguments)

    from accelerate import Accelerator, InitProcessGroupKwargs

    from cnn_rnn import MultiLabelImageClassificationPipeline
    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.prediction.bulk_prediction import (
        Job,
        PreparedImages,
        digest_names,
        digest_weights,
        join_parts,
        predict_parts,
    )
    from cnn_rnn.prediction.found_images import find_inputs
    from cnn_rnn.prediction.onnx_engine import set_engine

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
        inputs = find_inputs(known.input, known.root, known.limit)
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
        if not done:
            with accelerator.main_process_first():  # it alone exports, the others find the file
                told = set_engine(saved.model, saved.name, known.engine, accelerator.device)
            if accelerator.is_main_process:
                print(told, file=sys.stderr)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
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


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", required=True, help="folder of a run, or name on the Hub")
    parser.add_argument("--input", required=True, help="image, folder, text file with a path a line, or NAME:SPLIT")
    parser.add_argument("--output", type=Path, required=True, help="folder for labels.parquet and paths.png")
    parser.add_argument("--data.root", dest="root", help="folder of the data set that --input names")
    parser.add_argument("--threshold", type=float, help="least probability of a label (default: the model's own)")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_workers", type=int, default=2, help="processes that read images, for each process")
    parser.add_argument(
        "--engine",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what runs the backbone: auto takes onnxruntime on a CPU where it is installed (extra 'export')",
    )
    parser.add_argument("--part_size", type=int, default=2000, help="images after which a killed run can go on")
    return parser


def picture(inputs: "FoundImages", folder: Path) -> None:
    """Draw the first images with their paths as paths.png."""
    import pyarrow.parquet as pq

    from cnn_rnn.data import decode_image
    from cnn_rnn.prediction.bulk_prediction import LABELS
    from cnn_rnn.prediction.pictures import Caption, draw_page

    pictured = []
    captions = []
    batches = pq.ParquetFile(folder / LABELS).iter_batches(PICTURED)
    rows = (row for batch in batches for row in batch.to_pylist())
    readable = (entry for entry in enumerate(rows) if entry[1]["error"] is None)
    for index, row in itertools.islice(readable, PICTURED):
        path = row["path"] if row["path"] is not None else row["labels"]
        pictured.append(decode_image(inputs.images[index], inputs.names[index]))
        truth = inputs.truths[index] if inputs.truths else None
        captions.append(Caption([(step["label"], step["score"]) for step in path], truth))
    if pictured:
        draw_page(pictured, captions).save(folder / "paths.png")


def report(folder: Path, job: "Job") -> None:
    """Say how many images were labelled, and name those that were not."""
    from cnn_rnn.prediction.bulk_prediction import LABELS, unreadable_reasons

    reasons = unreadable_reasons(folder / LABELS)
    print(f"{job.images - len(reasons)} images labelled, {len(reasons)} unreadable, written to {folder}")
    for reason in reasons[:NAMED]:
        print(f"unreadable: {reason}", file=sys.stderr)
    if len(reasons) > NAMED:
        print(f"... and {len(reasons) - NAMED} more: the column 'error' of {LABELS} has all", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
