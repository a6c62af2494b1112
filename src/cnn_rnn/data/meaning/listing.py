"""A listing: what every format comes to, photo by photo, and the one way from it to rows of the schema."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow as pa
from datasets import Dataset

from cnn_rnn.data.files.raw_table import RawTable, short
from cnn_rnn.data.photos.disk_layout import SPLITS, leaves_folder
from cnn_rnn.data.photos.file_matching import match_files
from cnn_rnn.data.reading import NO, YES, Reading
from cnn_rnn.data.schema import build_dataset, image_paths, label_features, label_lists_from_names
from cnn_rnn.nearest_names import did_you_mean

from .ambiguities import choose_spelling, is_numbers
from .cells import read_class_cells, read_label_cells
from .column import DIGITS, Column
from .columns import SPLIT_FLAGS, SPLIT_WORDS, Roles, plain

UNTIDY = re.compile(r"//|(^|/)\.(/|$)|/$")  # what a path may have too much
LABEL_SETTINGS = frozenset({"separator", "no_label", "numbers", "case", "unlisted"})  # that explain a column of labels
LIST_SETTINGS = frozenset({"separator", "no_label", "numbers", "case"})  # that explain one of labels that are no labels


@dataclass(slots=True)
class Row:
    """One photo, and what is said of its labels.

    Attributes:
        photo: Its path below a folder, with `/`.
        image_id: Its unique name.
        place: Where it stands: the number of its line, row or entry; or its own file.
        split: Its split.
        present: Labels that are there, without repetition.
        absent: Labels that it says are not there.
        unknown: Labels that it says nobody knows.
        difficult: Labels that it shows, but not plainly.
        open: Whether nobody looked for the labels that it does not name; else they are absent.
    """

    photo: str
    image_id: str
    place: int | Path
    split: str = "train"
    present: Sequence[str] = ()
    absent: Sequence[str] = ()
    unknown: Sequence[str] = ()
    difficult: Sequence[str] = ()
    open: bool = False


@dataclass(frozen=True)
class Listing:
    """The checked rows of one source.

    Attributes:
        path: Its file, or folder.
        rows: The photos.
        names: The classes in order where the source tells them, else None.
        unit: What rows are counted in.
        notes: What was found out about it, for people.
    """

    path: Path
    rows: Sequence[Row]
    names: Sequence[str] | None = None
    unit: str = "line"
    notes: list[str] = field(default_factory=list)

    def where(self, index: int) -> str:
        """File and line of a row, for messages."""
        place = self.rows[index].place
        return str(place) if isinstance(place, Path) else f"{self.path}, {self.unit} {place}"

    def class_names(self) -> list[str]:
        """The classes that this source alone tells: by its own order, else all labels, sorted."""
        if self.names:
            return list(self.names)
        return sorted(
            {name for row in self.rows for own in (row.present, row.absent, row.unknown, row.difficult) for name in own}
        )

    def of_split(self, split: str) -> "Listing":
        """The rows of one split."""
        return replace(self, rows=[row for row in self.rows if row.split == split])

    def label_columns(self, names: Sequence[str]) -> dict[str, pa.ListArray]:
        """The columns `labels`, and `difficult` and `unknown` where a row has such labels, as ids.

        Raises:
            ValueError: A row has a label that is no class; its line is named, and the nearest class.
        """
        label_features(names)  # refuses what cannot be written down
        columns = {"labels": self._ids([row.present for row in self.rows], names)}
        if any(row.difficult for row in self.rows):
            columns["difficult"] = self._ids([row.difficult for row in self.rows], names)
        if any(row.open or row.unknown for row in self.rows):
            self._ids([set(row.absent) for row in self.rows], names)  # refuses what is no class
            every = set(names)
            unknown = [(every.difference(row.absent) if row.open else set()).union(row.unknown) for row in self.rows]
            unknown = [own.difference(row.present, row.difficult) for own, row in zip(unknown, self.rows, strict=True)]
            columns["unknown"] = self._ids(unknown, names)
        return columns

    def _ids(self, lists: Sequence[Collection[str]], names: Sequence[str]) -> pa.ListArray:
        """Lists of labels as lists of ids; ValueError that names a row with a label that is no class."""
        ids = {name: index for index, name in enumerate(names)}
        try:
            return label_lists_from_names(lists, ids)
        except (KeyError, ValueError):  # one that is no class, or that cannot even be written down
            row, name = next((row, name) for row, own in enumerate(lists) for name in own if name not in ids)
        raise ValueError(
            f"{self.where(row)}: label {name!r} is none of the {len(ids)} classes"
            + did_you_mean(name, names, shown=repr, front="; ", otherwise=".")
            + " The classes are those of labels.json, data.class_names, or else those that occur in train: "
            "name it there; a model that does not know it is measured with data.keep_labels, its own labels."
            + (
                " Where numbers of classes are meant, counted from 0: data.numbers ids."
                if DIGITS.fullmatch(name)
                else ""
            )
        )

    def to_dataset(self, folder: Path, names: Sequence[str], split: str, *, require_images: bool = True) -> Dataset:
        """The rows in the one schema, their files found in `folder`."""
        photos = [row.photo for row in self.rows]
        told = self.path if self.path.is_dir() else self.path.name
        paths, notes = match_files(
            folder, photos, f"{self.path.name} ({split})", require_images=require_images, where=self.where
        )
        return build_dataset(
            image_paths(paths),
            [row.image_id for row in self.rows],
            label_names=names,
            split=split,
            description="\n".join([f"{told}: {note}" for note in (*self.notes, *notes)]),
            **self.label_columns(names),
        )


def list_rows(table: RawTable, roles: Roles, reading: Reading, names: Sequence[str] | None, split: str) -> Listing:
    """The listing of a table's rows.

    Args:
        table: The rows as they are written.
        roles: What its columns are.
        reading: What a person decided where they could mean two things.
        names: The classes in order, where they are known.
        split: What the rows' split is where no column tells it.

    Raises:
        ValueError: A row that breaks a rule or could mean two things; file and line are named, and the setting.
    """
    listing = list_labels(table, roles, reading, names)
    seen: dict[str, Any] = {}
    ids = table.columns[roles.image_id] if roles.image_id else [None] * len(listing.rows)
    for row, cell, own in zip(listing.rows, table.columns[roles.file], ids, strict=True):
        where = f"{table.path}, {table.unit} {row.place}"
        row.photo = _file_name(cell, roles.file, where)
        row.image_id, row.split = str(own or row.photo), split
        for key in {row.photo, row.image_id}:
            if seen.setdefault(key, row.place) != row.place:
                raise ValueError(
                    f"{where}: {key!r} was already named in {table.unit} {seen[key]}; an image may occur once, or, "
                    "where each row is one label of an image, data.rows label"
                )
    if roles.split:
        for row, told in zip(listing.rows, row_splits(table, roles.split), strict=True):
            row.split = told
    return listing


def list_labels(table: RawTable, roles: Roles, reading: Reading, names: Sequence[str] | None) -> Listing:
    """The listing of what a table's rows say of labels, without photos; arguments and errors as of `list_rows`."""
    notes = [*table.notes, *roles.notes]
    present: Sequence[Sequence[str] | None]
    unknown: Sequence[Sequence[str]] = [()] * len(table.numbers)
    if roles.labels:
        reading.refuse(
            {"yes", "no"}, f"{table.path} has labels in column {roles.labels[0]!r}, no columns of yes and no"
        )
        if not any(isinstance(cell, str) for name in roles.labels for cell in table.columns[name]):
            reading.refuse({"separator"}, f"{table.path} has lists of labels in column {roles.labels[0]!r}, no texts")
        present, told = _label_columns(table, roles.labels, reading, names)
    else:
        names = roles.classes
        used = LIST_SETTINGS if roles.lists else frozenset()
        reading.refuse(LABEL_SETTINGS - used, f"{table.path} has columns of yes and no, none of labels")
        present, unknown, *told = read_class_cells(table, names, reading)
    rows = [
        Row("", "", number, present=own or (), unknown=open_ones, open=own is None)
        for number, own, open_ones in zip(table.numbers, present, unknown, strict=True)
    ]
    listing = Listing(table.path, rows, names, table.unit, [note for note in (*notes, *told) if note])
    _add_lists(table, roles, reading, listing)
    says_absent = next((index for index, row in enumerate(rows) if row.absent), None) if roles.labels else None
    if says_absent is not None and reading.unlisted is None:
        raise ValueError(
            f"{table.where(says_absent)}: {rows[says_absent].absent[0]!r} is said to be absent, so the labels that a "
            "row does not name may be absent too, or nobody looked for them: data.unlisted absent or unknown decides"
        )
    if reading.unlisted == "unknown":
        listing.notes.append("labels that a row does not name are unknown (data.unlisted)")
        for row in rows:
            row.open = True
    return listing


