"""Label Studio's exports: its JSON, and its smaller tables of JSON or CSV."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.json_lines import read_json

from .raw_table import RawTable, short

BOOKKEEPING = frozenset(
    {"id", "annotation_id", "annotator", "lead_time", "created_at", "updated_at"}
)  # of Label Studio
LABEL_KEYS = ("choices", "rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "brushlabels", "labels")


def read_tasks(path: Path, tasks: list[dict[str, Any]], reading: Reading) -> RawTable:
    """Label Studio's JSON: tasks with the choices of their annotations."""
    columns: dict[str, list[Any]] = {"file_name": [], "labels": []}
    for number, task in enumerate(tasks, start=1):
        image = task["data"].get("image") if isinstance(task["data"], dict) else None
        if not isinstance(image, str):
            raise ValueError(f"{path}, entry {number}: data.image is {short(image)}, expected its photo")  # noqa: TRY004
        made = _task_objects(path, number, task.get("annotations", task.get("completions")))
        given = [one for one in made if not one.get("was_cancelled")]
        found = [sorted(_annotation_labels(path, number, one)) for one in given]
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


def _annotation_labels(path: Path, number: int, annotation: dict[str, Any]) -> set[str]:
    """The labels of all results of an annotation; ValueError where a result is of a kind without labels."""
    labels: set[str] = set()
    for result in _task_objects(path, number, annotation.get("result")):
        (value,) = _task_objects(path, number, [result.get("value") or {}])
        listed = next((value[key] for key in LABEL_KEYS if key in value), None)
        if listed is None:
            kind = result.get("type")
            raise ValueError(f"{path}, entry {number}: a result of type {kind!r} holds no choices, boxes or labels")
        if not isinstance(listed, list) or not all(isinstance(label, str) for label in listed):
            raise ValueError(f"{path}, entry {number}: a result holds {short(listed)}, expected a list of labels")
        labels |= set(listed)
    return labels


def _task_objects(path: Path, number: int, cell: Any) -> list[dict[str, Any]]:
    """The objects of a list that may be missing; ValueError where it is another one."""
    if cell and (not isinstance(cell, list) or not all(isinstance(one, dict) for one in cell)):
        raise ValueError(f"{path}, entry {number}: {short(cell)} stands where Label Studio has a list of objects")
    return cell or []


def region_labels(cell: Any) -> Any:
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


def without_uploads(table: RawTable) -> RawTable:
    """The table without Label Studio's own columns, each photo by its name in place of its address."""
    own = {name: cells for name, cells in table.columns.items() if name not in BOOKKEEPING}
    table.columns = {name: list(map(region_labels, cells)) for name, cells in own.items()}
    if "image" in table.columns:
        table.columns["image"] = [_upload(one) if isinstance(one, str) else one for one in table.columns["image"]]
    table.notes.append("Label Studio's export")
    return table
