"""What begins like a formula is text when a spreadsheet opens it."""

import csv
import io

import openpyxl
import pytest

from cnn_rnn.foundation.spreadsheet_rows import inactive, inactive_name, write_rows

FORMULAS = ['=HYPERLINK("http://x","y")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"]  # noqa: RUF001


@pytest.mark.parametrize("cell", FORMULAS, ids=range(len(FORMULAS)))
def test_a_formula_is_text_with_an_apostrophe_before_it(cell: str) -> None:
    lines = io.StringIO(newline="")
    assert write_rows(lines, [["file", "label"], [cell, cell]]) == 2
    lines.seek(0)
    assert list(csv.reader(lines))[1] == [f"'{cell}"] * 2
    sheet = openpyxl.Workbook().active
    assert sheet is not None
    sheet.append([inactive(cell)] if cell.isprintable() else ["'"])
    assert sheet["A1"].data_type == "s"


@pytest.mark.parametrize("cell", ["-0.5", "+1", "-inf", -0.5, 3, "cat", "a=b", "", None, "'=quoted"])
def test_numbers_and_other_texts_stay(cell: object) -> None:
    assert inactive(cell) == cell


def test_a_name_of_a_file_leads_to_the_same_file() -> None:
    assert [inactive_name(name) for name in ("=x.jpg", "@eaDir/x.jpg", "/=x.jpg", "x.jpg")] == [
        "./=x.jpg", "./@eaDir/x.jpg", "/=x.jpg", "x.jpg"
    ]  # fmt: skip
