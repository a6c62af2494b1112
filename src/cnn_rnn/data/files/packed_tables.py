"""Rows of Excel and Parquet files, which are packed: a small one may unpack to any size, so that is asked first."""

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.broken_files import told_as_broken

from .nested_rows import table_of_rows
from .raw_table import COMMENT, RawTable, check_header, short
from .unpacking import ArchiveTally

MOST_EXCEL_BYTES = 2**30  # unpacked; a full sheet, 1,048,576 rows of a file and a few labels, has some 200 MB
MOST_PARQUET_BYTES = 2**31  # of cells; a million rows of thirty labels have some 300 MB
MOST_ROWS = 1_048_576  # of a sheet, as Excel has it
MOST_CELLS = 100_000_000  # of a sheet, empty ones too
NO_PARQUET = "is no readable Parquet file"
UNCALCULATED = re.compile(  # a formula without a value, but for a text that is empty
    rb'<(?:\w+:)?c (?![^>]*\bt="str")[^>]*?\br="([A-Z]+[0-9]+)"[^>]*>\s*'
    rb"<(?:\w+:)?f\b[^>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
MERGED = re.compile(rb'<mergeCell ref="([A-Z0-9:]+)"')


def read_parquet(path: Path, reading: Reading) -> RawTable:
    """The rows of a Parquet file; errors as of `parquet_rows`."""
    del reading  # cells are typed
    return table_of_rows(path, "row", parquet_rows(path))


def read_excel(path: Path, reading: Reading) -> RawTable:
    """The one sheet with cells, its first filled row the header; ValueError where cells have no named column."""
    del reading  # cells are typed, and parted by the file
    title, rows = excel_rows(path)
    line, header = next(rows)
    moment = next((name for name in header if isinstance(name, dt.date | dt.time)), None)
    if moment is not None:
        raise ValueError(f"{path}, row {line}: a column is called by the date or time {moment}; make the cell a text")
    names = [str(name).strip() if name is not None else "" for name in header]
    while names and not names[-1]:
        names.pop()
    check_header(path, line, names)
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


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, counted from 1, and cells by column of each row of a Parquet file.

    Raises:
        ValueError: It is none, or has more cells than memory should hold.
    """
    number = size = 0
    with told_as_broken(path, NO_PARQUET), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1024):
            size += batch.nbytes
            if size > MOST_PARQUET_BYTES:
                raise ValueError(
                    f"{path}: the first {number + len(batch):,} of {file.metadata.num_rows:,} rows have {size:,} "
                    f"bytes of cells, of at most {MOST_PARQUET_BYTES:,}; keep only the columns of files and labels"
                )
            for row in batch.to_pylist():
                number += 1
                yield number, row


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column is of encoded images: bytes, or structs of bytes and a path, as `datasets` writes them."""
    if pa.types.is_struct(kind):
        return any(part.name == "bytes" and holds_bytes(part.type) for part in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file and their types; ValueError where it is none, or has no rows."""
    with told_as_broken(path, NO_PARQUET):
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    if not metadata.num_rows:
        raise ValueError(f"{path} has no rows")
    return schema


def excel_rows(path: Path) -> tuple[str, Iterator[tuple[int, tuple[Any, ...]]]]:
    """The title of the one sheet with cells, and number and cells of each of its rows that is not empty.

    Raises:
        ImportError: openpyxl is not installed.
        ValueError: It is no Excel file, too large, has several such sheets, merged cells, or formulas without values.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ImportError(f"{path}: reading Excel files needs openpyxl: pip install 'cnn-rnn[data]'") from error
    with told_as_broken(path, "is no readable Excel file"):
        _check_parts(path)
        book = load_workbook(path, read_only=True, data_only=True)
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # a sheet may have more cells than it says
    sheets = [sheet for sheet in book.worksheets if next(_filled_rows(path, sheet), None)]
    if len(sheets) != 1:
        named = ", ".join(repr(sheet.title) for sheet in sheets) or "none"
        raise ValueError(f"{path}: expected one sheet with cells, found {len(sheets)} ({named}); keep one of them")
    return sheets[0].title, _filled_rows(path, sheets[0])


def _check_parts(path: Path) -> None:
    """Refuse a workbook that unpacks to too much, with merged cells or with formulas that nobody worked out.

    Of merged cells all but the first are empty: they would say "no label".
    """
    with ZipFile(path) as parts:
        tally = ArchiveTally(str(path), None, MOST_EXCEL_BYTES)
        for part in parts.infolist():
            tally.add(part.filename, part.file_size)
        for name in parts.namelist():
            sheet = parts.read(name) if name.startswith("xl/worksheets/") else b""
            if found := MERGED.search(sheet):
                raise ValueError(
                    f"{path}: the cells {found[1].decode()} are merged, so that only the first of them has a value; "
                    "unmerge them and fill in each"
                )
            if found := UNCALCULATED.search(sheet):
                raise ValueError(
                    f"{path}, cell {found[1].decode()}: a formula whose value is not in the file; open and save the "
                    "file with a spreadsheet program, which works it out, or write the value in its place"
                )


def _filled_rows(path: Path, sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Number and cells of each row that is not empty; ValueError where there are too many."""
    cells = 0
    with told_as_broken(path, f"has a sheet {sheet.title!r} that cannot be read"):
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells += len(row)
            if number > MOST_ROWS or cells > MOST_CELLS:
                raise ValueError(
                    f"{path}, row {number}: expected at most {MOST_ROWS:,} rows, {MOST_CELLS:,} cells; save it as CSV"
                )
            if any(cell is not None for cell in row):
                yield number, row
