"""JSON: lines of objects, a list of them, labels by file name, COCO's and Label Studio's formats."""

import json
from pathlib import Path
from typing import Any

from cnn_rnn.data.reading import Reading, listed
from cnn_rnn.foundation.json_lines import objects_of_lines, read_json

from .label_studio_exports import read_tasks, region_labels
from .nested_rows import table_of_rows
from .raw_table import RawTable, decode, is_file, short

EXAMPLE_ROW = '{"file_name": "a.jpg", "labels": ["cat"]}'
KNOWN_FORMATS = (
    "expected COCO's (images, annotations, categories), Label Studio's, a list or an object of objects such as "
    f"{EXAMPLE_ROW}, or an object of labels by file name"
)


def read_lines(path: Path, reading: Reading) -> RawTable:
    """The object of each line but blank ones; ValueError that names a line of anything else."""
    text, _ = decode(path, reading)
    return table_of_rows(path, "line", objects_of_lines(text.removeprefix("\ufeff"), path, EXAMPLE_ROW))


def read_document(path: Path, reading: Reading) -> RawTable:
    """The rows of one JSON document, of whichever of the formats that are known.

    Raises:
        ValueError: It is of no such format, or breaks its own rules; file and entry are named.
    """
    text, encoding = decode(path, reading)
    text = text.removeprefix("\ufeff")
    try:
        content = read_json(text)
    except json.JSONDecodeError as error:
        more = error.msg == "Extra data"  # after a whole value
        lines = f"; JSON of a line a row is called {path.stem}.jsonl" if more and "\n" in text.strip() else ""
        raise ValueError(f"{path} is not JSON: {error}{lines}") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep to be a label file") from error
    if isinstance(content, dict) and {"images", "categories"} <= set(content):
        from .coco_json import coco_table

        return coco_table(path, text if encoding != "utf-8" else None)
    if isinstance(content, dict) and content and all(isinstance(value, dict) for value in content.values()):
        return table_of_rows(path, "entry", enumerate(_rows_by_key(content), start=1))
    if isinstance(content, dict):
        return _by_file(path, content)
    if not isinstance(content, list) or not content or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path} holds {short(content)}; {KNOWN_FORMATS}")
    if all("data" in entry and ("annotations" in entry or "completions" in entry) for entry in content):
        return read_tasks(path, content, reading)
    flat = [
        {name: region_labels(cell) for name, cell in one.items()} if "annotation_id" in one else one for one in content
    ]
    return table_of_rows(path, "entry", enumerate(flat, start=1))


def _rows_by_key(content: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an object of objects: by file name, by any other key, as VIA has them, or column by column."""
    if all(map(is_file, content)):
        return [{"file_name": key} | row for key, row in content.items()]
    if any(cells and all(map(is_file, cells.values())) for cells in content.values()):  # as pandas writes a table
        keys = dict.fromkeys(key for cells in content.values() for key in cells)
        return [{name: cells[key] for name, cells in content.items() if key in cells} for key in keys]
    return list(content.values())


def _by_file(path: Path, content: dict[str, Any]) -> RawTable:
    """An object of label lists by file name, or of lists of file names by label."""
    wrong = next(((key, value) for key, value in content.items() if not isinstance(value, list | str)), None)
    if wrong is not None or not content:
        raise ValueError(f"{path}: {short(wrong[0]) if wrong else 'an empty object'} holds no labels; {KNOWN_FORMATS}")
    note, classes = "an object of labels by file name", None
    named = [one for value in content.values() for one in listed(value)]
    if named and all(map(is_file, named)) and not any(map(is_file, content)):
        turned: dict[str, list[str]] = {}
        for label, names in content.items():
            for name in listed(names):
                turned.setdefault(name, []).append(label)
        note, classes, content = "an object of file names by label", list(content), turned
    columns: dict[str, list[Any]] = {"file_name": list(content), "labels": list(content.values())}
    return RawTable(path, "entry", range(1, len(content) + 1), columns, [note], classes)
