"""Label images: cnn-rnn predict --model MODEL --input FILE|FOLDER|LIST|SHARDS --output DIR.

Without --output the labels are printed, without --model they come from the model in the box.
For very many: accelerate launch -m cnn_rnn.commands.predict ... shares them out to all processes. Killed, the same
command goes on where it was; started once more, it joins in. On a Ray cluster: --engine ray.
"""

import argparse
import sys
import tempfile
from dataclasses import fields
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_rnn.foundation.one_line import visible

from .console import INTERRUPTED, REFUSED, CommandParser, at_least, loading, output_folder, refusing

if TYPE_CHECKING:
    from cnn_rnn.data import Reading
    from cnn_rnn.prediction.job_folder import JobFolder, State
    from cnn_rnn.prediction.worker import JobSettings, Opened

BUNDLED_LABELS = ("person", "sky", "cat", "car", "427 more")
NONE_READ = 1  # what a shell is told of a job that is done and has no labels
NAMED_UNREADABLE = 20  # unreadable images that are named


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Predict labels and paths, write labels.parquet and a page of pictures."""
    known, settings = build_parser().parse_known_args(arguments)
    try:
        refuse_what_does_nothing(known)
        refuse_what_is_missing(known)
        reading = reading_of(settings)
        known.model = known.model or model_in_the_box()
        if known.output is None:
            return print_labels(known, reading)
        with loading():
            job = job_settings(known, reading)
        if known.engine == "ray":
            from cnn_rnn.prediction.ray_engine import label_with_ray

            return told(known, *label_with_ray(job))
        ended = predict_here(job)
        return told(known, *ended) if ended else 0
    except KeyboardInterrupt:
        goes_on = f": the same command goes on with what {known.output} lacks" if known.output else ""
        print(f"stopped{goes_on}", file=sys.stderr)
        return INTERRUPTED


def refuse_what_does_nothing(known: argparse.Namespace) -> None:
    """Refuse options that the others leave without any effect; ValueError names the option that they need."""
    needs = {"known": "output", "write": "output", "leave_out": "write", "always_add": "write", "dry_run": "write"}
    what = {"output": "the folder for labels.parquet", "write": "xmp, csv or txt, which it is about"}
    for name, other in needs.items():
        if getattr(known, name) and not getattr(known, other):
            raise ValueError(f"--{name} needs --{other}, {what[other]}")
    if known.engine == "ray" and known.output is None:
        raise ValueError(f"--engine ray needs --output, {what['output']}")


def refuse_what_is_missing(known: argparse.Namespace) -> None:
    """Refuse files that are not there before a model is loaded or exported; FileNotFoundError names one."""
    from cnn_rnn.prediction.input_kinds import check_there

    if known.root is None:  # else a split may be called as it likes
        check_there(known.input)
    if known.known is not None and not known.known.is_file():
        raise FileNotFoundError(f"--known {known.known}: there is no such file")


def reading_of(settings: list[str]) -> "Reading":
    """What `--data.separator ...` and the like decide where a label file could mean two things.

    Raises:
        ValueError: One of them is no such setting.
    """
    from cnn_rnn.data import Reading

    if not settings:  # without them nothing of training is loaded, which takes longer than a photo
        return Reading()
    from cnn_rnn.training.run_config import load_run_config, parse_overrides

    config = load_run_config(None, settings)
    for block, key, _ in parse_overrides(settings):
        if (block, hasattr(Reading(), key)) != ("data", True):
            raise ValueError(f"--{block}.{key} decides nothing here; of data.* predict takes how a label file is read")
    return config.data.reading()


def job_settings(known: argparse.Namespace, reading: "Reading") -> "JobSettings":
    """The settings of the bulk job among the arguments."""
    from cnn_rnn.prediction.worker import JobSettings

    given = {entry.name: getattr(known, entry.name) for entry in fields(JobSettings) if hasattr(known, entry.name)}
    engine = "auto" if known.engine == "ray" else known.engine  # of Ray's actors
    return JobSettings(**(given | {"reading": reading, "engine": engine}))


def predict_here(job: "JobSettings") -> "tuple[JobFolder, State | None] | None":
    """Take part in the job with this process, and with those that accelerate launched beside it.

    Returns:
        The folder, and how the job ended, None where it was finished before; None where another process tells of it.
    """
    with loading():
        from cnn_rnn.foundation.launched import Alone, check_launch
        from cnn_rnn.prediction.worker import opened_without_torch

    check_launch()
    opened = opened_without_torch(job)
    return label_all(job, opened, Alone()) if opened else predict_by_torch(job)


def predict_by_torch(job: "JobSettings") -> "tuple[JobFolder, State | None] | None":
    """As `predict_here`, with a model that torch loads."""
    with loading():
        from accelerate import Accelerator, InitProcessGroupKwargs

        from cnn_rnn.prediction.worker import opened_by_torch

    # Waited for once, after each has looked at all names, which may take hours.
    state = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=7))])
    try:
        with state.main_process_first():  # it alone exports, the others find the file
            opened = opened_by_torch(job, state.device)
        return label_all(job, opened, state)
    finally:
        state.end_training()


def label_all(job: "JobSettings", opened: "Opened", state: Any) -> "tuple[JobFolder, State | None] | None":
    """Take part in the job with a model that is loaded; returns what `predict_here` does."""
    with loading():
        from cnn_rnn.prediction.bulk_prediction import predict_all
        from cnn_rnn.prediction.worker import open_folder

    folder = open_folder(job, opened)
    finished = folder.is_finished()
    state.wait_for_everyone()
    if finished:
        folder.leave()
        return (folder, None) if state.is_main_process else None
    folder.claim()
    if state.is_main_process:
        print(opened.engine, file=sys.stderr)
    done = predict_all(
        opened.classify,
        folder,
        batch_size=job.batch_size,
        num_workers=opened.threads,
        turn=state.process_index / state.num_processes,
        show=state.is_main_process,
    )
    # Of processes that were launched together one speaks: the one that finished the job.
    return (folder, done) if done == "finished" or state.num_processes == 1 else None


def told(known: argparse.Namespace, folder: "JobFolder", done: "State | None") -> int:
    """Say how the job ended, or that it was finished before, and write labels back; returns what the shell is told."""
    if done == "unfinished":
        print(
            f"the last parts of {folder.folder} are being made by other processes; the last of these finishes the job"
        )
        if known.write:
            print(f"--write {' '.join(known.write)} is not done yet: the same command does it once the job is finished")
        return 0
    if done == "finished":
        from cnn_rnn.prediction.pictures import draw_job

        draw_job(folder)
    code = tell_counts(folder, known.input)
    if known.write:
        from cnn_rnn.prediction.label_files import WrittenLabels, write_kinds

        choice = WrittenLabels(known.leave_out, known.always_add)
        write_kinds(known.write, known.output, folder.config, choice, sidecar=known.sidecar, dry_run=known.dry_run)
    return code


def model_in_the_box() -> str:
    """The folder of the bundled model, and a word on what it is."""
    from cnn_rnn.foundation.shipped_files import bundled_model

    print(f"labels of the model in the box ({', '.join(BUNDLED_LABELS)}); --model takes another", file=sys.stderr)
    return str(bundled_model())


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--model", help="folder of a run, or name on the Hub (default: the model in the box)")
    parser.add_argument(
        "--input",
        required=True,
        help="image, folder, text file with one path per line, *.parquet, *.tar, an address (hf://, s3://), "
        "NAME:SPLIT, or table:FILE for the photos of a label file (--data.columns and the like as in training)",
    )
    parser.add_argument(
        "--output", type=output_folder, help="folder for labels.parquet and paths.png (default: print labels)"
    )
    parser.add_argument("--data.root", dest="root", help="folder of the data set that --input names")
    parser.add_argument("--threshold", type=float, help="least probability of a label (default: the model's own)")
    parser.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help='what is known, one line per image: {"image_id": "1.jpg", "known": {"boat": true, "car": false}}; '
        "the column known of labels.parquet repeats it",
    )
    parser.add_argument("--limit", type=at_least(1), help="only the first images")
    parser.add_argument("--batch_size", type=at_least(1), default=16, help="images that the model sees at once")
    parser.add_argument("--num_workers", type=at_least(0), default=2, help="threads that read images, for each process")
    parser.add_argument("--part_size", type=at_least(1), default=2000, help="images after which a killed run can go on")
    parser.add_argument("--parts_per_file", type=at_least(1), default=500, help="parts that become one labels*.parquet")
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
        "--engine",
        choices=("auto", "torch", "onnx", "ray"),
        default="auto",
        help="what runs the backbone: auto takes onnxruntime on a CPU where it is installed (extra 'export'); ray "
        "shares the work out on a Ray cluster, each actor as auto does it (extra 'ray')",
    )
    parser.add_argument(
        "--actors", type=at_least(1), help="processes that Ray starts (default: one per GPU, else one per core)"
    )
    parser.add_argument(
        "--write", nargs="+", choices=("xmp", "csv", "txt"), default=[],
        help="labels back to the photos: xmp sidecars or txt files beside them, or one csv; photos stay as they are. "
        "In csv a label that begins like a formula has ' before it, a file's name ./",
    )  # fmt: skip
    parser.add_argument(
        "--sidecar",
        choices=("photo.jpg.xmp", "photo.xmp"),
        default="photo.jpg.xmp",
        help="what the xmp sidecar of photo.jpg is called: as darktable and digiKam do, or Lightroom",
    )
    parser.add_argument("--leave_out", nargs="+", default=[], metavar="LABEL", help="labels that are not written")
    parser.add_argument("--always_add", nargs="+", default=[], metavar="WORD", help="words that every photo gets")
    parser.add_argument("--dry_run", action="store_true", help="say what --write would write, and write nothing")
    return parser


def print_labels(known: argparse.Namespace, reading: "Reading") -> int:
    """Print labels and path of each image as it is read; returns `REFUSED` where none could be.

    Raises:
        ValueError: A setting stands in the way.
        OSError: A file does.
    """
    with loading():
        from cnn_rnn.data.photos.images import UnreadableImageError, decode_image
        from cnn_rnn.label_answers import UNFAMILIAR
        from cnn_rnn.prediction.input_kinds import nothing_found, open_inputs
        from cnn_rnn.prediction.onnx_pipeline import pipeline_for_few

        classify, engine = pipeline_for_few(known.model, known.engine, known.threshold)
    if engine:
        print(engine, file=sys.stderr)
    inputs = open_inputs(
        known.input, known.root, known.limit, known.part_size, Path(tempfile.gettempdir()), reading=reading
    )
    has_path = classify.model.config.has_path_decoder
    code, none = REFUSED, True
    for image in chain.from_iterable(map(inputs.part, range(inputs.parts))):
        none = False
        try:
            found = classify(decode_image(image.image, image.name), return_path=has_path)
        except UnreadableImageError as error:
            print(f"unreadable: {visible(str(error))}", file=sys.stderr)
            continue
        code = 0
        labels, path = (found["labels"], found["path"]) if has_path else (found, [])
        nothing = UNFAMILIAR if has_path and found.get("unfamiliar") else "no label"
        shown = "   ".join(f"{one['label']} {one['score']:.2f}" for one in labels) or nothing
        walked = " ▸ ".join(f"{step['label']} {step['score']:.2f}" for step in path)
        print(visible(f"{image.name}: {shown}" + (f"   (path: {walked})" if walked else "")))
    if none:
        raise nothing_found(known.input, inputs.passed_over)
    for line in inputs.passed_over.lines():
        print(visible(line), file=sys.stderr)
    return code


def tell_counts(folder: "JobFolder", source: str) -> int:
    """Say how many images were labelled, and name those that were not; returns what the shell is told.

    Raises:
        FileNotFoundError: There were none, as of shards is known once they are read.
    """
    rows = unreadable = 0
    reasons: list[str] = []
    for errors in folder.error_columns():
        rows += len(errors)
        unreadable += len(errors) - errors.null_count
        if len(reasons) < NAMED_UNREADABLE:
            reasons += errors.drop_null().to_pylist()[: NAMED_UNREADABLE - len(reasons)]
    if not rows:
        from cnn_rnn.prediction.input_kinds import nothing_found

        raise nothing_found(source, folder.inputs.passed_over)
    for line in (*folder.inputs.passed_over.lines(), *folder.said):
        print(visible(line), file=sys.stderr)
    print(f"{rows - unreadable} images labelled, {unreadable} unreadable, written to {folder.folder}")
    for reason in reasons:
        print(f"unreadable: {visible(reason)}", file=sys.stderr)
    if unreadable > NAMED_UNREADABLE:
        print(f"... and {unreadable - NAMED_UNREADABLE} more: the column 'error' has all", file=sys.stderr)
    lost = 0 if folder.keep_lost else folder.lost()
    if lost:
        print(
            f"error: {lost} images could not be had (absent, or their disk or the net failed): the same command tries "
            "them again; with --keep_lost they stay as they are",
            file=sys.stderr,
        )
        return REFUSED
    if unreadable == rows:
        print(f"error: none of the {rows} images could be read", file=sys.stderr)
        return NONE_READ
    return 0


if __name__ == "__main__":
    sys.exit(main())
