"""Whether the rows of bulk prediction without torch are those by torch: JSON on one line.

Command: python scripts/benchmarks/same_rows.py FOLDER [--model RUN] [--photos 500]

FOLDER holds photos with `metadata.jsonl`. Every second photo is predicted given one of its labels that the model knows,
every fourth given one that it does not show, too. `largest_difference` is of all probabilities of labels, steps and
paths; `other_sets` and `other_paths` count the photos that have other labels, or walk another path.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cnn_rnn.app.saved_labels import METADATA, read_saved
from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.prediction.saved_model import checked_config

ENGINES = ("torch", "onnx")


def main(arguments: list[str] | None = None) -> int:
    """Print how far the rows differ; 1 where a set or a path is another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default=str(bundled_model()), help="folder of a run (default: the model in the box)")
    parser.add_argument("--photos", type=int, default=500)
    known = parser.parse_args(arguments)
    truth = dict(sorted(read_saved(known.folder).labels.items())[: known.photos])
    if not truth:
        parser.error(f"{known.folder} holds no {METADATA}")
    with tempfile.TemporaryDirectory() as made:
        workspace = Path(made)
        (workspace / "photos").mkdir()
        for name in truth:
            (workspace / "photos" / name).symlink_to((known.folder / name).resolve())
        photos = {str(workspace / "photos" / name): labels for name, labels in truth.items()}
        told = list(answers_for(photos, checked_config(known.model).label_names))
        (workspace / "known.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
        rows = [predicted(workspace, known.model, engine) for engine in ENGINES]
    figures = compare(*rows) | {"photos": len(truth), "given_labels": len(told)}
    print(json.dumps(figures))
    return int(bool(figures["other_sets"] or figures["other_paths"]))


def answers_for(truth: dict[str, list[str]], label_names: list[str]) -> Iterator[dict[str, Any]]:
    """What is told of every second photo, as `cnn-rnn predict --known` takes it."""
    for place, (name, labels) in enumerate(truth.items()):
        there = next((label for label in labels if label in label_names), None)
        absent = next(label for label in label_names[place % len(label_names) :] + label_names if label not in labels)
        if place % 2 == 0 and there is not None:
            yield {"image_id": name, "known": {there: True} | ({absent: False} if place % 4 == 0 else {})}


def predicted(workspace: Path, model: str, engine: str) -> dict[str, dict[str, Any]]:
    """The rows by photo that the command writes."""
    output = workspace / engine
    command = [sys.executable, "-m", "cnn_rnn.commands.cli", "predict", "--model", model, "--engine", engine]
    command += [
        "--input",
        str(workspace / "photos"),
        "--known",
        str(workspace / "known.jsonl"),
        "--output",
        str(output),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return {Path(row["image_id"]).name: row for row in pq.read_table(output / "labels.parquet").to_pylist()}


def compare(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How far rows differ, which must be of the same photos."""
    assert one.keys() == other.keys()
    largest, sets, paths = 0.0, 0, 0
    for name, row in one.items():
        pairs = [(row[what] or [], other[name][what] or []) for what in ("labels", "path")]
        scores = [{entry["label"]: entry["score"] for entry in entries} for pair in pairs for entries in pair]
        sets += scores[0].keys() != scores[1].keys()
        paths += [entry["label"] for entry in pairs[1][0]] != [entry["label"] for entry in pairs[1][1]]
        differences = [abs(row["path_score"] - other[name]["path_score"])] if row["path_score"] is not None else []
        for mine, theirs in (scores[:2], scores[2:]):
            differences += [abs(mine[label] - theirs[label]) for label in mine.keys() & theirs.keys()]
        largest = max([largest, *differences])
    return {"largest_difference": largest, "other_sets": sets, "other_paths": paths}


if __name__ == "__main__":
    sys.exit(main())
