"""Label files of annotation tools as rows of a table: COCO's, Label Studio's and plain JSON, CVAT's XML, or a table."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from cnn_rnn.data.reading import Reading, listed
from cnn_rnn.foundation.json_lines import read_json

from .cvat_xml import read_cvat
from .raw_table import RawTable, decode, is_file, read_raw, short, table_of_rows

BOOKKEEPING = frozenset(
    {"id", "annotation_id", "annotator", "lead_time", "created_at", "updated_at"}
)  # of Label Studio
LABEL_KEYS = ("choices", "rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "brushlabels", "labels")
EXPECTED = (
    "expected COCO's (images, annotations, categories), Label Studio's, a list of objects such as "
    '{"file_name": "a.jpg", "labels": ["cat"]}, or an object of labels by file name'
)


def read_annotations(path: Path, reading: Reading) -> RawTable:
    """The rows of a label file of any kind that is known.

    Raises:
        ValueError: It is of no such kind, or breaks its own rules; file and entry are named.
    """
    if path.suffix.lower() == ".xml":
        return read_cvat(path)
    if path.suffix.lower() != ".json":
        table = read_raw(path, reading)
        return _without_uploads(table) if {"image", "annotation_id"} <= table.columns.keys() else table
    text, _ = decode(path, reading)
    try:
        content = read_json(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        first = text.strip().partition("\n")[0]
        lines = f"; JSON of a line a row is called {path.stem}.jsonl" if _is_json(first) else ""
        raise ValueError(f"{path} is not JSON: {error}{lines}") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep to be a label file") from error
    if isinstance(content, dict) and {"images", "categories"} <= set(content):
        return _coco(path)
    if isinstance(content, dict):
        return _by_file(path, content)
    if not isinstance(content, list) or not content or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path} holds {short(content)}; {EXPECTED}")
    if all("data" in entry and ("annotations" in entry or "completions" in entry) for entry in content):
        return _label_studio(path, content, reading)
    flat = [
        {name: _region_labels(cell) for name, cell in one.items()} if "annotation_id" in one else one for one in content
    ]
    table = table_of_rows(path, "entry", enumerate(flat, start=1))
    minimal = {"image", "annotation_id"} <= table.columns.keys() or {"image", "choice"} <= table.columns.keys()
    return _without_uploads(table) if minimal else table


def _is_json(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _by_file(path: Path, content: dict[str, Any]) -> RawTable:
    """An object of label lists by file name, or of lists of file names by label."""
    wrong = next(((key, value) for key, value in content.items() if not isinstance(value, list | str)), None)
    if wrong is not None or not content:
        raise ValueError(f"{path}: {short(wrong[0]) if wrong else 'an empty object'} holds no labels; {EXPECTED}")
    note, classes = "an object of labels by file name", None
    named = [one for value in content.values() for one in listed(value)]
    if named and all(map(is_file, named)) and not any(map(is_file, content)):
        note, classes, content = "an object of file names by label", list(content), _turned(content)
    columns: dict[str, list[Any]] = {"file_name": list(content), "labels": list(content.values())}
    return RawTable(path, "entry", range(1, len(content) + 1), columns, [note], classes)


def _turned(files: dict[str, list[str] | str]) -> dict[str, list[str]]:
    """Labels by file name, from file names by label."""
    labels: dict[str, list[str]] = {}
    for label, names in files.items():
        for name in listed(names):
            labels.setdefault(name, []).append(label)
    return labels


def _coco(path: Path) -> RawTable:
    """COCO's format of whatever tool; an image's labels are the categories of its annotations."""
    from .coco_json import read_coco

    coco = read_coco(path)
    if not coco.images:
        raise ValueError(f"{path}: images is empty")
    used = {label for labels in coco.labels for label in labels}
    above = {category.supercategory for category in coco.categories if category.supercategory != category.name}
    parents = {category.name for category in coco.categories} & above - used
    names = [category.name for category in coco.categories if category.name not in parents]
    notes = [f"COCO's format: {len(coco.images):,} images, {coco.annotations:,} annotations, {len(names)} categories"]
    notes += [
        f"category {category.id} {category.name!r} is the parent of others and on no image: no class of its own"
        for category in coco.categories
        if category.name in parents
    ]
    columns: dict[str, list[Any]] = {
        "file_name": [image.file_name for image in coco.images],
        "labels": list(map(list, coco.labels)),
    }
    return RawTable(path, "image", range(1, len(coco.images) + 1), columns, notes, names)


def _label_studio(path: Path, tasks: list[dict[str, Any]], reading: Reading) -> RawTable:
    """Label Studio's JSON: tasks with the choices of their annotations."""
    columns: dict[str, list[Any]] = {"file_name": [], "labels": []}
    for number, task in enumerate(tasks, start=1):
        image = task["data"].get("image") if isinstance(task["data"], dict) else None
        if not isinstance(image, str):
            raise ValueError(f"{path}, entry {number}: data.image is {short(image)}, expected its photo")  # noqa: TRY004
        given = [one for one in task.get("annotations", task.get("completions")) or [] if not one.get("was_cancelled")]
        found = [sorted(_choices(path, number, one)) for one in given]
        if any(one != found[0] for one in found):
            raise ValueError(f"{path}, entry {number}: its annotations disagree ({found[0]}, {found[1]}); keep one")
        columns["file_name"].append(_upload(image))
        columns["labels"].append(found[0] if found else None)
    untouched = [number for number, labels in enumerate(columns["labels"], start=1) if labels is None]
    if untouched and reading.empty is None:
        raise ValueError(
            f"{path}, entry {untouched[0]}: {len(untouched)} of {len(tasks)} tasks have no annotation: nobody looked "
            "(data.empty unknown) or no label (data.empty absent)"
        )
    return RawTable(path, "entry", range(1, len(tasks) + 1), columns, ["Label Studio's JSON"])


