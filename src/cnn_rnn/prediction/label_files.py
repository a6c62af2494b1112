"""Predicted labels back to the photos: XMP sidecars, a text file beside each photo, or one table."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from tqdm.auto import tqdm

from cnn_rnn.foundation.whole_files import whole_file, write_text

from .xmp_sidecars import SidecarError, missing_keywords, sidecar_path, write_sidecar

KINDS = ("xmp", "csv", "txt")
TABLE = "labels.csv"
SHOWN = 10  # photos of a dry run


@dataclass(frozen=True)
class LabelChoice:
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
    """

    written: int = 0
    unchanged: int = 0
    left: list[str] = field(default_factory=list)


def predicted_labels(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and labels of each photo that a finished job could read, in order."""
    for file in sorted(folder.glob("labels*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(columns=["image_id", "labels", "error"]):
            for row in batch.to_pylist():
                if row["error"] is None:
                    yield row["image_id"], [entry["label"] for entry in row["labels"]]


def write_labels(
    kind: str, folder: Path, label_names: Sequence[str], choice: LabelChoice, *, dry_run: bool = False
) -> Written:
    """Write the labels of a finished job in one form.

    Args:
        kind: xmp (`photo.jpg.xmp` beside each photo), txt (`photo.jpg.txt`, a label a line) or csv (one table in
            `folder`, a row a photo and a column a label).
        folder: The job's folder.
        label_names: The model's labels in order.
        choice: Which of them are written.
        dry_run: Say what would be written, and write nothing.

    Raises:
        ValueError: The choice names a label that the model has not.
        ImportError: The library that this form needs is not installed.
    """
    choice.check(label_names)
    if kind == "csv":
        return _write_table(folder, label_names, choice, dry_run)
    result = Written()
    shown = 0
    for name, predicted in tqdm(predicted_labels(folder), desc=f"writing {kind}", unit="photo"):
        photo, labels = Path(name), choice.of(predicted)
        if not photo.is_file():
            result.left.append(f"{name}: there is no such file to write beside")
            continue
        try:
            new = _is_new(kind, photo, labels)
            if new and dry_run and shown < SHOWN:
                shown += 1
                tqdm.write(f"{_beside(kind, photo)}: {', '.join(labels)}")
            if new and not dry_run:
                _write_beside(kind, photo, labels)
        except (SidecarError, OSError) as error:
            result.left.append(str(error))
            continue
        result.written += new
        result.unchanged += not new
    return result


def _beside(kind: str, photo: Path) -> Path:
    """The file beside a photo that takes its labels."""
    return sidecar_path(photo) if kind == "xmp" else photo.with_name(f"{photo.name}.txt")


def _is_new(kind: str, photo: Path, labels: Sequence[str]) -> bool:
    """Whether the photo's file lacks any of the labels."""
    if kind == "xmp":
        return bool(missing_keywords(photo, labels)) if labels else False
    path = _beside(kind, photo)
    if not path.exists():
        return True
    if path.read_text(encoding="utf-8", errors="replace").splitlines() == list(labels):
        return False
    raise SidecarError(f"{path} is there already with something else in it; move it away to write it anew")


def _write_beside(kind: str, photo: Path, labels: Sequence[str]) -> None:
    """Write a photo's labels into the file beside it."""
    if kind == "xmp":
        write_sidecar(photo, labels)
    else:
        write_text(_beside(kind, photo), "".join(f"{label}\n" for label in labels))


def _write_table(folder: Path, label_names: Sequence[str], choice: LabelChoice, dry_run: bool) -> Written:
    """Write one 0/1 column a label and one row an image; a dry run counts the rows alone."""
    columns = choice.of(label_names)
    result = Written()
    rows = (
        [name, *(int(column in choice.of(found)) for column in columns)] for name, found in predicted_labels(folder)
    )
    if dry_run:
        return Written(written=sum(1 for _ in rows))
    with whole_file(folder / TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *columns])
        for row in rows:
            writer.writerow(row)
            result.written += 1
    return result
