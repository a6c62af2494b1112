"""A listing: what every format comes to, photo by photo, and the one way from it to rows of the schema."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow as pa
from datasets import Dataset

from cnn_rnn.data.files.raw_table import RawTable
from cnn_rnn.data.photos.disk_layout import leaves_folder
from cnn_rnn.data.photos.file_matching import match_files
from cnn_rnn.data.reading import NO, YES, Reading
from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_names

from .class_cells import read_class_cells, told_words
from .label_cells import RowLabels, read_label_cells
from .label_columns import SPLIT_FLAGS, SPLIT_WORDS, Roles, plain

SPLITS = ("train", "validation", "test")
LABEL_SETTINGS = frozenset({"separator", "no_label", "numbers", "case", "unlisted"})  # that explain a column of labels


@dataclass(frozen=True)
class Listing:
    """The checked rows of one table or other source.

    Attributes:
        path: The table's file.
        lines: The line (Parquet: row) of each image, counted from 1.
        file_names: Each image's path below the table's folder, with `/`.
        image_ids: The column `image_id` where there is one, else the file names.
        rows: What each image's row says of its labels.
        columns: The class names where the table tells them and their order, as 0/1 columns do, else None.
        splits: Each image's split.
        unlisted_unknown: Whether labels that a row does not name are unknown, not absent.
        unit: What rows are counted in.
        notes: What was found out about the file, for people.
    """

    path: Path
    lines: Sequence[int]
    file_names: Sequence[str]
    image_ids: Sequence[str]
    rows: Sequence[RowLabels]
    columns: Sequence[str] | None
    splits: Sequence[str]
    unlisted_unknown: bool = False
    unit: str = "line"
    notes: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[list[str]]:
        """Each image's label names, without repetition."""
        return [row.present for row in self.rows]

    def where(self, index: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.path}, {self.unit} {self.lines[index]}"

    def class_names(self) -> list[str]:
        """The classes that this table alone tells: its 0/1 columns, else all labels, sorted."""
        if self.columns:
            return list(self.columns)
        return sorted({name for row in self.rows for name in (*row.present, *row.absent, *row.unknown)})

    def label_lists(self, class_names: Sequence[str]) -> pa.ListArray:
        """The ids of each row's labels; ValueError naming the line of a label outside `class_names`."""
        return self._lists([row.present for row in self.rows], class_names)

    def unknown_lists(self, class_names: Sequence[str]) -> pa.ListArray | None:
        """The ids of the labels that nobody knows, row by row; None where all are known."""
        if not any(self.unlisted_unknown or row.nobody_looked or row.unknown for row in self.rows):
            return None
        self._lists([set(row.absent) for row in self.rows], class_names)  # refuses what is no class
        unknown = []
        for row in self.rows:
            open_labels = (
                set(class_names).difference(row.absent) if self.unlisted_unknown or row.nobody_looked else set()
            )
            unknown.append(open_labels.union(row.unknown).difference(row.present))
        return self._lists(unknown, class_names)

    def _lists(self, lists: Sequence[Iterable[str]], class_names: Sequence[str]) -> pa.ListArray:
        """Lists of labels as lists of ids; ValueError that names a row with a label that is no class."""
        ids = {name: index for index, name in enumerate(class_names)}
        try:
            return label_lists_from_names(lists, ids)
        except KeyError:
            row, name = next((row, name) for row, names in enumerate(lists) for name in names if name not in ids)
        near = get_close_matches(name, class_names, n=1)
        raise ValueError(
            f"{self.where(row)}: label {name!r} is none of the {len(ids)} classes"
            + (f"; did you mean {near[0]!r}?" if near else ".")
            + " The classes are those of labels.json, data.class_names, or else those that occur in train."
        )

    def of_split(self, split: str) -> "Listing":
        """The rows of one split."""
        kept = [index for index, name in enumerate(self.splits) if name == split]
        return replace(
            self,
            lines=[self.lines[index] for index in kept],
            file_names=[self.file_names[index] for index in kept],
            image_ids=[self.image_ids[index] for index in kept],
            rows=[self.rows[index] for index in kept],
            splits=[split] * len(kept),
        )

    def to_dataset(
        self, folder: Path, class_names: Sequence[str], split: str, *, require_images: bool = True
    ) -> Dataset:
        """The rows in the one schema, their files found in `folder`."""
        paths, notes = match_files(
            folder, self.file_names, f"{self.path.name} ({split})", require_images=require_images, where=self.where
        )
        return build_dataset(
            image_paths(paths),
            list(self.image_ids),
            self.label_lists(class_names),
            class_names,
            unknown=self.unknown_lists(class_names),
            split=split,
            description="\n".join([f"{self.path.name}: {note}" for note in (*self.notes, *notes)]),
        )


