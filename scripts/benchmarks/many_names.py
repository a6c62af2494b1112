"""Bulk prediction of very many listed names, the model mocked and one file as every photo.

    python scripts/benchmarks/many_names.py 1000000 10000000

prints what each list costs: a job's memory does not grow with it.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from costs import Cost, cost_of
from PIL import Image

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.commands import predict
from cnn_rnn.prediction import bulk_prediction, worker

ANSWER: dict[str, Any] = {"labels": [{"label": "a", "score": 0.5}], "path": [], "path_score": 0.5}


def name_costs(workspace: Path, counts: list[int]) -> list[Cost]:
    """What lists of so many names cost."""
    assert worker  # imported before the processes fork, so that it counts in none of them
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=["a", "b"], image_size=32)
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(workspace / "model")
    Image.new("RGB", (8, 8), "red").save(workspace / "photo.png")
    return [cost_of(label_list, workspace, count) for count in counts]


def label_list(workspace: Path, count: int) -> None:
    """Label a list that names one photo so many times."""
    listed = workspace / f"{count}.txt"
    with listed.open("w", encoding="utf-8") as lines:
        lines.writelines("photo.png\n" for _ in range(count))
    mocks: dict[tuple[Any, str], Callable[..., Any]] = {
        (bulk_prediction, "prepare_image"): lambda *_: np.zeros(1, np.float32),
        (bulk_prediction, "label_batch"): lambda _, batch, *__: [dict(ANSWER) for _ in batch],
    }
    for (owner, name), mock in mocks.items():
        setattr(owner, name, mock)
    output = workspace / f"labels-{count}"
    arguments = ["--model", str(workspace / "model"), "--input", str(listed), "--output", str(output)]
    if predict.main([*arguments, "--engine", "torch", "--num_workers", "0", "--batch_size", "256"]):
        raise RuntimeError("prediction failed, see above")


def main() -> int:
    """Measure the counts that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        for count, cost in zip(sys.argv[1:], name_costs(Path(folder), list(map(int, sys.argv[1:]))), strict=True):
            print(f"{int(count):>12,} names: {cost.seconds:,.0f} s of processor time, {cost.megabytes:,.0f} MB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
