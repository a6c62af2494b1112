"""Excel and Parquet files as label files: every cell is read, and a small file cannot unpack to any size."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cnn_rnn.data.files import packed_tables
from cnn_rnn.data.files.packed_tables import excel_rows, parquet_rows
from cnn_rnn.data.files.unpacking import UnsafeArchiveError

SHEET = "xl/worksheets/sheet1.xml"


def workbook(path: Path, *rows: Sequence[Any]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    book.save(path)
    return path


def with_sheet(path: Path, old: bytes, new: bytes) -> Path:
    """The workbook with other words in its sheet."""
    with zipfile.ZipFile(path) as before:
        parts = {name: before.read(name) for name in before.namelist()}
    assert old in parts[SHEET]
    parts[SHEET] = parts[SHEET].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for name, content in parts.items():
            after.writestr(name, content)
    return path


def test_a_sheet_that_says_to_be_smaller_than_it_is_is_read_whole(tmp_path: Path) -> None:
    rows: list[list[str | None]] = [["file_name", "labels"], ["0.jpg", "cat"], ["1.jpg", None], ["2.jpg", "dog"]]
    path = with_sheet(workbook(tmp_path / "a.xlsx", *rows), b'<dimension ref="A1:B4"', b'<dimension ref="A1:A2"')
    _, found = excel_rows(path)
    assert [(number, [*row, None][:2]) for number, row in found] == list(enumerate(rows, start=1))


def test_a_row_beyond_any_sheet_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ["file_name", "labels"], ["0.jpg", "cat"])
    with_sheet(path, b'<row r="2">', b'<row r="999999999999">')
    _, found = excel_rows(path)
    assert next(found)[1] == ("file_name", "labels")
    with pytest.raises(ValueError, match=r"a\.xlsx, row 1048577: expected at most 1,048,576 rows"):
        next(found)


def test_a_sheet_of_more_cells_than_memory_should_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_tables, "MOST_CELLS", 20_000)
    path = workbook(tmp_path / "a.xlsx", ["file_name", "labels"], ["0.jpg", "cat"], ["1.jpg", "dog"])
    with_sheet(path, b'r="B2"', b'r="XFD2"')  # the last column that Excel has: 16,384
    with_sheet(path, b'r="B3"', b'r="XFD3"')
    with pytest.raises(ValueError, match=r"a\.xlsx, row 3: expected at most .* 20,000 cells; save it as CSV"):
        list(excel_rows(path)[1])


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ["file_name", "labels"])
    with zipfile.ZipFile(path, "a") as parts:
        parts.writestr("xl/bomb.xml", b"small")
        parts.infolist()[-1].file_size = 2**31
    with pytest.raises(
        UnsafeArchiveError, match=r"a\.xlsx: member 'xl/bomb\.xml' makes it .* of at most 1,073,741,824"
    ):
        excel_rows(path)


def test_a_sheet_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ["file_name", "labels"], ["0.jpg", "cat"])
    with pytest.raises(ValueError, match=r"a\.xlsx has a sheet 'Sheet' that cannot be read: "):
        list(excel_rows(with_sheet(path, b"</sheetData>", b""))[1])


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"file_name": [f"{index}.jpg" for index in range(4096)], "labels": ["x" * 10_000] * 4096}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000  # one cell, said 4,096 times
    assert [number for number, _ in parquet_rows(tmp_path / "a.parquet")] == list(range(1, 4097))
    monkeypatch.setattr(packed_tables, "MOST_PARQUET_BYTES", 30_000_000)
    with pytest.raises(ValueError, match=r"a\.parquet: the first 3,072 of 4,096 rows have .* of at most 30,000,000"):
        list(parquet_rows(tmp_path / "a.parquet"))


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"a\.parquet is no readable Parquet file: "):
        list(parquet_rows(tmp_path / "a.parquet"))
