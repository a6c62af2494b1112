"""What several test files share."""

import atexit
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfFileSystem, constants
from PIL import Image

from cnn_rnn.foundation.whole_files import whole_file

from .finished_runs import write_metrics, write_run
from .forked_commands import ForkedCommands
from .loopback_hub import TOKEN, LoopbackHub
from .loopback_hub_server import point_clients_at, serve_hub

# What is remembered of files that tests write is no business of who runs them.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="cnn-rnn-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# Tests run side by side, a process a core; more threads would wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and labels that the variable `CNN_RNN_DATA` names."""
    root = os.environ.get("CNN_RNN_DATA")
    if not root:
        pytest.skip("set CNN_RNN_DATA to the folder that holds VOCdevkit/, coco/ and corel5k/")
    return Path(root)


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}


def write_photo_folder(root: Path, count: int = 24) -> Path:
    """An image folder of small photos, each with a band of colour for every label; every eighth shows none."""
    for split, images in (("train", count), ("test", count // 2)):
        folder = root / split
        folder.mkdir(parents=True)
        lines = []
        for index in range(images):
            labels = [name for bit, name in enumerate(COLOURS) if index % 8 >> bit & 1]
            picture = Image.new("RGB", (40, 40), (128, 128, 128))
            for name in labels:
                top = 12 * list(COLOURS).index(name)
                picture.paste(COLOURS[name], (0, top, 40, top + 12))
            picture.save(folder / f"{index:03d}.png")
            lines.append(json.dumps({"file_name": f"{index:03d}.png", "labels": labels}))
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder that a small model learns within seconds; tests only read it."""
    return write_photo_folder(tmp_path_factory.mktemp("photos"))


SMALL_RUN: dict[str, Any] = {
    "model.backbone": "test_resnet",
    "model.weights": "null",
    "model.image_size": 32,
    "model.crop_pct": 1.0,
    "model.hidden_size": 32,
    "model.embedding_size": 16,
    "data.name": "image_folder",
    "data.validation_fraction": 0.25,
    "train.epochs": 2,
    "train.batch_size": 6,
    "train.lr": 3e-3,
    "train.backbone_lr": 1.0,
    "train.num_workers": 0,
    "train.trackers": "none",
}


@pytest.fixture(scope="session")
def settings(photo_folder: Path) -> Callable[..., list[str]]:
    """Arguments of `cnn-rnn train` for small, quick runs on the photos; `block__key=value` changes a setting."""

    def arguments(output_dir: Path, **changes: Any) -> list[str]:
        values = SMALL_RUN | {"data.root": photo_folder, "train.output_dir": output_dir}
        values |= {name.replace("__", "."): value for name, value in changes.items()}
        return [part for name, value in values.items() for part in (f"--{name}", str(value))]

    return arguments


@pytest.fixture(scope="session", autouse=True)
def one_export(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The graph of a model, or of a backbone, with the same weights comes from torch once in all processes of tests."""
    import onnx

    from cnn_rnn.prediction import graph_making, onnx_engine
    from cnn_rnn.prediction.kept_graphs import digest_of_folder

    export_backbone, export = onnx_engine.export_backbone, torch.onnx.export
    weightless_graph = graph_making.weightless_graph
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder  # one for all processes of these tests

    def export_once(model: Any) -> bytes:
        kept = folder / f"graph-{onnx_engine.digest_of(model)}.onnx"

        def kept_or_new(*arguments: Any, **options: Any) -> Any:
            if not kept.exists():
                program: Any = export(*arguments, **options)
                with whole_file(kept) as temporary:
                    onnx.save(program.model_proto, temporary)
            return SimpleNamespace(model_proto=onnx.load(kept))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.onnx.export", kept_or_new)
            return export_backbone(model)

    def weightless_once(model: Any, place: Path) -> bytes:
        kept = folder / f"model-{digest_of_folder(place)}.onnx"
        if not kept.exists():
            content = weightless_graph(model, place)
            with whole_file(kept) as temporary:
                temporary.write_bytes(content)
        return kept.read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_engine, "export_backbone", export_once)
        patch.setattr(graph_making, "weightless_graph", weightless_once)
        yield


@pytest.fixture(scope="session")
def forked(settings: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCommands]:
    """Commands as processes of their own."""
    commands = ForkedCommands(settings(tmp_path_factory.mktemp("first") / "run", train__epochs=1))
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; tests only read it."""
    return write_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures of a test split."""
    return write_metrics(tmp_path_factory.mktemp("measured") / "metrics.json")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """An empty Hub for the clients of this process, whose caches are empty and who wait for nothing."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets_cache")
    monkeypatch.setattr("datasets.config.USE_PARQUET_EXPORT", False)  # a service of another host
    monkeypatch.setattr(time, "sleep", lambda _: None)
    HfFileSystem.clear_instance_cache()
    with serve_hub() as served:
        point_clients_at(served.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served
