"""Tables as spreadsheets write them: line ends of any system, open quotes, formulas, and the errors of formulas."""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest
from datasets import Dataset

from cnn_rnn.commands import data as data_command
from cnn_rnn.data import label_names, load_source


def labels_of(path: Path, **settings: object) -> list[list[str]]:
    from cnn_rnn.data import Reading

    rows = load_source("table", path, split="train", reading=Reading(**settings))  # type: ignore[arg-type]
    assert isinstance(rows, Dataset)
    names = label_names(rows)
    return [[names[label] for label in row] for row in rows["labels"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    return tmp_path


def book(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    workbook = openpyxl.Workbook()
    assert workbook.active is not None
    for row in rows:
        workbook.active.append(list(row))
    workbook.save(path)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r"], ids=["unix", "windows", "mac", "mac with blank lines"])
@pytest.mark.parametrize("mark", [",", "\t", ";"], ids=["comma", "tab", "semicolon"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_of_any_system_are_lines(folder: Path, end: str, mark: str, encoding: str) -> None:
    lines = [mark.join(cells) for cells in (("file_name", "labels"), ("0.jpg", "cat"), ("1.jpg", '"dog"'))]
    (folder / "a.tsv").write_bytes(end.join([*lines, ""]).encode(encoding))
    assert labels_of(folder / "a.tsv") == [["cat"], ["dog"]]


def test_mixed_line_ends_and_excels_own_first_line(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"sep=;\rfile_name;labels\r0.jpg;cat\n1.jpg;dog\r\n2.jpg;cat")
    assert labels_of(folder / "a.csv") == [["cat"], ["dog"], ["cat"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"file_name,labels\n0.jpg,cat\n', "line 1: .*double quote left open"),
        ('file_name,labels\n0.jpg,cat\n1.jpg,"dog\n2.jpg,cat\n', "line 3: .*double quote left open"),
        (f"file_name,labels,{'x' * 140_000}\n0.jpg,cat,a\n", "line 1: field larger than field limit"),
        (f"file_name,labels\n0.jpg,cat\n1.jpg,{'x' * 140_000}\n", "line 3: field larger than field limit"),
        ('file_name,labels\r0.jpg,"cat"s\r', "line 2: "),
        ("cat,c\u00adat\n0.jpg,1,0\n", "column 'cat' comes twice"),
    ],
    ids=["quote in the header", "quote in a row", "long header", "long cell", "sign after a quote", "twins"],
)
def test_what_is_no_row_is_refused_in_one_line(
    folder: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text.startswith("cat"):
        text = f"file_name,{text}"
    (folder / "a.csv").write_text(text, newline="")
    assert data_command.main(["look", str(folder / "a.csv")]) == 2
    err = capsys.readouterr().err
    assert re.search(told, err)
    assert err.count("\n") == 1


def test_the_line_of_a_wrong_byte_is_told_in_a_macs_file(folder: Path) -> None:
    (folder / "a.csv").write_bytes("file_name,labels\r0.jpg,caf\u00e9\r1.jpg,dog\r".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.csv, line 2: byte 0xe9 .* reads '0\.jpg,caf\u00e9'"):
        labels_of(folder / "a.csv")


def test_a_formula_that_nobody_worked_out_is_refused_by_its_cell(folder: Path) -> None:
    path = book(folder / "a.xlsx", [("file_name", "labels"), ("0.jpg", "cat"), ("1.jpg", '=IF(TRUE,"dog","")')])
    with pytest.raises(ValueError, match=r"a\.xlsx, cell B3: a formula whose value is not in the file; open and save"):
        labels_of(path)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('<c r="B3" t="str"><f>A1&amp;""</f><v>dog</v></c>', ["dog"]),
        ('<c r="B3" t="str"><f>IF(1,"","dog")</f><v></v></c>', []),
        ('<c r="B3"><f>A1</f><v/></c>', None),
        ('<c r="B3" s="1"><f t="shared" si="0"/></c>', None),
    ],
    ids=["worked out", "worked out as empty", "no value", "shared, no value"],
)
def test_formulas_as_programs_write_them(folder: Path, cell: str, value: list[str] | None) -> None:
    from zipfile import ZipFile

    plain = book(folder / "plain.xlsx", [("file_name", "labels"), ("0.jpg", "cat"), ("1.jpg", "HERE")])
    path = folder / "a.xlsx"
    with ZipFile(plain) as source, ZipFile(path, "w") as target:
        for name in source.namelist():
            part = source.read(name).decode()
            if name.startswith("xl/worksheets/"):
                part = re.sub(r'<c r="B3"[^>]*>.*?</c>', lambda _: cell, part)
            target.writestr(name, part)
    if value is None:
        with pytest.raises(ValueError, match="cell B3: a formula whose value is not in the file"):
            labels_of(path)
    else:
        assert labels_of(path) == [["cat"], value]


ERRORS = ["#N/A", "#NV", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#ERROR!", "Err:502"]


@pytest.mark.parametrize("word", ERRORS)
def test_an_error_of_a_spreadsheet_is_no_label(folder: Path, word: str) -> None:
    path = folder / "a.csv"
    path.write_text(f"file_name,labels\n0.jpg,cat\n1.jpg,{word}\n2.jpg,cat|{word}\n")
    with pytest.raises(ValueError, match=rf"a\.csv, line 3: '{re.escape(word)}' is what a spreadsheet shows"):
        labels_of(path)
    path.write_text(f"file_name,labels\n0.jpg,cat\n1.jpg,{word}\n2.jpg,#winter!\n")
    assert labels_of(path, unknown=word) == [["cat"], [], ["#winter!"]]
    assert labels_of(path, class_names=["cat", word, "#winter!"]) == [["cat"], [word], ["#winter!"]]


def test_an_error_in_a_cell_of_excel_is_told_with_its_row(folder: Path) -> None:
    path = book(folder / "a.xlsx", [("file_name", "labels"), ("0.jpg", "cat"), ("1.jpg", "#N/A")])
    with pytest.raises(ValueError, match=r"a\.xlsx, row 3: '#N/A' is what a spreadsheet shows"):
        labels_of(path)


@pytest.mark.parametrize("moment", [dt.datetime(2026, 3, 1), dt.time(3, 1)], ids=["date", "time"])  # noqa: DTZ001
def test_a_date_that_excel_made_of_a_word_is_no_label_and_no_column(folder: Path, moment: object) -> None:
    rows = [("file_name", "labels"), ("0.jpg", "cat|dog"), ("1.jpg", moment)]
    with pytest.raises(ValueError, match=r"a\.xlsx, row 3: .* is a date or a time, as spreadsheets make it"):
        labels_of(book(folder / "a.xlsx", rows))
    with pytest.raises(ValueError, match=r"b\.xlsx, row 1: a column is called by the date or time"):
        labels_of(book(folder / "b.xlsx", [("file_name", moment, "dog"), ("0.jpg", 1, 0)]))
    dated = [("file_name", "taken", "labels"), ("0.jpg", moment, "cat"), ("1.jpg", moment, "dog")]
    assert labels_of(book(folder / "c.xlsx", dated)) == [["cat"], ["dog"]]  # in a column of its own it is nobody's


def test_rows_of_marks_alone_are_blank_lines(folder: Path) -> None:
    (folder / "a.csv").write_text("file_name,labels\n,\n0.jpg,cat\n , \n1.jpg,\n,\n,\n")
    assert labels_of(folder / "a.csv") == [["cat"], []]
