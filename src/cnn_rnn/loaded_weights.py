"""What a model must be once its weights are loaded: finite, and known to be random where the file had none."""

from collections.abc import Callable, Mapping
from typing import Any

from safetensors import SafetensorError
from transformers.utils import logging

from .decisions import not_finite

logger = logging.get_logger(__name__)


def load_checked(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The model that transformers loads from safetensors alone, checked; nothing is unpickled.

    Args:
        load: What loads it, transformers' own `from_pretrained`.
        *args: Of that, the folder or name first.
        **kwargs: Of that.

    Raises:
        OSError: There are no such weights, or the file is no safetensors.
        ValueError: Some of them are not finite.
    """
    name = str(args[0] if args else "this model")
    asked = {"use_safetensors": True, "weights_only": True, "output_loading_info": True}
    try:
        model, found = load(*args, **(kwargs | asked))
    except SafetensorError as error:
        raise OSError(f"the weights of {name} are no safetensors: {error}") from error
    check_loaded(name, model, found)
    return (model, found) if kwargs.get("output_loading_info") else model


def check_loaded(name: str, model: Any, found: Mapping[str, Any]) -> None:
    """Refuse weights that are not finite, mend an earlier memory of neighbours, and note on the model what is random.

    Args:
        name: What messages call the model.
        model: A `CnnRnnForImageClassification`.
        found: What transformers says of loading it.

    Raises:
        ValueError: Weights are not finite.
    """
    broken = not_finite(model)
    if broken:
        raise ValueError(
            f"{name}: weights are not finite numbers ({', '.join(broken[:3])}), so every label would be a guess; "
            f"take an earlier checkpoint, or dtype=torch.float32 where {model.dtype} is too narrow"
        )
    if model.neighbours is not None and model.neighbours.mend():
        logger.warning(
            "%s remembers %d photos as an earlier version did, which compared them by rounding errors: they are "
            "compared anew; train again to have fitted how much they say",
            name,
            len(model.neighbours.keys),
        )
    model.weights_left_random = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