@dataclass(frozen=True)
class Said:
    """What the columns of a table say of labels.

    Attributes:
        rows: Of each row by its number.
        columns: The class names where the table tells them and their order, else None.
        unlisted_unknown: Whether labels that a row does not name are unknown, not absent.
        notes: What was found out, for people.
    """

    rows: dict[int, RowLabels]
    columns: Sequence[str] | None
    unlisted_unknown: bool
    notes: list[str]


def list_rows(raw: RawTable, roles: Roles, reading: Reading, names: Sequence[str] | None, split: str) -> Listing:
    """The listing of a table's rows.

    Args:
        raw: The rows as they are written.
        roles: What its columns are.
        reading: What a person decided where they could mean two things.
        names: The classes in order, where they are known.
        split: What the rows' split is where no column tells it.

    Raises:
        ValueError: A row that breaks a rule or could mean two things; file and line are named, and the setting.
    """
    said = read_labels(raw, roles, reading, names)
    lines, files, ids = _names(raw, roles)
    splits = [_split_of(raw, roles, number, row) or split for number, row in raw.rows]
    return Listing(
        raw.path, lines, files, ids, [said.rows[number] for number in lines], said.columns, splits,
        said.unlisted_unknown, raw.unit, [note for note in (*raw.notes, *said.notes) if note],
    )  # fmt: skip


def read_labels(raw: RawTable, roles: Roles, reading: Reading, names: Sequence[str] | None) -> Said:
    """What the rows say of labels, in columns of labels or of yes and no; ValueError as `list_rows`."""
    notes = list(roles.notes)
    if roles.labels:
        reading.refuse({"yes", "no"}, f"{raw.path} has labels in column {roles.labels!r}, no columns of yes and no")
        rows, told_cells = _label_cells(raw, [roles.labels, *roles.more_labels], reading, names)
        notes += told_cells
        columns = names
    else:
        columns = roles.classes
        reading.refuse(LABEL_SETTINGS, f"{raw.path} has columns of yes and no, none of labels")
        rows = {number: read_class_cells(raw, number, row, roles.classes or [], reading) for number, row in raw.rows}
        notes.append(told_words(raw, roles.classes or [], reading))
    _add_lists(raw, roles, rows)
    says_absent = any(row.absent for row in rows.values()) and bool(roles.labels)
    if says_absent and reading.unlisted is None:
        number = next(number for number, row in rows.items() if row.absent)
        raise ValueError(
            f"{raw.where(number)}: {rows[number].absent[0]!r} is said to be absent, so the labels that a row does not "
            "name may be absent too, or nobody looked for them: data.unlisted absent or unknown decides"
        )
    if reading.unlisted == "unknown":
        notes.append("labels that a row does not name are unknown (data.unlisted)")
    return Said(rows, columns, reading.unlisted == "unknown" and bool(roles.labels), notes)


