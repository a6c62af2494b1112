"""What the network looked at for each label of a path: Grad-CAM, or input gradients, from the captum library."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnn_rnn.metrics.figures import INSTALL


class StepMaps(NamedTuple):
    """What was looked at, and how that was found."""

    maps: NDArray[np.float32]  # (T, h, w) 0..1, as large as the pixel values
    method: str


def explain_path(model: Any, pixel_values: Tensor, path: Sequence[int]) -> StepMaps:
    """Where the evidence for each step of a path lies in one image.

    Grad-CAM at the backbone's last feature map where it has one, else the size of the input gradient, smoothed.

    Args:
        model: A model with ``get_image_features``, a ``path_decoder`` and a ``backbone``.
        pixel_values: One preprocessed image (1, 3, h, w).
        path: Label ids of its path, without END.

    Raises:
        ImportError: captum is not installed.
        ValueError: the model has no path decoder.
    """
    try:
        from captum.attr import LayerAttribution, LayerGradCam, Saliency
    except ImportError as error:
        raise ImportError(f"pictures of what the network looked at need captum: {INSTALL}") from error
    if model.path_decoder is None:
        raise ValueError("this model walks no path (path_loss='none'), so there are no steps to explain")
    height, width = pixel_values.shape[-2:]
    if not len(path):
        return StepMaps(np.zeros((0, height, width), np.float32), "no step")
    decoder = model.path_decoder
    walked = torch.tensor([[model.config.start_id, *path[:-1]]], device=pixel_values.device)

    def score_steps(pixels: Tensor) -> Tensor:
        """Logits (B, T, C + 1) of every step."""
        image = decoder.embed_image(model.get_image_features(pixels))
        logits, _ = decoder(walked.expand(len(pixels), -1), image)
        return logits

    training = model.training
    model.eval()
    pixels = pixel_values.detach().clone().requires_grad_()
    layer = last_feature_map(model.backbone, pixels)
    maps = []
    for step, label in enumerate(path):
        if layer is None:
            gradient = Saliency(score_steps).attribute(pixels, target=(step, label)).amax(dim=1, keepdim=True)
            kernel = max(height, width) // 16 * 2 + 1
            found = nn.functional.avg_pool2d(gradient, kernel, stride=1, padding=kernel // 2, count_include_pad=False)
        else:
            small = LayerGradCam(score_steps, layer).attribute(pixels, target=(step, label), relu_attributions=True)
            found = LayerAttribution.interpolate(small, (height, width), interpolate_mode="bilinear")
        maps.append(_to_unit(found[0, 0].detach()))
    model.train(training)
    return StepMaps(np.stack(maps), "smoothed input gradient" if layer is None else "Grad-CAM")


def last_feature_map(backbone: nn.Module, pixel_values: Tensor) -> nn.Module | None:
    """The last module that puts out a map (B, D, h', w') of the image's proportions; None where there is none."""
    height, width = pixel_values.shape[-2:]
    found: list[nn.Module] = []

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1:
            rows, columns = output.shape[2:]
            if abs(rows * width - columns * height) <= max(height, width):
                found.append(module)

    hooks = [module.register_forward_hook(note) for module in backbone.modules() if module is not backbone]
    try:
        with torch.no_grad():
            backbone(pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else None


def _to_unit(values: Tensor) -> NDArray[np.float32]:
    """The map from 0 to 1, all 0 where it is flat."""
    lowest, highest = values.min(), values.max()
    scaled = (values - lowest) / (highest - lowest) if highest > lowest else torch.zeros_like(values)
    return np.asarray(scaled.float().cpu().numpy(), np.float32)
