"""Predicted labels back to the photos: XMP sidecars, a text file beside each photo, or one table."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm.auto import tqdm

from cnn_rnn.data.photos.found_files import JOB_LABELS, printable
from cnn_rnn.foundation.one_line import visible
from cnn_rnn.foundation.own_files import check_own, record_own
from cnn_rnn.foundation.spreadsheet_rows import inactive_name, write_rows
from cnn_rnn.foundation.whole_files import whole_file
from cnn_rnn.label_rules import LabelRules, keywords_of

from .xmp_sidecars import SidecarError, lightroom_path, sidecar_path, write_sidecar

SIDECARS = {"photo.jpg.xmp": sidecar_path, "photo.xmp": lightroom_path}  # by the name beside `photo.jpg`
TABLE = "labels.csv"
LEFT_NAMED = 20  # photos left alone that are named
DRY_RUN_SHOWN = 10  # photos of a dry run


@dataclass(frozen=True)
class WrittenLabels:
    """Which labels are written.

    Attributes:
        leave_out: Labels that are never written.
        always_add: Labels, or other words, that every photo gets.
    """

    leave_out: Sequence[str] = ()
    always_add: Sequence[str] = ()

    def check(self, label_names: Sequence[str]) -> None:
        """Refuse to leave out what the model does not know.

        Raises:
            ValueError: A name is none of the model's labels.
        """
        unknown = [name for name in self.leave_out if name not in label_names]
        if unknown:
            raise ValueError(f"--leave_out {unknown[0]!r} is none of the model's {len(label_names)} labels")

    def of(self, predicted: Iterable[str]) -> list[str]:
        """The labels to write for a photo with these predicted ones."""
        return list(dict.fromkeys([*(name for name in predicted if name not in self.leave_out), *self.always_add]))


@dataclass
class Written:
    """What came of the writing.

    Attributes:
        written: Files that were written, or would be.
        unchanged: Photos whose file says it all already.
        left: Why photos were left alone, a sentence each.
        beside: Sidecars of the other name, which were not written.
    """

    written: int = 0
    unchanged: int = 0
    left: list[str] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)


def predicted_labels(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and labels of each photo that a finished job could read, in order."""
    for file in sorted(folder.glob(JOB_LABELS)):
        for batch in pq.ParquetFile(file).iter_batches(columns=["image_id", "labels", "error"]):
            for row in batch.to_pylist():
                if row["error"] is None:
                    yield row["image_id"], [entry["label"] for entry in row["labels"]]


def write_kinds(
    kinds: Sequence[str], folder: Path, config: Any, choice: WrittenLabels, *, sidecar: str, dry_run: bool
) -> None:
    """Write the labels of a finished job, those of a model's config, in several forms, and say what came of it."""
    rules = LabelRules.of(config.label_rules, config.label_names)
    for kind in kinds:
        done = write_labels(kind, folder, config.label_names, choice, sidecar=sidecar, dry_run=dry_run, rules=rules)
        would = "would be written" if dry_run else "written"
        rows = "rows of labels.csv" if kind == "csv" else f"{kind} files"
        print(f"{done.written} {rows} {would}, {done.unchanged} say it already, {len(done.left)} left alone")
        for reason in done.left[:LEFT_NAMED]:
            print(f"left alone: {visible(reason)}", file=sys.stderr)
        if done.beside:
            other = next(name for name in SIDECARS if name != sidecar)
            print(
                f"{len(done.beside)} photos have a sidecar of the other name too, which stays as it is: "
                f"{visible(str(done.beside[0]))}{' ...' if len(done.beside) > 1 else ''}; --sidecar {other} writes it",
                file=sys.stderr,
            )


