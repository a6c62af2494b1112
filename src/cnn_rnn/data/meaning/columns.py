"""Which column names the photo, which hold labels: found out from names and cells, told, and decided by settings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnn_rnn.data.files.raw_table import RawTable, is_file, short
from cnn_rnn.data.photos.disk_layout import SPLITS, abbreviate
from cnn_rnn.data.reading import Reading, listed, word_of

from .cells import Meanings

FILE_NAMES = frozenset(
    {"filename", "file", "image", "imagename", "imagepath", "filepath", "path", "img", "imageid", "imageindex",
     "photo", "picture", "imagefile", "imgpath", "imgname", "imagefilename"}
)  # fmt: skip
LABEL_NAME = re.compile(
    r"(^|[\s_.])(labels?|tags?|class|classes|keywords?|categor(y|ies)|choices?|label_?names?|concepts?)$", re.IGNORECASE
)
SPLIT_NAMES = frozenset({"split", "subset", "partition"})
SPLIT_FLAGS = {"isvalid": "validation", "isval": "validation", "istest": "test", "istrain": "train"}
SPLIT_WORDS = {word: split for split, words in SPLITS.items() for word in words}
CONFIDENCE = frozenset({"confidence"})
NAMELESS = re.compile(r"(Unnamed: \d+|__index_level_\d+__)?")  # what pandas calls the numbers of rows
NOBODY = "none"
MAY_BE_CLASSES = ("unknown", "difficult")  # columns so called may list labels, or say yes or no of a class


@dataclass
class Roles:
    """What the columns of a table are.

    Attributes:
        file: The photo's file.
        labels: Those of names of labels; none where `classes` hold them.
        classes: Those of yes and no, one a class.
        image_id: Unique names of the photos.
        split: The split, or a flag such as is_valid.
        not_labels: Labels that are verified absent.
        unknown: Labels that nobody looked for.
        difficult: Labels that it shows, but not plainly.
        confidence: How sure the row's label is.
        notes: What was found out, for people.
    """

    file: str
    labels: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    image_id: str | None = None
    split: str | None = None
    not_labels: str | None = None
    unknown: str | None = None
    difficult: str | None = None
    confidence: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def lists(self) -> dict[str, str]:
        """The columns of labels that are not the photo's, each with what they are there."""
        kinds = {self.not_labels: "absent", self.unknown: "unknown", self.difficult: "difficult"}
        return {column: kind for column, kind in kinds.items() if column is not None}


def find_roles(table: RawTable, reading: Reading, class_names: Sequence[str] | None, image: str | None = None) -> Roles:
    """What the columns are; `image` is that of the images where they lie inside, which is none of the table's.

    Raises:
        ValueError: A setting names no column, no column or several could be meant; what is there is told.
    """
    named = reading.roles
    for role, told in named.items():
        lacking = [one for one in listed(told) if one not in (NOBODY, image) and one not in table.columns]
        if lacking:
            raise ValueError(
                f"{table.path}: data.columns: {role} is {lacking[0]!r}, but the columns are {table.shown()}"
            )
    usual = {
        "image_id": ("image_id",),
        "confidence": [name for name in table.columns if name.lower() in CONFIDENCE],
        "not_labels": ("not_labels", "not_label"),
        "unknown": ("unknown", "unknown_labels"),
        "difficult": ("difficult",),
    }
    meanings = Meanings(reading)
    roles = Roles(file=image or named.get("file") or _file_column(table))
    for role, names in usual.items():
        found = [named[role]] if role in named else [one for one in names if one in table.columns and one != roles.file]
        if role in MAY_BE_CLASSES and role not in named:
            found = [name for name in found if not _may_be_class(table, name, meanings)]
        setattr(roles, role, None if not found or found[0] in (None, NOBODY) else str(found[0]))
    roles.split = split_column(table, named, class_names, roles.file)
    own = {roles.file, *(getattr(roles, role) for role in ("split", *usual))} - {None}
    roles.labels, roles.classes = named.get("labels", []), named.get("classes", [])
    if not roles.labels and not roles.classes:
        others = [name for name in table.columns if name not in own and not NAMELESS.fullmatch(name)]
        roles.labels, roles.classes = _find_labels(table, others, reading, class_names)
    unread = [name for name in table.columns if name not in own.union(roles.labels, roles.classes)] + table.others
    told = f"labels by column {', '.join(map(repr, roles.labels))}"
    told = told if roles.labels else f"{len(roles.classes)} columns of yes and no"
    roles.notes = [f"photos by column {roles.file!r}, {told}"]
    roles.notes += [f"{kind} labels by column {column!r}" for column, kind in roles.lists.items()]
    roles.notes += [f"split by column {roles.split!r}"] if roles.split else []
    if unread:
        more = " ..." if len(unread) > 8 else ""
        roles.notes.append(f"columns not read: {', '.join(map(repr, unread[:8]))}{more}")
    return roles


