"""JSON from outside: what could mean two things, or cannot be written down again, is refused with its place."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cnn_rnn.data import load_source
from cnn_rnn.data.files.formats import read_label_file
from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.json_lines import read_json


@pytest.mark.parametrize(
    "content", [{"a": {"b": [1, None, True]}}, [], {str(index): index for index in range(100_000)}]
)
def test_honest_json_is_read_as_by_the_library(content: object) -> None:
    text = json.dumps(content)
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"file_name": "0.png", "labels": ["cat"], "labels": ["dog"]}', "'labels' stands there twice"),
        ('{"file_name": "0.png", "labels": [' + "9" * 5000 + "]}", "4300 digits"),
        ('{"file_name": "0.png", "labels": ["\\ud800"]}', r"label '\\ud800' holds half of a character"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_row_that_means_two_things_or_none_is_refused(tmp_path: Path, kind: str, row: str, told: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    path = tmp_path / f"labels.{kind}"
    path.write_text(row if kind == "jsonl" else f"[{row}]", encoding="utf-8")
    named = "" if "half" in told else r"labels\.json.*"
    with pytest.raises(ValueError, match=named + told):
        load_source("table", path, split="train")


def test_very_many_columns_are_read_in_time_that_grows_with_them(tmp_path: Path) -> None:
    """Each compared with each they would take minutes."""
    names = [f"label {index}" for index in range(200_000)]
    (tmp_path / "a.csv").write_text(f"file_name,{','.join(names)}\n0.jpg,{','.join('1' for _ in names)}\n")
    assert list(read_label_file(tmp_path / "a.csv", Reading()).columns) == ["file_name", *names]
