"""JSON lines: names are whatever a disk has, and what is no row is named by its line."""

import json
from pathlib import Path

import pytest

from cnn_rnn.app.saved_labels import read_saved, write_saved
from cnn_rnn.data import load_image_folder
from cnn_rnn.foundation.json_lines import read_json, read_json_lines
from cnn_rnn.prediction.answers import read_answers

SIGNS = [
    "\u2028",
    "\u2029",
    "\u0085",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\r",
    "\n",
    "\t",
    "\ufeff",
    "\u200b",
    '"',
    "\\",
]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_a_name_of_any_sign_is_one_name_for_page_training_and_known(tmp_path: Path, sign: str, mark: str) -> None:
    name = f"a{sign}b.jpg"
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / name).write_bytes(b"x")
    (folder / "c.jpg").write_bytes(b"x")
    write_saved(folder, {name: ["cat"], "c.jpg": []})
    written = folder / "metadata.jsonl"
    written.write_bytes(mark.encode() + written.read_bytes())
    assert read_saved(folder).labels == {name: ["cat"], "c.jpg": []}
    write_saved(folder, {"c.jpg": ["cat"]})  # once more, whatever stood there
    assert read_saved(folder).labels == {name: ["cat"], "c.jpg": ["cat"]}
    rows = load_image_folder(tmp_path, "train")
    assert sorted(rows["image_id"]) == sorted([name, "c.jpg"])
    known = tmp_path / "known.jsonl"
    line = json.dumps({"image_id": name, "known": {"cat": True}}, ensure_ascii=False)
    known.write_bytes(f"{mark}{line}\r\n\r\n".encode())
    assert read_answers(known, [name], ["cat"]) == {name: {"cat": True}}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[1]", "line 2: expected an object such as ROW"),
        ("{", "line 2 is not JSON"),
        ('{"a": 1, "a": 2}', "line 2 is not JSON: 'a' stands there twice"),
        ("[" * 100_000, "line 2 is nested too deep"),
        (f'{{"a": {"9" * 5000}}}', "line 2 is not JSON"),
    ],
    ids=["list", "open", "twice", "deep", "long number"],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(ValueError, match=told):
        list(read_json_lines(path, "ROW"))


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl is not UTF-8 .*save it as UTF-8"):
        list(read_json_lines(tmp_path / "a.jsonl", "ROW"))
    assert read_json('{"a": [1, {"b": 2}]}') == {"a": [1, {"b": 2}]}
