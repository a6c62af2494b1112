"""Graphs that onnxruntime runs: where they are kept, and which of them may be run; without torch.

A graph is kept beside the weights that it belongs to, under a digest of all that it follows from; other weights have
another digest, so an old graph is never taken for theirs. One that no process of this user wrote, as it may come with a
model from elsewhere, is never run: it could say anything.
"""

import hashlib
import importlib.metadata
import logging
import os
import sys
from pathlib import Path
from typing import Literal

from huggingface_hub import constants

from cnn_rnn.foundation.own_files import is_own, record_own
from cnn_rnn.foundation.provenance import code_version
from cnn_rnn.foundation.shipped_files import PLACES
from cnn_rnn.foundation.whole_files import whole_file

logger = logging.getLogger(__name__)

Engine = Literal["auto", "torch", "onnx"]  # that runs a backbone

FOLDER = "onnx"
SETTINGS = ("config.json", "preprocessor_config.json")
WEIGHTS = "model.safetensors"
GRAPH_FORMAT = "2"  # of what a whole model's graph takes, gives and says of itself
GPUS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")  # as drivers show them


def paths_for(name: str, file: str) -> list[Path]:
    """Where a model's graph of that file name may be kept: beside the weights, or with what the Hub's cache holds.

    The model that comes with the package has its own in the cache: nothing is written among installed files. Nor is
    anything where a link leads to: whoever handed out the folder may have planted it.
    """
    shipped = Path(name).resolve() in [(place / "bundled_model").resolve() for place in PLACES]
    beside = Path(name) / FOLDER / file
    away = shipped or not Path(name).is_dir() or beside.is_symlink() or beside.parent.is_symlink()
    return [*([] if away else [beside]), Path(constants.HF_HOME) / "cnn_rnn" / FOLDER / file]


def own_graph(name: str, file: str, digest: str) -> tuple[Path, bytes] | None:
    """The graph of that file name that a process of this user wrote for a digest, if there is one, and its content."""
    for path in paths_for(name, file):
        try:
            content = path.read_bytes()
        except OSError:  # there is none, or none that this user may read
            continue
        if is_own(content, digest):
            return path, content
        logger.warning("%s was not written by this user on this machine: it is not run, but made again", path)
    return None


def keep_graph(content: bytes, name: str, file: str, digest: str) -> Path | None:
    """The file of a graph that was made here, for `own_graph` to find; None where no place for it can be written to."""
    for path in paths_for(name, file):
        try:
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            logger.warning("%s cannot be written (%s)", path, error)
        else:
            record_own(content, digest)
            return path
    return None


def shipped_graph(digest: str) -> bytes | None:
    """The graph that comes with the package for the model of this digest, wherever a copy of that model lies."""
    for place in PLACES:
        path = place / "bundled_model" / graph_name(digest)
        if path.is_file():
            return path.read_bytes()
    return None


def graph_name(digest: str) -> str:
    """The file name of a whole model's graph."""
    return f"model-{digest[:16]}.onnx"


def key_of_graph(digest: str) -> tuple[str, str]:
    """The file name and the digest of a graph that was made on this machine, of a model of this digest.

    It belongs to the code that it was made by as well: the model's own, and that of the libraries below.
    """
    key = hashlib.sha256(f"{digest} {code_version()}".encode()).hexdigest()
    return graph_name(key), key


def digest_of_folder(folder: Path) -> str:
    """A digest of a saved model's settings and weights; OSError where one of its files is missing."""
    found = hashlib.sha256(GRAPH_FORMAT.encode())
    for name in (*SETTINGS, WEIGHTS):
        found.update(f"\0{name}\0{(folder / name).stat().st_size}\0".encode())
        with (folder / name).open("rb") as file:
            hashlib.file_digest(file, lambda: found)  # goes on with the digest of what came before
    return found.hexdigest()


def onnxruntime_version() -> str:
    """What numbers are known by that onnxruntime computed."""
    return f"onnxruntime {importlib.metadata.version('onnxruntime')}"


def may_have_a_gpu() -> bool:
    """Whether torch may find a GPU here, as far as can be seen without it."""
    return sys.platform == "darwin" or any(Path(device).exists() for device in GPUS)


def cores() -> int:
    """Threads that a graph may run in: as many as were asked for in the environment, else those of the machine."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(asked) if asked.isdigit() and int(asked) else there
