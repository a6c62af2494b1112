"""What a model must be once its weights are loaded: finite, and known to be random where the file had none."""

from collections.abc import Mapping
from typing import Any

from transformers.utils import logging

from .decisions import not_finite

logger = logging.get_logger(__name__)


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
