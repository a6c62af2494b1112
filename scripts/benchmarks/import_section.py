"""What it costs to begin: `import cnn_rnn` beside the libraries that it stands on, and a first prediction as typed.

transformers loads its parts on demand, and so does this package. The first pair of imports therefore loads neither
one's parts; the second loads all that building a pipeline takes, beside what every image model of transformers needs.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from row import Row

from cnn_rnn import (
    CnnRnnForImageClassification,
    CnnRnnImageProcessor,
    MultiLabelImageClassificationPipeline,
)

LIBRARY_IMPORTS = "import torch, timm, transformers"
PART_IMPORTS = (
    f"{LIBRARY_IMPORTS}\n"
    "from transformers import AutoImageProcessor, AutoModelForImageClassification, Pipeline, PreTrainedModel\n"
    "from transformers.image_processing_backends import TorchvisionBackend"
)
CLASSES = (
    "from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline"
)
IMPORT_TURNS = 5


def measure(workspace: Path) -> list[Row]:
    """Processor seconds of each import, and seconds until the first prediction is written; the least of several."""
    imports = {
        "libraries": LIBRARY_IMPORTS,
        "package": f"{LIBRARY_IMPORTS}, cnn_rnn",
        "parts": PART_IMPORTS,
        "classes": CLASSES,
    }
    best = dict.fromkeys(imports, float("inf"))
    for _ in range(IMPORT_TURNS):  # in turns, so that a busy machine slows all alike
        for name, code in imports.items():
            best[name] = min(best[name], processor_seconds([sys.executable, "-c", code]))
    package, classes = best["package"], best["classes"]
    return [
        Row("import cnn_rnn", package, "s; torch, timm and transformers", best["libraries"], "<= 1.1"),
        Row("its classes", classes, "s; torch, timm and the parts of transformers", best["parts"], "<= 1.1"),
        Row("first prediction from the command line", first_prediction(workspace), "s"),
    ]


def processor_seconds(command: list[str]) -> float:
    """What a process spends on the processor, which hardly depends on what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_prediction(workspace: Path) -> float:
    """Seconds from the command to its end for one photo and a ResNet-50, the least of two."""
    model = CnnRnnForImageClassification.from_backbone("resnet50", id2label=["cat", "dog"])
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(workspace / "model")
    Image.linear_gradient("L").save(workspace / "photo.jpg")
    seconds = []
    for turn in range(2):
        start = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "cnn_rnn.commands.predict", "--model", str(workspace / "model")),
                *("--input", str(workspace / "photo.jpg"), "--output", str(workspace / f"out{turn}")),
                *("--num_workers", "0"),
            ],
            check=True,
            capture_output=True,
        )
        seconds.append(time.perf_counter() - start)
    return min(seconds)