def _names(raw: RawTable, roles: Roles) -> tuple[list[int], list[str], list[str]]:
    """Line, file name and image id of each row; ValueError that names a row without a name or with a known one."""
    lines, files, ids = [], [], []
    seen: dict[str, int] = {}
    for line, row in raw.rows:
        try:
            name = _file_name(row, roles.file)
            image_id = str((roles.image_id and row.get(roles.image_id)) or name)
            for key in {name, image_id}:
                if key in seen:
                    raise ValueError(  # noqa: TRY301
                        f"{key!r} was already named in {raw.unit} {seen[key]}; an image may occur once, or, where each "
                        "row is one label of an image, data.rows label"
                    )
                seen[key] = line
        except ValueError as error:
            raise ValueError(f"{raw.where(line)}: {error}") from error
        lines.append(line)
        files.append(name)
        ids.append(image_id)
    return lines, files, ids


def _file_name(row: dict[str, Any], column: str) -> str:
    """The image's path below the folder; ValueError where the cell is no such path."""
    name = row.get(column)
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name  # an id of Kaggle's
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{column} is {name!r}, expected an image's path below this folder")
    if leaves_folder(name):
        front = str(PureWindowsPath(name).parent).rstrip("\\/") if "\\" in name else str(PurePosixPath(name).parent)
        whole = PureWindowsPath(name).anchor and ".." not in PureWindowsPath(name).parts
        way = f"take {front!r} away from the names" if whole else "without '..'"
        raise ValueError(
            f"{column} {name!r} leaves the folder; expected a path below it: {way} (data.image_root names the folder "
            "that paths are relative to)"
        )
    return str(PurePosixPath(name))


def _label_cells(
    raw: RawTable, columns: Sequence[str], reading: Reading, names: Sequence[str] | None
) -> tuple[dict[int, RowLabels], list[str]]:
    """What the rows say in one column of labels or, together, in several."""
    read = [read_label_cells(raw.cells(column), raw.where, reading, names) for column in columns]
    if len(read) == 1:
        return read[0]
    cells = [(number, [name for rows, _ in read for name in rows[number].present]) for number, _ in raw.rows]
    joined, _ = read_label_cells(cells, raw.where, reading, names)
    for number, row in joined.items():
        row.nobody_looked = all(rows[number].nobody_looked for rows, _ in read)
    notes = [f"{column}: {note}" for column, (_, told) in zip(columns, read, strict=True) for note in told]
    return joined, notes


def _add_lists(raw: RawTable, roles: Roles, rows: dict[int, RowLabels]) -> None:
    """Labels that a row says are absent or unknown, in columns of their own."""
    for column, kind in ((roles.not_labels, "absent"), (roles.unknown, "unknown")):
        if column is None:
            continue
        cells = [(number, [] if cell is None else cell) for number, cell in raw.cells(column)]
        listed, _ = read_label_cells(cells, raw.where, Reading(), raw.class_names)
        for number, found in listed.items():
            both = sorted(set(found.present) & set(rows[number].present))
            if both:
                raise ValueError(f"{raw.where(number)}: {both[0]!r} is in {roles.labels!r} and in {column!r}; keep one")
            getattr(rows[number], kind).extend(found.present)


def _split_of(raw: RawTable, roles: Roles, number: int, row: dict[str, Any]) -> str | None:
    """The split that a row's cell tells; None where no column does."""
    if roles.split is None:
        return None
    cell = str(row.get(roles.split)).strip().casefold()
    flag = SPLIT_FLAGS.get(plain(roles.split))
    if flag is None:
        if cell not in SPLIT_WORDS:
            raise ValueError(
                f"{raw.where(number)}: column {roles.split!r} holds {row.get(roles.split)!r}, expected a split such as "
                f"{', '.join(SPLITS)}; where the column is something else, data.columns '{{split: none}}'"
            )
        return SPLIT_WORDS[cell]
    if cell not in YES | NO:
        raise ValueError(
            f"{raw.where(number)}: column {roles.split!r} holds {row.get(roles.split)!r}, expected True or False; "
            "where it does not tell the split, data.columns '{split: none}'"
        )
    other = "test" if flag == "train" else "train"
    return flag if cell in YES else other