def _label_columns(
    table: RawTable, columns: Sequence[str], reading: Reading, names: Sequence[str] | None
) -> tuple[list[list[str] | None], list[str]]:
    """The labels of each row in one column or, together, in several; and what was found out, for people."""
    read = [read_label_cells(Column(table.columns[name], table.where, reading, names)) for name in columns]
    if len(read) == 1:
        return read[0]
    together = [
        [label for labels in own for label in labels or ()] for own in zip(*(rows for rows, _ in read), strict=True)
    ]
    plain = replace(reading, separator=None, numbers=None)
    joined, _ = read_label_cells(Column(together, table.where, plain, names))
    looked = [any(labels is not None for labels in own) for own in zip(*(rows for rows, _ in read), strict=True)]
    notes = [f"{column}: {note}" for column, (_, told) in zip(columns, read, strict=True) for note in told]
    return [labels if seen else None for labels, seen in zip(joined, looked, strict=True)], notes


def _add_lists(table: RawTable, roles: Roles, reading: Reading, listing: Listing) -> None:
    """Labels that a row says are absent, unknown or difficult, in columns of their own, read as labels are."""
    if not roles.lists:
        return
    lists = {one: _listed(Column(table.columns[one], table.where, reading, listing.names)) for one in roles.lists}
    for column, kind in roles.lists.items():
        for row, labels in zip(listing.rows, lists[column], strict=True):
            setattr(row, kind, [*getattr(row, kind), *labels])
    spell_alike(listing, reading)
    _refuse_twice(table, roles, listing)


