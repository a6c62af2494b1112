"""Files of rows as they are written: text tables, JSON lines, Excel and Parquet, nothing in them interpreted yet."""

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_rnn.data.photos.photo_suffixes import is_photo_name
from cnn_rnn.data.reading import MARK_NAMES, Reading, mark_of, told_mark
from cnn_rnn.foundation.file_kinds import kind_of
from cnn_rnn.foundation.json_lines import objects_of_lines
from cnn_rnn.foundation.nearest_names import as_seen

from .json_values import without_nesting
from .packed_tables import excel_rows, parquet_rows

TEXT_TABLES = frozenset({".csv", ".tsv", ".txt"})
JSON_LINES = frozenset({".jsonl", ".ndjson"})
TABLES = TEXT_TABLES | JSON_LINES | {".json", ".xlsx", ".parquet", ".xml"}
DELIMITERS = ",;\t|"
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
OLD_ENCODINGS = ("cp1252", "latin2")
COMMENT = "; where it is a title or a comment, remove what stands above the names of the columns"


@dataclass
class RawTable:
    """Rows of one file as they are written.

    Attributes:
        path: The file.
        unit: What a row is counted in: line, row or entry.
        numbers: Of each row, counted from 1.
        columns: The cells of each column, in the order in which the columns come.
        notes: What was found out about the file, for people.
        class_names: The classes in order, where the format tells them.
        is_text: Whether cells are text that a person or a tool wrote, not typed values.
    """

    path: Path
    unit: str
    numbers: Sequence[int]
    columns: dict[str, list[Any]]
    notes: list[str] = field(default_factory=list)
    class_names: list[str] | None = None
    is_text: bool = False

    def where(self, row: int) -> str:
        """File and line of a row, by its place in the columns, for messages."""
        return f"{self.path}, {self.unit} {self.numbers[row]}"

    def shown(self) -> str:
        """The columns with their first values, for messages."""
        some = ", ".join(f"{name!r} ({short(cells[0])})" for name, cells in list(self.columns.items())[:12])
        return some + (f" and {len(self.columns) - 12} more" if len(self.columns) > 12 else "")


def short(value: Any, most: int = 40) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


Where = Callable[[int], str]  # names a row by its place in the columns


def is_file(cell: Any) -> bool:
    """Whether a cell names an image file."""
    return isinstance(cell, str) and is_photo_name(cell.strip().replace("\\", "/"))


def read_raw(path: Path, reading: Reading) -> RawTable:
    """The rows of a text table, JSON lines, Excel or Parquet file.

    Raises:
        ValueError: It cannot be read, or could be read in two ways; file and line are named.
    """
    suffix = path.suffix.lower()
    if suffix in TEXT_TABLES:
        table = _read_text(path, reading)
    elif suffix in JSON_LINES:
        table = table_of_rows(path, "line", _json_lines(path, reading))
    elif suffix == ".parquet":
        table = table_of_rows(path, "row", parquet_rows(path))
    elif suffix == ".xlsx":
        table = _read_excel(path)
    else:
        raise ValueError(f"{path}: a label file ends in {', '.join(sorted(TABLES))}, not {suffix!r}")
    if not table.numbers:
        raise ValueError(f"{path} has no rows")
    return table


def decode(path: Path, reading: Reading) -> tuple[str, str]:
    """Text and encoding of a file; ValueError with line, byte and the ways to read it where it is no UTF-8."""
    content = path.read_bytes()
    other = kind_of(content)
    if other and content:
        raise ValueError(f"{path} holds no text: it {other}")
    encoding = reading.encoding or next((name for bom, name in BOMS.items() if content.startswith(bom)), "utf-8")
    if not reading.encoding and encoding == "utf-8" and b"\0" in content[:4096]:
        raise ValueError(f"{path}, line 1 holds zero bytes, as UTF-16 without its mark does: data.encoding utf-16-le")
    try:
        return content.decode(encoding), encoding
    except LookupError as error:
        raise ValueError(f"data.encoding {encoding!r} is not known; expected utf-8, cp1252, utf-16, ...") from error
    except UnicodeDecodeError as error:
        mark = b"\n" if b"\n" in content else b"\r"
        line = content.count(mark, 0, error.start) + 1
        start = content.rfind(mark, 0, error.start) + 1
        end = content.find(mark, error.start) % (len(content) + 1)
        raw = content[start : end or len(content)].strip()[:80]
        ways = [f"data.encoding {name} reads {raw.decode(name, 'replace')!r}" for name in OLD_ENCODINGS]
        raise ValueError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not {encoding}; {', '.join(ways)}"
        ) from error


