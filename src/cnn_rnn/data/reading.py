"""How a label file is to be read: what a person decides where the file alone could mean two things."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

MARKS = {"comma": ",", "semicolon": ";", "pipe": "|", "space": " ", "tab": "\t", "newline": "\n"}
MARK_NAMES = {mark: name for name, mark in MARKS.items()}
WHOLE = "none"  # as a separator: a cell is one label
ROLES = ("file", "labels", "not_labels", "unknown", "difficult", "classes", "image_id", "split", "confidence")
SEVERAL = frozenset({"labels", "classes"})  # roles that several columns may have
YES = frozenset({"1", "1.0", "true", "yes", "y", "t"})
NO = frozenset({"0", "0.0", "false", "no", "n", "f"})
WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")


@dataclass
class Reading:
    """Settings of `data` that decide what a label file means; None where the file decides.

    Attributes:
        columns: Column by role, such as `{file: image_name, labels: tags}`; the roles are file (or the images), labels,
            not_labels (verified absent), unknown (nobody looked), difficult (not seen plainly), classes (a list of
            columns of yes and no), image_id, split and confidence; `labels` may be a list of columns too, and "none" is
            no column. This and what follows decides where a file could mean two things.
        separator: What parts the labels of a cell: comma, semicolon, pipe, space, tab, newline, another mark, or "none"
            where a cell is one label.
        delimiter: What parts the cells of a text table, likewise.
        encoding: Of a text table, such as cp1252.
        yes: Words that say that a label is there.
        no: Words that say that it is absent.
        unknown: Words that say that nobody knows; in a column of labels, of the whole photo.
        empty: What an empty cell says of its labels.
        unlisted: What a photo's row says of the labels that it does not name.
        no_label: Names that stand for "no label at all", such as NIH's "No Finding".
        numbers: Whether lists of numbers are class ids or a 0 or 1 for each class.
        case: Whether labels that differ in case alone are one class ("ignore") or several ("keep").
        rows: Whether a row is a photo, or one label of a photo.
        least_confidence: From what confidence on a label counts as present; those between 0 and it are unknown.
        class_names: The classes in order.
        image_root: What file names are relative to, seen from the table's own folder.
        system_files: Whether what systems leave among photos (thumbnails, waste bins, hidden folders) is taken in.
    """

    columns: dict[str, Any] | None = None
    separator: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    yes: Any = None
    no: Any = None
    unknown: Any = None
    empty: Literal["absent", "unknown"] | None = None
    unlisted: Literal["absent", "unknown"] | None = None
    no_label: Any = None
    numbers: Literal["ids", "multi_hot"] | None = None
    case: Literal["ignore", "keep"] | None = None
    rows: Literal["photo", "label"] | None = None
    least_confidence: float | None = None
    class_names: list[Any] | None = None
    image_root: str | None = None
    system_files: bool = False

    def __post_init__(self) -> None:
        """Refuse roles that there are not."""
        for role, name in (self.columns or {}).items():
            if role not in ROLES:
                raise ValueError(f"data.columns names the role {role!r}; expected {', '.join(ROLES)}")
            if isinstance(name, list) and role not in SEVERAL:
                raise ValueError(f"data.columns: {role} is {name!r}, expected one column")
        if set(self.columns or ()) >= SEVERAL:
            raise ValueError("data.columns names both labels and classes; expected one: names of labels, or yes and no")
        check_class_names(listed(self.class_names), "data.class_names")

    @property
    def roles(self) -> dict[str, Any]:
        """Column by role; a list of them for the roles that several may have."""
        return {role: listed(name) if role in SEVERAL else name for role, name in (self.columns or {}).items()}

    def given(self) -> list[str]:
        """The settings that differ from the default."""
        return [entry.name for entry in fields(Reading) if getattr(self, entry.name) not in (entry.default, {})]

    def refuse(self, settings: Collection[str], why: str) -> None:
        """Refuse settings that are given but that a source has no use for.

        Raises:
            ValueError: One is given; the message names it.
        """
        given = [f"data.{name}" for name in self.given() if name in settings]
        given += [f"data.columns '{{{role}: ...}}'" for role in self.columns or () if role in settings]
        if given:
            raise ValueError(f"{', '.join(given)}: {why}; leave {'it' if len(given) == 1 else 'them'} out")

    @property
    def names(self) -> list[str] | None:
        """The classes in order, where they are given."""
        return list(map(str, listed(self.class_names))) or None


def mark_of(name: str | None) -> str | None:
    """The mark that a setting names, by word or as it is."""
    return MARKS.get(name, name) if name is not None else None


def told_mark(mark: str) -> str:
    """A mark as a setting would write it."""
    return MARK_NAMES.get(mark, mark)


def listed(value: Any) -> list[Any]:
    """One value, several, or none, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def words(value: Any) -> frozenset[str]:
    """The words of a setting, in lower case; YAML reads a bare yes and no as truth values."""
    found: set[str] = set()
    for one in listed(value):
        found |= {"true", "yes"} if one is True else {"false", "no"} if one is False else {word_of(str(one))}
    return frozenset(found)


def word_of(text: str) -> str:
    """A text as it is compared with words: in lower case, a whole number without a fraction, as pandas gives it one."""
    word = text.strip().casefold()
    number = WHOLE_NUMBER.fullmatch(word)
    return number[1] if number else word


def check_class_names(names: Sequence[Any], told: str) -> None:
    """Refuse names of classes that are none, or that come twice.

    Args:
        names: What a person gave.
        told: Where it stands, for the message.

    Raises:
        ValueError: One is no text or number, is empty, or comes twice.
    """
    wrong = next((one for one in names if isinstance(one, bool) or not isinstance(one, str | int | float)), None)
    if wrong is not None:
        raise ValueError(f"{told} holds {wrong!r}, expected the name of a class: put it in quotes")
    twice = next((name for name, times in Counter(map(str, names)).items() if times > 1), None)
    if twice is not None:
        raise ValueError(f"{told} names {twice!r} twice; a class is named once")
    if any(not str(name).strip() for name in names):
        raise ValueError(f"{told} holds an empty name; expected the names of the classes")
    blank = next((name for name in map(str, names) if name != name.strip()), None)
    if blank is not None:
        raise ValueError(f"{told} holds {blank!r}; take the blanks around it away, labels have none")