def plain(name: str) -> str:
    """A column's name without case and marks."""
    return re.sub(r"[\W_]", "", name).casefold()


def _file_column(table: RawTable) -> str:
    """The column that names the photos, by its own name or its cells; ValueError where none or several could."""
    if "file_name" in table.columns:
        return "file_name"
    by_cell = [name for name, cells in table.columns.items() if all(map(is_file, cells))]
    by_name = [name for name in table.columns if plain(name) in FILE_NAMES]
    if not by_cell and not by_name:
        by_name = [name for name in table.columns if plain(name) in {"id", "idcode"}]
    for found in (by_cell, by_name):
        if len(found) == 1:
            return found[0]
        if found:
            ways = " or ".join(f"{name!r} ({short(table.columns[name][0])})" for name in found)
            raise ValueError(
                f"{table.where(0)}: the photo may be {ways}: data.columns "
                f"'{{file: {found[0]}}}' or '{{file: {found[1]}}}' decides"
            )
    raise ValueError(
        f"{table.path}: no column 'file_name' or another that names photos; the columns are {table.shown()}: "
        "data.columns '{file: COLUMN, labels: COLUMN}' names them"
    )


def split_column(table: RawTable, named: Mapping[str, Any], class_names: Sequence[str] | None, file: str) -> str | None:
    """The column of that role, or whose name or every cell tells of splits; None without one."""
    if "split" in named:
        return None if named["split"] in (None, NOBODY) else str(named["split"])
    found = [name for name in table.columns if tells_splits(name) and name not in (class_names or ())]
    if not found:
        taken = {file, *(one for told in named.values() for one in listed(told))}
        found = [name for name, cells in table.columns.items() if name not in taken and _names_splits(name, cells)]
    if len(found) > 1:
        raise ValueError(
            f"{table.path}: {' and '.join(map(repr, found))} could both tell the split: data.columns "
            f"'{{split: {found[0]}}}' decides"
        )
    return found[0] if found else None


def tells_splits(name: str) -> bool:
    """Whether a column is called as one that tells splits is."""
    return plain(name) in SPLIT_NAMES | SPLIT_FLAGS.keys()


def _names_splits(name: str, cells: Sequence[Any]) -> bool:
    """Whether each cell of a column that is not called like one of labels names a split, and not all the same."""
    if LABEL_NAME.search(name):
        return False
    told = {SPLIT_WORDS.get(cell.strip().casefold()) if isinstance(cell, str) else None for cell in cells}
    return len(told) > 1 and None not in told


def _find_labels(
    table: RawTable, others: list[str], reading: Reading, class_names: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The one column of labels, or the columns that are a class each; ValueError where neither can be told."""
    if "labels" in others:
        return ["labels"], []
    if class_names and all(name in table.columns for name in class_names):
        return [], list(class_names)
    meanings = Meanings(reading)
    flags = [name for name in others if are_flags(table.columns[name], meanings)]
    by_name = [name for name in others if LABEL_NAME.search(name) and (name not in flags or len(flags) == 1)]
    flags = [name for name in flags if name not in by_name]
    lists = [name for name in others if all(isinstance(cell, list) for cell in table.columns[name])]
    holders = by_name or (lists if len(lists) == 1 and not flags else [])
    if holders and (flags or len(holders) > 1):
        ways = [f"'{{labels: {name}}}'" for name in holders]
        ways += [f"'{{classes: [{', '.join(flags[:4])}{', ...' if len(flags) > 4 else ''}]}}'"] if flags else []
        told = ", ".join(f"{name!r} ({short(table.columns[name][0])})" for name in [*holders, *flags[:3]])
        raise ValueError(f"{table.where(0)}: labels may be in {told}: data.columns {' or '.join(ways)} decides")
    if holders:
        return holders, []
    lacking = [name for name in class_names or () if name not in others]
    if lacking or not others:
        classes = f": there is no column for the classes {abbreviate(lacking)}" if lacking else ""
        raise ValueError(
            f"{table.path} has neither a column 'labels' nor one 0/1 column per class{classes}; its columns are "
            f"{table.shown()}: data.columns '{{labels: COLUMN}}' names it, '{{classes: [COLUMN, ...]}}' "
            "those of yes and no"
        )
    return [], others  # each cell is checked; a column that is no class is named with its line


def _may_be_class(table: RawTable, name: str, meanings: Meanings) -> bool:
    """Whether a column called `unknown` or `difficult` says yes or no, and lists no labels."""
    cells = table.columns[name]
    return are_flags(cells, meanings) and (table.is_text or any(cell is not None for cell in cells))


def are_flags(cells: Sequence[Any], meanings: Meanings) -> bool:
    """Whether each cell of a column is blank or says yes, no or unknown."""
    return all(
        cell is None or word_of(word := str(cell)) in {"", "nan", "-1"} or meanings[word] is not None for cell in cells
    )
