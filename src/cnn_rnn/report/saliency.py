"""What the network says of one image, and where it looked: Grad-CAM, or input gradients, from the captum library."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cnn_rnn.metrics.checked_arrays import Array
from cnn_rnn.metrics.label_sets import obey, pick_by_threshold

from .page import ShownPhoto, ShownStep
from .plots import INSTALL


class StepMaps(NamedTuple):
    """What was looked at, and how that was found."""

    maps: NDArray[np.float32]  # (T, h, w) 0..1, as large as the pixel values
    method: str


def walk_example(model: Any, processor: Any, row: Mapping[str, Any]) -> tuple[ShownPhoto, str]:
    """An image with its truth, the best path and what was looked at for each step, and how that was found.

    Args:
        model: A model in evaluation mode.
        processor: Its image processor, whose mean and standard deviation undo the normalisation.
        row: `pixel_values` (3, h, w), multi-hot `labels` (C,), negative where left out, and `image_id`.
    """
    names = model.config.label_names
    pixel_values = row["pixel_values"][None].to(model.device)
    output = model.generate(pixel_values)
    path = [label for label in output.paths[0, 0].tolist() if label < len(names)]
    probabilities = output.step_scores[0, 0].exp().tolist()
    found = explain_path(model, pixel_values, path)
    steps = [ShownStep(names[label], probabilities[step], found.maps[step]) for step, label in enumerate(path)]
    if len(path) < len(probabilities):
        steps.append(ShownStep(None, probabilities[len(path)]))
    return _example(processor, row, names, steps), found.method


def label_example(model: Any, processor: Any, row: Mapping[str, Any], scores: Array) -> ShownPhoto:
    """A photo with the labels that a model without paths names, the most probable first.

    Args:
        model: A `CnnRnnForImageClassification`.
        processor: Its image processor.
        row: A prepared row, as `prepare_examples` gives it.
        scores: Its probabilities (C,).
    """
    names, thresholds = model.config.label_names, model.config.thresholds or [0.5] * len(scores)
    (picked,) = obey(pick_by_threshold(scores[None], thresholds), scores[None], model.rules)
    named = [label for label in np.argsort(-scores, kind="stable") if picked[label]]
    return _example(
        processor, row, names, [ShownStep(names[label], float(scores[label])) for label in named], walked=False
    )


def _example(
    processor: Any, row: Mapping[str, Any], names: Sequence[str], steps: Sequence[ShownStep], *, walked: bool = True
) -> ShownPhoto:
    """A prepared row with what is true of it and what the model says."""
    labels = row["labels"].tolist()
    return ShownPhoto(
        name=str(row["image_id"]),
        image=show_pixels(row["pixel_values"], processor.image_mean, processor.image_std),
        truth=[name for name, label in zip(names, labels, strict=True) if label == 1],
        steps=steps,
        left_out=[name for name, label in zip(names, labels, strict=True) if label < 0],
        walked=walked,
    )


def show_pixels(pixel_values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Image.Image:
    """The image as the network saw it, from normalised pixel values (3, h, w)."""
    plain = pixel_values.cpu() * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    return Image.fromarray((255 * plain).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())


def explain_path(model: Any, pixel_values: Tensor, path: Sequence[int]) -> StepMaps:
    """Where the evidence for each step of a path lies in one image.

    Grad-CAM at the backbone's last feature map where it has one, else the size of the input gradient, smoothed.

    Args:
        model: A model with `encode_images`, a `path_decoder` and a `backbone`.
        pixel_values: One preprocessed image (1, 3, h, w).
        path: Label ids of its path, without END.

    Raises:
        ImportError: captum is not installed.
        ValueError: the model has no path decoder.
    """
    if model.path_decoder is None:
        raise ValueError("this model walks no path (path_loss='none'), so there are no steps to explain")
    height, width = pixel_values.shape[-2:]
    if not len(path):
        return StepMaps(np.zeros((0, height, width), np.float32), "no step")
    decoder = model.path_decoder
    walked = torch.tensor([[model.config.start_id, *path[:-1]]], device=pixel_values.device)

    def score_steps(pixels: Tensor) -> Tensor:
        """Logits (B, T, C + 1) of every step."""
        image = decoder.embed_image(model.encode_images(pixels))
        logits, _ = decoder(walked.expand(len(pixels), -1), image)
        return logits

    return _explain(model, pixel_values, score_steps, list(enumerate(path)))


def explain_label(model: Any, pixel_values: Tensor, label: int) -> StepMaps:
    """Where the evidence for one label lies in one image: of its relevance logit, else of the first step of a path.

    Args:
        model: A model with a `backbone`.
        pixel_values: One preprocessed image (1, 3, h, w).
        label: Its id.

    Raises:
        ImportError: captum is not installed.
    """
    if not model.config.has_relevance_head:
        return explain_path(model, pixel_values, [label])

    def score_labels(pixels: Tensor) -> Tensor:
        """Relevance logits (B, C)."""
        logits: Tensor = model(pixels).relevance_logits
        return logits

    return _explain(model, pixel_values, score_labels, [label])


def _explain(model: Any, pixel_values: Tensor, score: Any, targets: Sequence[Any]) -> StepMaps:
    """Where the evidence for each target of `score`, a function of pixel values (B, 3, h, w), lies in one image."""
    try:
        from captum.attr import LayerAttribution, LayerGradCam, Saliency
    except ImportError as error:
        raise ImportError(f"pictures of what the network looked at need captum: {INSTALL}") from error
    height, width = pixel_values.shape[-2:]
    training = model.training
    model.eval()
    pixels = pixel_values.detach().clone().requires_grad_()
    layer = last_feature_map(model.backbone, pixels)
    maps = []
    for target in targets:
        if layer is None:
            gradient = Saliency(score).attribute(pixels, target=target).amax(dim=1, keepdim=True)
            # About an eighth of the image, and odd, so that it has a middle.
            kernel = max(height, width) // 16 * 2 + 1
            found = nn.functional.avg_pool2d(gradient, kernel, stride=1, padding=kernel // 2, count_include_pad=False)
        else:
            small = LayerGradCam(score, layer).attribute(pixels, target=target, relu_attributions=True)
            found = LayerAttribution.interpolate(small, (height, width), interpolate_mode="bilinear")
        maps.append(_to_unit(found[0, 0].detach()))
    model.train(training)
    return StepMaps(np.stack(maps), "smoothed input gradient" if layer is None else "Grad-CAM")


def last_feature_map(backbone: nn.Module, pixel_values: Tensor) -> nn.Module | None:
    """The last module that puts out a map (B, D, h', w') of the image's proportions.

    None where there is none, or where tokens (B, N, D) come after it, as in a transformer after its patches.
    """
    height, width = pixel_values.shape[-2:]
    found: list[nn.Module] = []

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 3:
            found.clear()
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
