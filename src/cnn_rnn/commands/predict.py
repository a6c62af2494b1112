"""Label images: cnn-rnn predict --model MODEL --input FILE|FOLDER|LIST --output DIR.

Without --output the labels are printed, without --model they come from the model in the box.
For very many: accelerate launch -m cnn_rnn.commands.predict ... shares them out to all processes; killed, the same
command goes on where it was.
"""

import argparse
import itertools
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .console import REFUSED, refuse

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.prediction.bulk_prediction import Job
    from cnn_rnn.prediction.found_images import FoundImages
    from cnn_rnn.prediction.onnx_engine import Engine

PICTURED = 24  # images on the page
BUNDLED_LABELS = ("person", "cat", "dog", "car", "17 more")
NAMED = 20  # unreadable images that are named


def main(arguments: list[str] | None = None) -> int:
    """Predict labels and paths, write labels.parquet and a page of pictures."""
    known = build_parser().parse_args(arguments)
    known.model = known.model or model_in_the_box()
    if known.output is None:
        return print_labels(known)

    from accelerate import Accelerator, InitProcessGroupKwargs

    from cnn_rnn import MultiLabelImageClassificationPipeline
    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.prediction.answers import digest_answers, read_answers
    from cnn_rnn.prediction.bulk_prediction import (
        Job,
        PreparedImages,
        digest_names,
        digest_weights,
        join_parts,
        predict_parts,
    )
    from cnn_rnn.prediction.found_images import find_inputs

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
        labels = saved.model.config.label_names
        answers = read_answers(known.known, inputs.names, labels) if known.known else {}
        job = Job(
            saved.name,
            digest_weights(saved.model),
            len(inputs.names),
            digest_names(inputs.names),
            known.threshold,
            known.part_size,
            digest_answers(answers),
        )
        done = job.is_done(known.output)
        if not done:
            begin(job, known.output, saved, known.engine, accelerator)
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
                answers=answers,
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
        try:
            write_back(known, saved.model.config.label_names)
        except (ValueError, OSError, ImportError) as error:
            return refuse(error)
    accelerator.end_training()
    return 0


def model_in_the_box() -> str:
    """The folder of the bundled model, and a word on what it is."""
    from cnn_rnn.shipped_files import bundled_model

    print(f"labels of the model in the box ({', '.join(BUNDLED_LABELS)}); --model takes another", file=sys.stderr)
    return str(bundled_model())


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", help="folder of a run, or name on the Hub (default: the model in the box)")
    parser.add_argument("--input", required=True, help="image, folder, text file with a path a line, or NAME:SPLIT")
    parser.add_argument("--output", type=Path, help="folder for labels.parquet and paths.png (default: print labels)")
    parser.add_argument("--data.root", dest="root", help="folder of the data set that --input names")
    parser.add_argument("--threshold", type=float, help="least probability of a label (default: the model's own)")
    parser.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help='what is known, a line an image: {"image_id": "1.jpg", "known": {"boat": true, "car": false}}; '
        "the column known of labels.parquet repeats it",
    )
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
    parser.add_argument(
        "--write", nargs="+", choices=("xmp", "csv", "txt"), default=[],
        help="labels back to the photos: xmp sidecars or txt files beside them, or one csv; photos stay as they are",
    )  # fmt: skip
    parser.add_argument("--leave_out", nargs="+", default=[], metavar="LABEL", help="labels that are not written")
    parser.add_argument("--always_add", nargs="+", default=[], metavar="WORD", help="words that every photo gets")
    parser.add_argument("--dry_run", action="store_true", help="say what --write would write, and write nothing")
    return parser


def write_back(known: argparse.Namespace, label_names: list[str]) -> None:
    """Write the labels to the photos in every form that was asked for, and say what came of it."""
    from cnn_rnn.prediction.label_files import LabelChoice, write_labels

    choice = LabelChoice(known.leave_out, known.always_add)
    for kind in known.write:
        done = write_labels(kind, known.output, label_names, choice, dry_run=known.dry_run)
        would = "would be written" if known.dry_run else "written"
        rows = "rows of labels.csv" if kind == "csv" else f"{kind} files"
        print(f"{done.written} {rows} {would}, {done.unchanged} say it already, {len(done.left)} photos left alone")
        for reason in done.left[:NAMED]:
            print(f"left alone: {reason}", file=sys.stderr)


def print_labels(known: argparse.Namespace) -> int:
    """Print labels and path of each image as it is read; returns `REFUSED` where none could be."""
    if known.known is not None:
        return refuse(ValueError("--known needs --output, the folder for labels.parquet"))
    from cnn_rnn import MultiLabelImageClassificationPipeline
    from cnn_rnn.data.images import UnreadableImageError, decode_image
    from cnn_rnn.prediction import SavedModel
    from cnn_rnn.prediction.found_images import find_inputs

    try:
        saved = SavedModel.load(known.model)
        classify = MultiLabelImageClassificationPipeline(
            model=saved.model, image_processor=saved.processor, threshold=known.threshold
        )
        inputs = find_inputs(known.input, known.root, known.limit)
    except (ValueError, OSError) as error:
        return refuse(error)
    has_path = saved.model.config.has_path_decoder
    code = REFUSED
    for name, image in zip(inputs.names, inputs.images, strict=True):
        try:
            found = classify(decode_image(image, name), return_path=has_path)
        except UnreadableImageError as error:
            print(f"unreadable: {error}", file=sys.stderr)
            continue
        code = 0
        labels, path = (found["labels"], found["path"]) if has_path else (found, [])
        told = "   ".join(f"{one['label']} {one['score']:.2f}" for one in labels) or "no label"
        walked = " ▸ ".join(f"{step['label']} {step['score']:.2f}" for step in path)
        print(f"{name}: {told}" + (f"   (path: {walked})" if walked else ""))
    return code


def begin(job: "Job", folder: Path, saved: "SavedModel", engine: "Engine", accelerator: "Accelerator") -> None:
    """Claim the folder, let the engine that was asked for run the backbone, and say which it is."""
    from cnn_rnn.prediction.onnx_engine import set_engine

    if accelerator.is_main_process:
        job.claim(folder)
    with accelerator.main_process_first():  # it alone exports, the others find the file
        told = set_engine(saved.model, saved.name, engine, accelerator.device)
    if accelerator.is_main_process:
        print(told, file=sys.stderr)


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