def _choices(path: Path, number: int, annotation: dict[str, Any]) -> set[str]:
    """The labels of all results of an annotation; ValueError where a result is of a kind without labels."""
    labels: set[str] = set()
    for result in annotation.get("result") or []:
        value = result.get("value") or {}
        listed = next((value[key] for key in LABEL_KEYS if key in value), None)
        if listed is None:
            kind = result.get("type")
            raise ValueError(f"{path}, entry {number}: a result of type {kind!r} holds no choices, boxes or labels")
        labels |= set(listed)
    return labels


def _region_labels(cell: Any) -> Any:
    """The labels of regions as Label Studio's small exports list them, in CSV as text; any other cell as it is."""
    regions = cell
    if isinstance(cell, str) and cell.startswith("[{"):
        try:
            regions = read_json(cell)
        except (ValueError, RecursionError):
            return cell
    if not isinstance(regions, list) or not regions or not all(isinstance(one, dict) for one in regions):
        return cell
    found = [next((one[key] for key in LABEL_KEYS if isinstance(one.get(key), list)), None) for one in regions]
    if None in found:
        return cell
    return list(dict.fromkeys(label for labels in found for label in labels or ()))


def _upload(image: str) -> str:
    """The photo's name in Label Studio's address of it: an upload, a local file or a URL."""
    parts = urlparse(image)
    if "d" in parse_qs(parts.query):
        return parse_qs(parts.query)["d"][0]
    path = unquote(parts.path)
    return path.rpartition("/")[2] if parts.scheme or path.startswith("/data/") else path


def _without_uploads(table: RawTable) -> RawTable:
    """The table without Label Studio's own columns, each photo by its name in place of its address."""
    own = {name: cells for name, cells in table.columns.items() if name not in BOOKKEEPING}
    table.columns = {name: list(map(_region_labels, cells)) for name, cells in own.items()}
    if "image" in table.columns:
        table.columns["image"] = [_upload(one) if isinstance(one, str) else one for one in table.columns["image"]]
    table.notes.append("Label Studio's export")
    return table
