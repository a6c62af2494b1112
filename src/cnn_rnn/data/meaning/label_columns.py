"""Which column names the photo, which hold labels: found out from names and cells, told, and decided by settings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cnn_rnn.data.files.raw_table import RawTable, is_file, short
from cnn_rnn.data.reading import Reading, listed

FILE_NAMES = frozenset(
    {"filename", "file", "image", "imagename", "imagepath", "filepath", "path", "img", "imageid", "imageindex",
     "photo", "picture", "imagefile", "imgpath", "imgname", "imagefilename"}
)  # fmt: skip
LABEL_NAME = re.compile(
    r"(^|[\s_.])(labels?|tags?|class|classes|keywords?|categor(y|ies)|choices?|label_?names?|concepts?)$", re.IGNORECASE
)
SPLIT_NAMES = frozenset({"split", "subset", "partition"})
SPLIT_FLAGS = {"isvalid": "validation", "isval": "validation", "istest": "test", "istrain": "train"}
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
CONFIDENCE = frozenset({"confidence"})
NOT_LABELS, UNKNOWN = ("not_labels", "not_label"), ("unknown", "unknown_labels")
NOBODY = "none"


@dataclass
class Roles:
    """What the columns of a table are.

    Attributes:
        file: The photo's file.
        labels: Names of labels; None where `classes` hold them.
        more_labels: Further columns of them.
        classes: Columns of yes and no, one a class.
        image_id: Unique names of the photos.
        split: The split, or a flag such as is_valid.
        not_labels: Labels that are verified absent.
        unknown: Labels that nobody looked for.
        confidence: How sure the row's label is.
        unread: Columns that are not read.
        notes: What was found out, for people.
    """

    file: str
    labels: str | None = None
    more_labels: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    image_id: str | None = None
    split: str | None = None
    not_labels: str | None = None
    unknown: str | None = None
    confidence: str | None = None
    unread: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_roles(table: RawTable, reading: Reading, class_names: Sequence[str] | None) -> Roles:
    """What the columns are.

    Raises:
        ValueError: A setting names no column, no column or several could be meant; what is there is told.
    """
    named = _named(table, reading)
    roles = Roles(file=named.get("file") or _file_column(table))
    roles.image_id = _optional(table, named, "image_id", ("image_id",), {roles.file})
    roles.split = _optional(table, named, "split", ()) or _split_column(table, named, class_names, roles.file)
    roles.confidence = _optional(table, named, "confidence", [n for n in table.columns if n.lower() in CONFIDENCE])
    roles.not_labels = _optional(table, named, "not_labels", NOT_LABELS)
    roles.unknown = _optional(table, named, "unknown", UNKNOWN if not table.is_text else UNKNOWN[1:])
    own = {roles.file, roles.image_id, roles.split, roles.confidence, roles.not_labels, roles.unknown} - {None}
    others = [name for name in table.columns if name not in own]
    if named.get("classes"):
        roles.classes = listed(named["classes"])
    elif named.get("labels"):
        roles.labels, *roles.more_labels = listed(named["labels"])
    else:
        _find_labels(table, roles, others, reading, class_names)
    used = own | {roles.labels, *roles.more_labels} | set(roles.classes or ())
    roles.unread = [name for name in table.columns if name not in used]
    told = (
        f"labels by column {', '.join(map(repr, [roles.labels, *roles.more_labels]))}"
        if roles.labels
        else f"{len(roles.classes or ())} columns of yes and no"
    )
    roles.notes = [f"photos by column {roles.file!r}, {told}"]
    roles.notes += [f"split by column {roles.split!r}"] if roles.split else []
    if roles.unread:
        roles.notes.append(
            f"columns not read: {', '.join(map(repr, roles.unread[:8]))}{' ...' if len(roles.unread) > 8 else ''}"
        )
    return roles


def _named(table: RawTable, reading: Reading) -> dict[str, Any]:
    """The columns by role as the settings name them; ValueError where the table lacks one."""
    for role, name in reading.columns.items():
        for one in name if isinstance(name, list) else [name]:
            if one is not None and one != NOBODY and one not in table.columns:
                raise ValueError(f"{table.path}: data.columns: {role} is {one!r}, but the columns are {table.shown()}")
    return dict(reading.columns)


def _optional(
    table: RawTable, named: dict[str, Any], role: str, usual: Sequence[str], but: Any = frozenset()
) -> str | None:
    """The column of a role as the settings name it, or by one of its usual names; None where there is none."""
    if role in named:
        return None if named[role] in {None, NOBODY} else str(named[role])
    return next((name for name in usual if name in table.columns and name not in but), None)


def plain(name: str) -> str:
    """A column's name without case and marks."""
    return re.sub(r"[\W_]", "", name).casefold()


