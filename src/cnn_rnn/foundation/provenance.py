"""What a piece of work depends on, so that results of two different pieces are never taken for each other.

Predictions, cached features and runs are known by the weights, the config, the preprocessing, the code and the inputs
that they come from. A field left out here is a mixture that nobody notices.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:  # results are known by it where there is no torch, too
    from torch import Tensor

# Fields of a config that name where it is from or which library wrote it; they change no result.
TRAITLESS = frozenset({"_name_or_path", "architectures", "auto_map", "custom_pipelines", "transformers_version"})
OF_THE_FEATURES = ("backbone", "backbone_args", "pooling")
LIBRARIES = ("torch", "torchvision", "timm", "transformers", "pillow")

Identity = Literal["name", "time", "content"]


@dataclass(frozen=True)
class Provenance:
    """What results of a model depend on beside their inputs.

    Attributes:
        weights: A digest of the weights.
        config: The fields of the model's config that change results.
        preprocessing: The image processor's settings.
        code: Version and digest of the code, with the versions of the libraries below it.
    """

    weights: str
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    code: str

    @classmethod
    def of_model(cls, model: Any, processor: Any) -> Self:
        """What predictions of a `CnnRnnForImageClassification` depend on."""
        config = {name: value for name, value in model.config.to_dict().items() if name not in TRAITLESS}
        return cls(digest_tensors(model.state_dict()), stored_settings(config), settings_of(processor), code_version())

    @classmethod
    def of_graph(cls, graph: Any, tensors: Iterable[tuple[str, Any]]) -> Self:
        """What predictions of a model's graph depend on: the same as those of the model by torch.

        Args:
            graph: A `GraphModel`.
            tensors: All tensors of the model's file by name, as arrays.
        """
        config = {name: value for name, value in graph.config.fields.items() if name not in TRAITLESS}
        found = hashlib.sha256()
        for name, tensor in sorted(tensors, key=lambda one: one[0]):
            found.update(f"{name} torch.{tensor.dtype} {tensor.shape}\0".encode())
            found.update(tensor.tobytes())
        return cls(found.hexdigest(), config, dict(graph.preprocessing), code_version())

    @classmethod
    def of_features(cls, model: Any, processor: Any) -> Self:
        """What the image features of its backbone depend on; labels and decoder are not among it."""
        config = {name: getattr(model.config, name) for name in OF_THE_FEATURES}
        return cls(
            digest_tensors(model.backbone.state_dict()), stored_settings(config), settings_of(processor), code_version()
        )


def settings_of(processor: Any) -> dict[str, Any]:
    """An image processor's settings."""
    return stored_settings({name: value for name, value in processor.to_dict().items() if name not in TRAITLESS})


def stored_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from JSON."""
    return dict(json.loads(json.dumps(settings, default=str, sort_keys=True)))


def digest(settings: Mapping[str, Any]) -> str:
    """A digest of settings, whatever the order of their names."""
    return hashlib.sha256(json.dumps(settings, default=str, sort_keys=True).encode()).hexdigest()


def digest_texts(texts: Iterable[str]) -> str:
    """A digest of texts in their order."""
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return found.hexdigest()


def digest_tensors(tensors: Mapping[str, "Tensor"]) -> str:
    """A digest of tensors by name: their kind, shape and every byte."""
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def digest_file(path: Path) -> str:
    """A digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_identity(path: str, by: Identity = "time") -> str:
    """What tells a file from any other: its name, with size and time of change, or with a digest of its bytes.

    A file that is not there, or that a stream names (`s3://...`), is known by its name alone.
    """
    if by == "name" or "://" in path:
        return path
    try:
        if by == "content":
            return f"{path}\0{digest_file(Path(path))}"
        status = os.stat(path)  # noqa: PTH116 - asked a hundred million times
    except (OSError, ValueError):
        return f"{path}\0absent"
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}"


@cache
def code_version() -> str:
    """The version of this package with a digest of its modules that make results, and of the libraries below it."""
    root = Path(__file__).parents[1]
    of_photos = [root / "data" / "photos" / name for name in ("images.py", "pixels.py")]
    files = sorted([*root.glob("*.py"), *of_photos, root / "data" / "transforms.py"])
    own = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return " ".join([f"cnn-rnn {own}", *(f"{name} {version_of(name) or 'not installed'}" for name in LIBRARIES)])


def version_of(library: str) -> str | None:
    """The version of a library; None where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
