"""What comes from outside is hostile: foreign classes, pickles, lying headers, bombs, sizes without end are refused."""

import json
import os
import pickle
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline

from cnn_rnn import (
    CnnRnnConfig,
    CnnRnnForImageClassification,
    CnnRnnImageProcessor,
    MultiLabelImageClassificationPipeline,
)
from cnn_rnn.pipeline_cnn_rnn import TASK
from cnn_rnn.prediction import SavedModel, checked_config

LABELS = ["cat", "dog", "bird"]
LOADERS: dict[str, Callable[[Path], Any]] = {
    "AutoModel": AutoModel.from_pretrained,
    "AutoModelForImageClassification": AutoModelForImageClassification.from_pretrained,
    "class": CnnRnnForImageClassification.from_pretrained,
    "pipeline": lambda folder: pipeline(TASK, model=str(folder)),
    "commands": SavedModel.load,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model that a test may spoil."""
    torch.manual_seed(0)
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=LABELS, embedding_size=8, hidden_size=8, image_size=32
    )
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "mark")))  # noqa: S301 - to see that the tests below could fail
    assert (tmp_path / "mark").is_dir()


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_is_never_read(name: str, loader: str, folder: Path) -> None:
    mark = folder.parent / "mark"
    (folder / "model.safetensors").unlink()
    with (folder / name).open("wb") as file:
        torch.save({"weights": Trap(mark)}, file)
    with pytest.raises((OSError, ValueError), match="safetensors"):
        LOADERS[loader](folder)
    assert not mark.exists()


def test_weights_of_another_format_are_not_asked_for(folder: Path) -> None:
    mark = folder.parent / "mark"
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        torch.save({"weights": Trap(mark)}, file)
    with pytest.raises(OSError, match="safetensors"):
        CnnRnnForImageClassification.from_pretrained(folder, use_safetensors=False, weights_only=False)
    assert not mark.exists()


def header(content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if length is None else length) + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header(b"{}", length=2**63),
        header(b"{}", length=10**8),
        header(b"{" * 1000),
        header(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'),
        header(b'{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 16]}}') + bytes(16),
        header(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}') + bytes(8),
        header(
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
            b' "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}'
        )
        + bytes(12),
    ],
    ids=["empty", "2**63", "longer than the file", "no JSON", "cut off", "overflow", "backwards", "overlap"],
)
@pytest.mark.parametrize("loader", ["AutoModel", "commands"])
def test_a_lying_header_of_weights_is_refused(content: bytes, loader: str, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises((OSError, ValueError), match=r"(?i)safetensors"):
        LOADERS[loader](folder)


@pytest.mark.parametrize("loader", LOADERS)
def test_code_of_the_folder_is_not_run_where_the_package_is_there(loader: str, folder: Path) -> None:
    mark = folder.parent / "mark"
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass Evil: pass\n")
    kinds = ("AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoImageProcessor")
    change_config(
        folder,
        architectures=["Evil"],
        auto_map=dict.fromkeys(kinds, "evil.Evil"),
        custom_pipelines={TASK: {"impl": "evil.Evil", "pt": ["AutoModel"], "type": "image"}},
    )
    loaded = LOADERS[loader](folder)
    model = loaded if isinstance(loaded, torch.nn.Module) else loaded.model
    assert type(model) is CnnRnnForImageClassification
    assert not mark.exists()
    AutoConfig.from_pretrained(folder)
    AutoImageProcessor.from_pretrained(folder)
    assert not mark.exists()


def test_a_folder_of_another_kind_of_model_is_refused(folder: Path) -> None:
    change_config(folder, model_type="vit", architectures=["ViTForImageClassification"])
    with pytest.raises(ValueError, match="is of a model 'vit', not 'cnn_rnn'"):
        checked_config(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_path_length": 10**9}, r"max_path_length must lie in 1\.\.1024, got 1000000000"),
        ({"max_path_length": 0}, "max_path_length"),
        ({"beam_width": 10**9}, r"beam_width must lie in 1\.\.1024, got 1000000000"),
        ({"backbone": "hf-hub:evil/model"}, "is an address"),
        ({"backbone": "../../evil"}, "is an address"),
        ({"backbone_args": {"pretrained": True}}, "must not set pretrained"),
        ({"backbone_args": {"checkpoint_path": "evil.pth"}}, "must not set checkpoint_path"),
        ({"beam_width": "4"}, "beam_width"),
        ({"id2label": {"0": "cat", "7": "dog"}}, "id2label"),
        ({"thresholds": [0.5]}, "thresholds has 1 entries for 3 labels"),
    ],
    ids=str,
)
def test_a_config_that_asks_for_too_much_is_refused(changes: dict[str, Any], message: str, folder: Path) -> None:
    if "id2label" in changes:
        changes = changes | {"label2id": None}
    change_config(folder, **changes)
    with pytest.raises(StrictDataclassError) as refused:
        AutoModelForImageClassification.from_pretrained(folder)
    assert re.search(message, str(refused.value))
    with pytest.raises(ValueError, match=message):
        checked_config(folder)


def test_a_call_that_asks_for_too_much_is_refused(folder: Path) -> None:
    model = CnnRnnForImageClassification.from_pretrained(folder)
    pixel_values = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"beam_width must lie in 1\.\.1024, got 1000000000"):
        model.generate(pixel_values, beam_width=10**9)
    assert model.generate(pixel_values, max_path_length=10**9).paths.shape[-1] == len(LABELS)
    with pytest.raises(StrictDataclassError, match="max_path_length"):
        CnnRnnConfig(max_path_length=10**9)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that declares a size, whatever it holds."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("as_bytes", [True, False])
def test_an_image_bomb_is_refused_by_name(folder: Path, as_bytes: bool) -> None:
    own = pipeline(TASK, model=str(folder))
    bomb = folder.parent / "bomb.png"
    bomb.write_bytes(png(60_000, 60_000, bytes(1000)))
    with pytest.raises(ValueError, match=r"is no readable image: Image size .* exceeds limit"):
        own(bomb.read_bytes() if as_bytes else str(bomb))
    if not as_bytes:
        with pytest.raises(ValueError, match=r"bomb\.png"):
            own(str(bomb))


def test_a_format_that_runs_a_program_is_not_read(folder: Path) -> None:
    own = pipeline(TASK, model=str(folder))
    page = folder.parent / "photo.png"
    page.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(%pipe%id) (r) file\n")
    with pytest.raises(ValueError, match=r"photo\.png.* is no readable image: cannot identify"):
        own(str(page))