def _file_column(table: RawTable) -> str:
    """The column that names the photos, by its own name or its cells; ValueError where none or several could."""
    if "file_name" in table.columns:
        return "file_name"
    by_cell = [name for name in table.columns if all(is_file(cell) for _, cell in table.cells(name))]
    by_name = [name for name in table.columns if plain(name) in FILE_NAMES]
    if not by_cell and not by_name:
        by_name = [name for name in table.columns if plain(name) in {"id", "idcode"}]
    for found in (by_cell, by_name):
        if len(found) == 1:
            return found[0]
        if found:
            first = table.rows[0][1]
            ways = " or ".join(f"{name!r} ({short(first.get(name))})" for name in found)
            raise ValueError(
                f"{table.where(table.rows[0][0])}: the photo may be {ways}: data.columns "
                f"'{{file: {found[0]}}}' or '{{file: {found[1]}}}' decides"
            )
    raise ValueError(
        f"{table.path}: no column 'file_name' or another that names photos; the columns are {table.shown()}: "
        "data.columns '{file: COLUMN, labels: COLUMN}' names them"
    )


def _split_column(table: RawTable, named: dict[str, Any], class_names: Sequence[str] | None, file: str) -> str | None:
    """The column whose name, or every cell, tells of splits; None without one, or where the settings decide."""
    if "split" in named:
        return None
    found = [
        name
        for name in table.columns
        if (plain(name) in SPLIT_NAMES or plain(name) in SPLIT_FLAGS) and name not in (class_names or ())
    ]
    if not found:
        labels = {file, *(one for name in named.values() for one in listed(name))}
        found = [name for name in table.columns if name not in labels and _tells_splits(table, name)]
    if len(found) > 1:
        raise ValueError(
            f"{table.path}: {' and '.join(map(repr, found))} could both tell the split: data.columns "
            f"'{{split: {found[0]}}}' decides"
        )
    return found[0] if found else None


def _tells_splits(table: RawTable, name: str) -> bool:
    """Whether each cell of a column that is not called like one of labels names a split, and not all the same."""
    if LABEL_NAME.search(name):
        return False
    told = {SPLIT_WORDS.get(str(cell).strip().casefold()) for _, cell in table.cells(name)}
    return len(told) > 1 and None not in told


def _find_labels(
    table: RawTable, roles: Roles, others: list[str], reading: Reading, class_names: Sequence[str] | None
) -> None:
    """Enter in `roles` the column of labels, or the columns that are a class each; else ValueError."""
    if "labels" in others:
        roles.labels = "labels"
        return
    if class_names and all(name in table.columns for name in class_names):
        roles.classes = list(class_names)
        return
    by_name = [name for name in others if LABEL_NAME.search(name)]
    flags = [name for name in others if _is_flags(table, name, reading)]
    by_name = [name for name in by_name if name not in flags or len(flags) == 1]
    flags = [name for name in flags if name not in by_name]
    lists = [name for name in others if all(isinstance(cell, list) for _, cell in table.cells(name))]
    texts = by_name or (lists if len(lists) == 1 and not flags else [])
    if len(texts) == 1 and not flags:
        roles.labels = texts[0]
    elif texts and (flags or len(texts) > 1):
        ways = [f"'{{labels: {name}}}'" for name in texts]
        ways += [f"'{{classes: [{', '.join(flags[:4])}{', ...' if len(flags) > 4 else ''}]}}'"] if flags else []
        number, first = table.rows[0]
        shown = ", ".join(f"{name!r} ({short(first.get(name))})" for name in [*texts, *flags[:3]])
        raise ValueError(f"{table.where(number)}: labels may be in {shown}: data.columns {' or '.join(ways)} decides")
    elif not others:
        raise ValueError(
            f"{table.path} has neither a column 'labels' nor one 0/1 column a class; its columns are "
            f"{', '.join(table.columns)}: data.columns '{{labels: COLUMN}}' names it"
        )
    else:
        roles.classes = others  # each cell is checked; a column that is no class is named with its line


def _is_flags(table: RawTable, name: str, reading: Reading) -> bool:
    """Whether each cell of a column is blank or says yes, no or unknown."""
    cells = [cell for _, cell in table.cells(name)]
    meant = [reading.word_meaning(cell) for cell in cells]
    known = [meaning for meaning in meant if meaning is not None]
    blank = sum(cell is None or str(cell).strip() in {"", "-1", "-1.0"} for cell in cells)
    return bool(known or blank) and len(known) + blank >= len(cells)