def table_of_rows(path: Path, unit: str, rows: Iterable[tuple[int, dict[str, Any]]]) -> RawTable:
    """The rows as a table; its columns in the order in which rows first name them, those of nested objects dotted."""
    kept = without_nesting(list(rows))
    names = dict.fromkeys(name for _, row in kept for name in row)
    columns = {name: [row.get(name) for _, row in kept] for name in names}
    return RawTable(path, unit, [number for number, _ in kept], columns)


def _json_lines(path: Path, reading: Reading) -> Iterable[tuple[int, dict[str, Any]]]:
    """The object of each line but blank ones, with its number; ValueError that names a line of anything else."""
    text, _ = decode(path, reading)
    yield from objects_of_lines(text.removeprefix("\ufeff"), path, '{"file_name": "a.jpg", "labels": ["cat"]}')


def _read_text(path: Path, reading: Reading) -> RawTable:
    """A text table; its delimiter as the file or a setting tells it, else as found."""
    text, encoding = decode(path, reading)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")  # also of a Mac as it was
    skipped, delimiter = 0, mark_of(reading.delimiter)
    if text[:4].lower() == "sep=":  # Excel's own way to name the delimiter
        first, _, text = text.partition("\n")
        delimiter, skipped = delimiter or first.strip()[4:] or None, 1
    if not text.strip():
        raise ValueError(f"{path} has no rows")
    header = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    _refuse_bare_rows(path, skipped + 1, header, delimiter)
    if delimiter is None:
        delimiter = _found_delimiter(path, text, header)
    elif delimiter not in header:
        raise ValueError(f"{path}, line {skipped + 1}: {header[:80]!r} holds no {told_mark(delimiter)!r} (delimiter)")
    names, numbers, rows = _parse(path, text, delimiter, skipped)
    cells = list(map(list, zip(*rows, strict=True))) or [[] for _ in names]
    # a mark at the end of each line makes a column with neither a name nor a cell
    kept = [index for index, name in enumerate(names) if name.strip() or any(cell.strip() for cell in cells[index])]
    written = [names[index].strip() for index in kept]
    _check_header(path, skipped + 1, written, delimiter)
    notes = [f"{encoding}, cells parted by {told_mark(delimiter)}"]
    if written != [names[index] for index in kept]:
        notes.append("blanks around column names left out")
    columns = {name: cells[index] for name, index in zip(written, kept, strict=True)}
    return RawTable(path, "line", numbers, columns, notes, is_text=True)


def _parse(path: Path, text: str, delimiter: str, skipped: int) -> tuple[list[str], list[int], list[list[str]]]:
    """The header's names, and each row's line and cells; ValueError where they are not as many as the names."""
    header = text.lstrip("\r\n").partition("\n")[0]
    loose = delimiter == " " or (
        f"{delimiter} " in header and delimiter != "\t"
    )  # blanks behind the marks, also before a quoted cell
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=loose)
    names: list[str] = []
    numbers: list[int] = []
    rows: list[list[str]] = []
    begun = 1  # the line on which the row begins
    try:
        for row in reader:
            begun = reader.line_num + 1
            if not any(map(str.strip, row)):  # also the rows of marks alone that spreadsheets leave at the end
                continue
            if not names:
                names = [f" {name}" if loose and index else name for index, name in enumerate(row)]
                continue
            number = reader.line_num + skipped
            if len(row) != len(names):
                raise ValueError(
                    f"{path}, line {number}: expected {len(names)} cells, as the first line has, got {len(row)}: "
                    f"{short(delimiter.join(row), 80)}; put a cell that holds {told_mark(delimiter)} into "
                    f"double quotes{COMMENT if header.startswith('#') else ''}"
                )
            if row[0] == names[0] and [*map(str.strip, row)] == [*map(str.strip, names)]:
                raise ValueError(f"{path}, line {number}: the names of the columns come again; remove this line")
            numbers.append(number)
            rows.append(row)
    except csv.Error as error:
        raise ValueError(_told_csv_error(path, begun + skipped, error)) from error
    return names, numbers, rows