def _listed(column: Column) -> list[list[str]]:
    """The labels that a column of lists names in each row; none where a cell is empty."""
    if not any(is_numbers(cell) for _, cell in column.lists):  # as the labels beside it may be
        column = replace(column, reading=replace(column.reading, numbers=None))
    column = replace(column, cells=[[] if cell is None else cell for cell in column.cells])
    return [own or [] for own in read_label_cells(column)[0]]


def spell_alike(listing: Listing, reading: Reading) -> None:
    """Give a label the same spelling on all rows, as `choose_spelling` finds it; ValueError where that asks."""
    kinds = ("present", "absent", "unknown", "difficult")
    every = [[label for kind in kinds for label in getattr(row, kind)] for row in listing.rows]
    usual, told = choose_spelling(Column((), listing.where, reading, listing.names), every)
    listing.notes.extend([told] if told and told not in listing.notes else [])
    for row in listing.rows if usual else ():
        for kind in kinds:
            setattr(row, kind, list(dict.fromkeys(usual.get(label, label) for label in getattr(row, kind))))


def _refuse_twice(table: RawTable, roles: Roles, listing: Listing) -> None:
    """Refuse a row that says two things of a label in two columns."""
    kinds = {kind: column for column, kind in roles.lists.items()}
    for index, row in enumerate(listing.rows):
        said: dict[str, str] = {label: roles.labels[0] if roles.labels else label for label in row.present}
        for kind, column in kinds.items():
            for label in getattr(row, kind):
                held = said.setdefault(label, column)
                if held != column:
                    raise ValueError(f"{table.where(index)}: {label!r} is in {held!r} and in {column!r}; keep one")


def _file_name(cell: Any, column: str, where: str) -> str:
    """The image's path below the folder; ValueError where the cell is no such path."""
    name = str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell  # an id of Kaggle's
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: {column} is {short(name)}, expected an image's path below this folder")
    if leaves_folder(name):
        front = str(PureWindowsPath(name).parent).rstrip("\\/") if "\\" in name else str(PurePosixPath(name).parent)
        whole = PureWindowsPath(name).anchor and ".." not in PureWindowsPath(name).parts
        way = f"take {front!r} away from the names" if whole else "without '..'"
        raise ValueError(
            f"{where}: {column} {name!r} leaves the folder; expected a path below it: {way} (data.image_root names the "
            "folder that paths are relative to)"
        )
    return str(PurePosixPath(name)) if UNTIDY.search(name) else name


def row_splits(table: RawTable, column: str) -> Iterator[str]:
    """The split of each row, by a column of names or a flag as is_valid; ValueError where a cell is neither."""
    flag = SPLIT_FLAGS.get(plain(column))
    words = SPLIT_WORDS
    expected = f"a split such as {', '.join(SPLITS)}; where the column is something else"
    if flag is not None:
        words = dict.fromkeys(YES, flag) | dict.fromkeys(NO, "test" if flag == "train" else "train")
        expected = "True or False; where it does not tell the split"
    for index, cell in enumerate(table.columns[column]):
        split = words.get(str(cell).strip().casefold())
        if split is None:
            raise ValueError(
                f"{table.where(index)}: column {column!r} holds {cell!r}, expected {expected}, data.columns "
                "'{split: none}'"
            )
        yield split
