"""Label images: cnn-rnn predict --model MODEL --input FILE|FOLDER|LIST|SHARDS --output DIR.

For very many: accelerate launch -m cnn_rnn.commands.predict ... shares them out to all processes. Killed, the same
command goes on where it was; started once more, it joins in. On a Ray cluster: --engine ray.
"""

import argparse
import sys
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import REFUSED, refuse

if TYPE_CHECKING:
    from cnn_rnn.prediction.job_folder import JobFolder, State

PICTURED = 24  # images on the page
NAMED = 20  # unreadable images that are named


def main(arguments: list[str] | None = None) -> int:
    """Predict labels and paths, write labels.parquet and a page of pictures."""
    known = build_parser().parse_args(arguments)
    try:
        return predict_with_ray(known) if known.engine == "ray" else predict_here(known)
    except KeyboardInterrupt:
        print(f"stopped: the same command goes on with what {known.output} lacks", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)


def predict_here(known: argparse.Namespace) -> int:
    """Take part in the job with this process, and with those that accelerate launched beside it."""
    from accelerate import Accelerator, InitProcessGroupKwargs

    from cnn_rnn.prediction.bulk_prediction import predict_all
    from cnn_rnn.prediction.worker import open_job

    # Waited for once, after each has looked at all names, which may take hours.
    state = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=7))])
    try:
        classify, folder = open_job(known, state.device)
        finished = folder.is_finished()
        state.wait_for_everyone()
        if finished:
            folder.leave()
            return report(folder) if state.is_main_process else 0
        folder.claim()
        done = predict_all(
            classify,
            folder,
            batch_size=known.batch_size,
            num_workers=known.num_workers,
            turn=state.process_index / state.num_processes,
            show=state.is_main_process,
        )
    finally:
        state.end_training()
    # Of processes that were launched together one speaks: the one that finished the job.
    return told(folder, done) if done == "finished" or state.num_processes == 1 else 0


def predict_with_ray(known: argparse.Namespace) -> int:
    """Hand the job to Ray's actors."""
    from cnn_rnn.prediction.ray_engine import label_with_ray

    folder, done = label_with_ray(known)
    return report(folder) if done is None else told(folder, done)


def told(folder: "JobFolder", done: "State") -> int:
    """Say how the job ended; returns what the shell is told."""
    if done == "unfinished":
        print(f"the last parts of {folder.folder} are in work in other processes; the last of them finishes the job")
        return 0
    if done == "finished":
        picture(folder)
    return report(folder)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", required=True, help="folder of a run, or name on the Hub")
    parser.add_argument(
        "--input",
        required=True,
        help="image, folder, text file with a path a line, *.parquet, *.tar, an address (hf://, s3://), or NAME:SPLIT",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for labels.parquet and paths.png")
    parser.add_argument("--data.root", dest="root", help="folder of the data set that --input names")
    parser.add_argument("--threshold", type=float, help="least probability of a label (default: the model's own)")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_workers", type=int, default=2, help="processes that read images, for each process")
    parser.add_argument("--part_size", type=int, default=2000, help="images after which a killed run can go on")
    parser.add_argument("--parts_per_file", type=int, default=500, help="parts that become one labels*.parquet")
    parser.add_argument(
        "--changes_by",
        choices=("name", "time", "content"),
        default="time",
        help="an image counts as changed by its name, its size and time, or every byte (default: time)",
    )
    parser.add_argument(
        "--keep_lost",
        action="store_true",
        help="images that cannot be had (absent, disk or net failing) are done, with the reason in their row; "
        "without it the same command tries them again",
    )
    parser.add_argument(
        "--engine", choices=("accelerate", "ray"), default="accelerate", help="what shares the work out"
    )
    parser.add_argument("--actors", type=int, help="processes that Ray starts (default: one a GPU, else one a core)")
    return parser


def picture(folder: "JobFolder") -> None:
    """Draw the first images with their paths as paths.png, as far as they can still be read."""
    from cnn_rnn.data import UnreadableImageError, decode_image
    from cnn_rnn.prediction.job_folder import PICTURE
    from cnn_rnn.prediction.pictures import Caption, draw_page
    from cnn_rnn.whole_files import whole_file

    pictured: list[Any] = []
    captions = []
    images = chain.from_iterable(map(folder.inputs.part, range(folder.inputs.parts)))
    try:
        for image, row in zip(images, folder.rows(), strict=False):
            if len(pictured) == PICTURED:
                break
            if row["error"] is not None:
                continue
            pictured.append(decode_image(image.image, image.name))
            path = row["path"] if row["path"] is not None else row["labels"]
            captions.append(Caption([(step["label"], step["score"]) for step in path], image.truth))
    except (UnreadableImageError, OSError) as error:
        print(f"{PICTURE} is not complete: {error}", file=sys.stderr)
    if pictured:
        with whole_file(folder.folder / PICTURE) as temporary:
            draw_page(pictured, captions).save(temporary, format="png")


def report(folder: "JobFolder") -> int:
    """Say how many images were labelled, and name those that were not; returns what the shell is told."""
    rows = unreadable = 0
    reasons: list[str] = []
    for errors in folder.error_columns():
        rows += len(errors)
        unreadable += len(errors) - errors.null_count
        if len(reasons) < NAMED:
            reasons += errors.drop_null().to_pylist()[: NAMED - len(reasons)]
    for line in (*folder.inputs.passed_over.lines(), *folder.said):
        print(line, file=sys.stderr)
    print(f"{rows - unreadable} images labelled, {unreadable} unreadable, written to {folder.folder}")
    for reason in reasons:
        print(f"unreadable: {reason}", file=sys.stderr)
    if unreadable > NAMED:
        print(f"... and {unreadable - NAMED} more: the column 'error' has all", file=sys.stderr)
    lost = 0 if folder.keep_lost else folder.lost()
    if lost:
        print(
            f"error: {lost} images could not be had (absent, or their disk or the net failed): the same command tries "
            "them again; with --keep_lost they stay as they are",
            file=sys.stderr,
        )
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
