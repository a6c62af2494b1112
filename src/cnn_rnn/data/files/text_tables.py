"""Text tables: cells parted by a mark that the file or a setting tells, or that alone parts every row alike."""

import csv
import io
from pathlib import Path

from cnn_rnn.data.reading import MARK_NAMES, Reading, mark_of, told_mark

from .raw_table import COMMENT, RawTable, check_header, decode, is_file, short

DELIMITERS = ",;\t|"


def read_text(path: Path, reading: Reading) -> RawTable:
    """A text table; its delimiter as the file or a setting tells it, else as found."""
    text, encoding = decode(path, reading)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")  # also of a Mac as it was
    delimiter = mark_of(reading.delimiter)
    if text[:4].lower() == "sep=":  # Excel's own way to name the delimiter; an empty line stays in its place
        first, mark, rest = text.partition("\n")
        delimiter, text = delimiter or first.strip()[4:] or None, f"{mark}{rest}"
    header = text.lstrip("\n").partition("\n")[0]
    if not text.strip():
        raise ValueError(f"{path} has no rows")
    line = text.index(header) + 1  # above it are empty ones
    for mark in [delimiter] if delimiter else [mark for mark in DELIMITERS if mark in header]:
        _refuse_bare_rows(path, line, header, mark)
    if delimiter is None:
        delimiter = _found_delimiter(path, line, text, header)
    elif delimiter not in header:
        raise ValueError(f"{path}, line {line}: {header[:80]!r} holds no {told_mark(delimiter)!r} (delimiter)")
    names, numbers, rows = _parse(path, text, header, delimiter)
    cells = list(map(list, zip(*rows, strict=True))) or [[] for _ in names]
    # a mark at the end of each line makes a column with neither a name nor a cell
    kept = [index for index, name in enumerate(names) if name.strip() or any(cell.strip() for cell in cells[index])]
    written = [names[index].strip() for index in kept]
    check_header(path, line, written, delimiter)
    notes = [f"{encoding}, cells parted by {told_mark(delimiter)}"]
    if written != [names[index] for index in kept]:
        notes.append("blanks around column names left out")
    columns = {name: cells[index] for name, index in zip(written, kept, strict=True)}
    return RawTable(path, "line", numbers, columns, notes, is_text=True)


def _parse(path: Path, text: str, header: str, delimiter: str) -> tuple[list[str], list[int], list[list[str]]]:
    """The header's names, and each row's line and cells; ValueError where they are not as many as the names."""
    loose = delimiter == " " or (
        f"{delimiter} " in header and delimiter != "\t"
    )  # blanks after the marks, also before a quoted cell
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
            number = reader.line_num
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
        raise ValueError(_told_csv_error(path, begun, error)) from error
    return names, numbers, rows


def _told_csv_error(path: Path, line: int, error: csv.Error) -> str:
    """What to say of a row that is none, by the line on which it begins."""
    is_open = "unexpected end" in str(error) or "larger than field limit" in str(error)
    way_out = '; is a double quote left open there? a quote within a cell is written twice, ""' if is_open else ""
    return f"{path}, line {line}: {error}{way_out}"


def _found_delimiter(path: Path, line: int, text: str, header: str) -> str:
    """The one mark that parts the header and every row alike."""
    marks = [mark for mark in DELIMITERS if mark in header]
    if not marks and is_file((header.split() or [""])[0]):
        raise ValueError(
            f"{path}, line {line}: {header[:80]!r} begins with a photo, not with the name of a column; put "
            "file_name,labels above it, and a comma in place of the blank after each photo"
        )
    if not marks:
        raise ValueError(
            f"{path}, line {line}: {header[:80]!r} is one column; expected columns such as file_name,labels parted by "
            f"{', '.join(map(told_mark, DELIMITERS))}, or name the mark: data.delimiter{COMMENT}"
        )
    if len(marks) == 1:
        return marks[0]
    fitting = []
    for mark in marks:
        try:
            _parse(path, text, header, mark)
        except ValueError:
            continue
        fitting.append(mark)
    if len(fitting) != 1:
        ways = " or ".join(f"{len(header.split(mark))} columns (data.delimiter {MARK_NAMES[mark]})" for mark in marks)
        raise ValueError(f"{path}, line {line}: {header[:80]!r} could be {ways}")
    return fitting[0]


def _refuse_bare_rows(path: Path, line: int, header: str, delimiter: str) -> None:
    """Refuse a text table whose first line is a row of a photo, before its cells are counted."""
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error as error:
        raise ValueError(_told_csv_error(path, line, error)) from error
    if any(map(is_file, names)):
        check_header(path, line, names, delimiter)
