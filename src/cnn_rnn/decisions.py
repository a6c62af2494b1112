"""From probabilities to a set of labels without a threshold: the set whose expected F1 is the greatest."""

import torch
from torch import Tensor, nn

from .expected_f1 import best_sizes


def probabilities_of(logits: Tensor, model: nn.Module) -> Tensor:
    """Probabilities of label logits, of the same shape.

    Args:
        logits: Of any shape.
        model: What they are the answer of, in which the cause is looked for where they are not finite.

    Raises:
        ValueError: One of them is not finite; the message names what is not.
    """
    if not logits.isfinite().all():
        broken = not_finite(model)
        raise ValueError(
            "the model's logits are no finite numbers, "
            + (
                f"as its weights {', '.join(broken[:3])} are not: load it anew, or take another one"
                if broken
                else "though its weights are: its preprocessing, or a number too large for "
                f"{next(model.parameters()).dtype}; load it with dtype=torch.float32"
            )
        )
    return logits.float().sigmoid()


def not_finite(model: nn.Module) -> list[str]:
    """Names of a model's tensors that hold NaN or infinity; what is not in memory is not looked at."""
    return [name for name, tensor in model.state_dict().items() if not (tensor.is_meta or _is_finite(tensor))]


def _is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds no NaN and no infinity, quantised (torchao's, say) or not."""
    try:
        return bool(tensor.isfinite().all())
    except NotImplementedError:  # a quantised type has few operations of its own
        return bool(tensor.dequantize().isfinite().all())


def pick_by_expected_f1(probabilities: Tensor) -> Tensor:
    """The labels (N, C), as bool, with the greatest expected F1 of each image; of equal sets the smaller one.

    Taken as independent given the image, the k most probable labels are the best k; how many, the expectation over all
    sets tells, exactly up to 256 labels. The empty set is right where no label is present. Calibrated probabilities are
    what it needs: no threshold is fitted to anything.

    Args:
        probabilities: (N, C), 0..1; a label that does not count has the probability 0.
    """
    # For a set of a given size more of p is always better, so only the first k of the ranking can be best.
    ranked, order = probabilities.sort(dim=1, descending=True, stable=True)
    sizes = torch.from_numpy(best_sizes(ranked.detach().flip(1).cpu().double().numpy())).to(ranked.device)
    ranks = torch.arange(probabilities.shape[1], device=probabilities.device)
    # A label that does not count has probability 0 and is in no set, not even to fill it up.
    first = (ranks < sizes[:, None]) & (ranked > 0)
    return torch.zeros_like(first).scatter(1, order, first)