def write_labels(
    kind: str,
    folder: Path,
    label_names: Sequence[str],
    choice: WrittenLabels,
    *,
    sidecar: str = "photo.jpg.xmp",
    dry_run: bool = False,
    rules: LabelRules | None = None,
) -> Written:
    """Write the labels of a finished job in one form.

    Args:
        kind: xmp (a sidecar beside each photo), txt (`photo.jpg.txt`, a label on each line) or csv (one table in
            `folder`, a row per photo and a column per label).
        folder: The job's folder.
        label_names: The model's labels in order.
        choice: Which of them are written.
        sidecar: What the sidecar of `photo.jpg` is called, one of `SIDECARS`.
        dry_run: Say what would be written, and write nothing.
        rules: The model's rules between labels, by which a keyword of a sidecar stands below what it implies.

    Raises:
        ValueError: The choice names a label that the model has not.
        FileExistsError: There is a table that was not written from here.
    """
    choice.check(label_names)
    if kind == "csv":
        return _write_table(folder, label_names, choice, dry_run)
    result = Written()
    shown = 0
    photo_of: dict[Path, Path] = {}  # by its `photo.xmp`, which two photos may share
    for name, predicted in tqdm(predicted_labels(folder), desc=f"writing {kind}", unit=" photos"):
        photo, labels = Path(name), choice.of(predicted)
        try:
            if not photo.is_file():
                raise SidecarError(f"{name}: there is no such file to write beside")  # noqa: TRY301
            if kind == "xmp":
                _note_the_other(photo, sidecar, photo_of, result)
                new = write_sidecar(photo, keywords_of(rules, labels), place=SIDECARS[sidecar], dry_run=dry_run)
            else:
                new = _write_text(photo, labels, dry_run=dry_run)
        except (SidecarError, OSError) as error:
            result.left.append(str(error))
            continue
        if new and dry_run and shown < DRY_RUN_SHOWN:
            shown += 1
            beside = SIDECARS[sidecar](photo) if kind == "xmp" else _text_path(photo)
            tqdm.write(printable(f"{beside}: {', '.join(labels)}"))
        result.written += new
        result.unchanged += not new
    return result


def _note_the_other(photo: Path, sidecar: str, photo_of: dict[Path, Path], result: Written) -> None:
    """Note a sidecar of the other name; SidecarError where another photo of the job has this one's already."""
    other = next(place(photo) for name, place in SIDECARS.items() if name != sidecar)
    if other.exists():
        result.beside.append(other)
    if sidecar != "photo.jpg.xmp" and (first := photo_of.setdefault(lightroom_path(photo), photo)) != photo:
        raise SidecarError(f"{photo}: {lightroom_path(photo).name} is the sidecar of {first.name}")


def _text_path(photo: Path) -> Path:
    """The text file beside a photo."""
    return photo.with_name(f"{photo.name}.txt")


def _write_text(photo: Path, labels: Sequence[str], *, dry_run: bool) -> bool:
    """Write the text file beside a photo; whether it lacked anything. SidecarError where it says something else."""
    path = _text_path(photo)
    broken = next((label for label in labels if label.splitlines() != [label]), None)
    if broken is not None:
        raise SidecarError(f"{path}: a label on each line is what it holds, and {broken!r} holds a line break")
    content = "".join(f"{label}\n" for label in labels)
    if not path.exists():
        if not dry_run:
            with whole_file(path, make_folder=False) as temporary:
                temporary.write_text(content, encoding="utf-8")
        return True
    if path.read_text(encoding="utf-8", errors="replace") == content:
        return False
    raise SidecarError(f"{path} is there already with something else in it; move it away to write it anew")


def _write_table(folder: Path, label_names: Sequence[str], choice: WrittenLabels, dry_run: bool) -> Written:
    """Write one 0/1 column per label and one row per image; a dry run counts the rows alone.

    Raises:
        FileExistsError: There is a table that was not written from here.
    """
    path = folder / TABLE
    columns = choice.of(label_names)
    rows = (
        [inactive_name(name), *(int(column in choice.of(found)) for column in columns)]
        for name, found in predicted_labels(folder)
    )
    if dry_run:
        return Written(written=sum(1 for _ in rows))
    check_own(path, TABLE)
    with whole_file(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            written = write_rows(file, chain([["file_name", *columns]], rows)) - 1
        record_own(temporary, TABLE)  # before it is there: whoever finds it, another process too, knows it
    return Written(written=written)