def _told_csv_error(path: Path, line: int, error: csv.Error) -> str:
    """What to say of a row that is none, by the line on which it begins."""
    is_open = "unexpected end" in str(error) or "larger than field limit" in str(error)
    way_out = '; is a double quote left open there? a quote within a cell is written twice, ""' if is_open else ""
    return f"{path}, line {line}: {error}{way_out}"


def _found_delimiter(path: Path, text: str, header: str) -> str:
    """The one mark that parts the header and every row alike."""
    marks = [mark for mark in DELIMITERS if mark in header]
    if not marks and is_file((header.split() or [""])[0]):
        raise ValueError(
            f"{path}, line 1: {header[:80]!r} begins with a photo, not with the name of a column; put file_name,labels "
            "above it, and a comma in place of the blank behind each photo"
        )
    if not marks:
        raise ValueError(
            f"{path}, line 1: {header[:80]!r} is one column; expected columns such as file_name,labels parted by "
            f"{', '.join(map(told_mark, DELIMITERS))}, or name the mark: data.delimiter{COMMENT}"
        )
    if len(marks) == 1:
        return marks[0]
    fitting = []
    for mark in marks:
        try:
            _parse(path, text, mark, 0)
        except ValueError:
            continue
        fitting.append(mark)
    if len(fitting) != 1:
        ways = " or ".join(f"{len(header.split(mark))} columns (data.delimiter {MARK_NAMES[mark]})" for mark in marks)
        raise ValueError(f"{path}, line 1: {header[:80]!r} could be {ways}")
    return fitting[0]


def _refuse_bare_rows(path: Path, line: int, header: str, delimiter: str | None) -> None:
    """Refuse a text table whose first line is a row of a photo, before its cells are counted."""
    for mark in [delimiter] if delimiter else [mark for mark in DELIMITERS if mark in header]:
        try:
            names = next(csv.reader([header], delimiter=mark), [])
        except csv.Error as error:
            raise ValueError(_told_csv_error(path, line, error)) from error
        if any(map(is_file, names)):
            _check_header(path, line, [name.strip() for name in names], mark)


def _check_header(path: Path, line: int, names: Sequence[str], delimiter: str = ",") -> None:
    """Refuse a header that is a row of photos, or that names a column twice."""
    like_a_row = next((name for name in names if is_file(name)), None)
    if like_a_row is not None:
        many = sum(map(is_file, names)) > 1
        turn = "; where photos are columns, turn the table over, so that each is a row" if many else ""
        parted = "" if delimiter == "," else f" (parted by {told_mark(delimiter)}, as the rows are)"
        raise ValueError(
            f"{path}, line {line}: {like_a_row!r} is a photo, not the name of a column; put a first line above it, "
            f"such as {delimiter.join(['file_name', 'labels'])}{parted}, a name for each of the {len(names)} columns"
            f"{turn}"
        )
    if len(set(map(as_seen, names))) < len(names):
        ((twice, _),) = Counter(map(as_seen, names)).most_common(1)
        raise ValueError(f"{path}, line {line}: the column {twice!r} comes twice; rename or remove one of them")


def _read_excel(path: Path) -> RawTable:
    """The one sheet with cells, its first filled row the header; ValueError where cells have no named column."""
    title, rows = excel_rows(path)
    line, header = next(rows)
    moment = next((name for name in header if isinstance(name, dt.date | dt.time)), None)
    if moment is not None:
        raise ValueError(f"{path}, row {line}: a column is called by the date or time {moment}; make the cell a text")
    names = [str(name).strip() if name is not None else "" for name in header]
    while names and not names[-1]:
        names.pop()
    _check_header(path, line, names)
    numbers, cells = [], []
    for number, row in rows:
        beyond = next((cell for cell in row[len(names) :] if cell is not None), None)
        if beyond is not None:
            raise ValueError(
                f"{path}, row {number}: {short(beyond)} stands in a column without a name: row {line} names "
                f"{', '.join(map(repr, names))}; name each column{COMMENT}"
            )
        numbers.append(number)
        cells.append([_excel_text(cell) for cell in [*row, *[None] * (len(names) - len(row))][: len(names)]])
    columns = {name: [row[index] for row in cells] for index, name in enumerate(names)}
    return RawTable(path, "row", numbers, columns, [f"sheet {title!r}"], is_text=True)


def _excel_text(cell: Any) -> str:
    """What a cell shows."""
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
