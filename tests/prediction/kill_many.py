"""Random kills of bulk prediction: `python kill_many.py WORKSPACE KILLS` prints what they did to the rows, as JSON.

Everything is imported once; each start of the command is a fork, a process like any other that can be killed. Two jobs
take turns in one output folder, sometimes two processes work on one, and a kill comes at any time from the start to the
clearing up: after a share of the processor time that the whole job takes, which a busy machine does not move.
"""

import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import torch
from PIL import Image

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.commands.predict import main
from cnn_rnn.prediction import bulk_prediction, worker

PHOTOS = 120
JOBS = ("0.2", "0.6")  # thresholds


def prepare(workspace: Path) -> None:
    """A model and photos, some of which cannot be read."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32}
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["blue", "green", "red"], **fields)
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(workspace / "model")
    (workspace / "photos").mkdir()
    for index in range(PHOTOS):
        content = io.BytesIO()
        Image.new("RGB", (40, 40), (index, 255 - index, 7 * index % 256)).save(content, "PNG")
        cut = content.getvalue() if index % 50 else content.getvalue()[:40]
        (workspace / "photos" / f"{index:03d}.png").write_bytes(cut)


def start(workspace: Path, threshold: str, output: str) -> int:
    """The id of a new process at the job."""
    child = os.fork()
    if child:
        return child
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    log = os.open(workspace / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    code = 1
    try:
        code = main(
            [
                *("--model", str(workspace / "model"), "--input", str(workspace / "photos")),
                *("--output", str(workspace / output), "--threshold", threshold),
                *("--part_size", "4", "--batch_size", "4", "--num_workers", "0", "--parts_per_file", "8"),
            ]
        )
    finally:
        os._exit(code)


def is_alive(child: int) -> bool:
    """Whether a process, which nobody waited for yet, still runs."""
    return psutil.Process(child).status() != psutil.STATUS_ZOMBIE


def worked(children: list[int]) -> float:
    """Seconds that the processors gave to processes that nobody waited for yet."""
    return sum(sum(psutil.Process(child).cpu_times()[:2]) for child in children)


def ended(child: int) -> int:
    """The exit code of a process."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_whole(workspace: Path, threshold: str, output: str) -> float:
    """Seconds of processor time that a job takes which nobody kills."""
    child = start(workspace, threshold, output)
    took = 0.0
    while is_alive(child):
        took = max(took, worked([child]))
        time.sleep(0.005)
    assert ended(child) == 0
    return took


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of a finished job."""
    return [row for path in sorted(folder.glob("labels*.parquet")) for row in pq.read_table(path).to_pylist()]


def run(workspace: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill, go on, and compare the rows with those of jobs that nobody killed."""
    chance = random.Random(seed)  # noqa: S311 - moments to kill at
    prepare(workspace)
    expected, took = {}, 0.0
    for threshold in JOBS:
        took = run_whole(workspace, threshold, f"whole-{threshold}")
        expected[threshold] = rows_of(workspace / f"whole-{threshold}")
    counts = {"kills": 0, "jobs": 0, "two_at_once": 0, "lost": 0, "doubled": 0, "of_another_job": 0, "wrong_exit": 0}
    stages: dict[str, int] = {}
    threshold, output = JOBS[0], workspace / "out"
    while counts["kills"] < kills:
        processes = [start(workspace, threshold, "out") for _ in range(1 + (chance.random() < 0.4))]
        counts["two_at_once"] += len(processes) > 1
        until = took * chance.random() * 1.1 * len(processes)
        while worked(processes) < until and all(map(is_alive, processes)):
            time.sleep(0.001)
        stage = "start"
        if (output / "parts" / "joined").exists():
            stage = "joining"
        elif list(output.glob("parts/*.parquet")):
            stage = "parts"
        elif list(output.glob("parts.*.tmp")):
            stage = "clearing up"
        codes = []
        for child in processes:
            os.kill(child, signal.SIGKILL)
            codes.append(ended(child))
        counts["wrong_exit"] += sum(code not in {0, -signal.SIGKILL} for code in codes)
        if -signal.SIGKILL in codes:
            counts["kills"] += 1
            stages[stage] = stages.get(stage, 0) + 1
        if 0 in codes or chance.random() < 0.2:
            counts["wrong_exit"] += ended(start(workspace, threshold, "out")) != 0
            counts["jobs"] += 1
            compare(rows_of(output), expected[threshold], counts)
            threshold = JOBS[(JOBS.index(threshold) + 1) % 2]
    counts["wrong_exit"] += ended(start(workspace, threshold, "out")) != 0
    counts["jobs"] += 1
    compare(rows_of(output), expected[threshold], counts)
    left = sorted(path.name for path in output.iterdir() if not path.name.startswith("labels"))
    return counts | {"stages": stages, "left_over": [name for name in left if name != "paths.png"]}


def compare(rows: list[dict[str, Any]], expected: list[dict[str, Any]], counts: dict[str, int]) -> None:
    """Count what is lost, doubled or another job's."""
    ids = [row["image_id"] for row in rows]
    counts["doubled"] += len(ids) - len(set(ids))
    counts["lost"] += len({row["image_id"] for row in expected} - set(ids))
    right = {row["image_id"]: row for row in expected}
    counts["of_another_job"] += sum(row != right.get(row["image_id"]) for row in rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert bulk_prediction
    assert worker
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
