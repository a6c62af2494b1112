"""Models whose walks have the lengths of real ones, without a data set: trained a little on what their images show."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.label_paths import labels_to_paths
from cnn_rnn.walking import Walk

LABELS_A_WALK = 3
IMAGES, WALKS, STEPS, BATCH, LEARNING_RATE = 64, 1024, 240, 32, 3e-3
NEVER = -30.0  # added to what END scores in a decoder that never ends by itself


@torch.inference_mode(mode=False)  # what is made in that mode cannot be trained
def walking_model(
    backbone: str, num_labels: int, *, ends: bool = True, weights: str | Path | None = None, **fields: Any
) -> CnnRnnForImageClassification:
    """A model in evaluation mode whose walks have about three labels, or as many as may be where they never end.

    Args:
        backbone: Name of a timm model.
        num_labels: C.
        ends: Whether walks end.
        weights: As `from_backbone` takes them.
        **fields: Of the config.
    """
    torch.manual_seed(0)
    names = [f"label {index}" for index in range(num_labels)]
    settings: dict[str, Any] = {"beam_width": 5, "projection_dropout": 0.0} | fields
    model = CnnRnnForImageClassification.from_backbone(backbone, weights, id2label=names, **settings)
    train_a_little(model)
    if not ends:
        never_end(model)
    model.backbone.put_channels_innermost()  # as `SavedModel.load` does
    return model.eval()


def varied_images(number: int, size: int) -> Tensor:
    """Images (N, 3, h, w) of different colours, contrasts and grain, as normalised pixel values."""
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(number, 3, size, size)
    for cells in (1, 2, 5, 16, size):
        noise = torch.randn(number, 3, cells, cells, generator=generator)
        strength = torch.rand(number, 1, 1, 1, generator=generator)
        images += strength * functional.interpolate(noise, size=(size, size))
    return images


@torch.no_grad()
def train_a_little(model: CnnRnnForImageClassification) -> None:
    """Teach the decoder sets of about three labels that follow from the features."""
    config, decoder = model.config, model.path_decoder
    assert decoder is not None
    seen = torch.cat([model.eval().encode_images(part) for part in varied_images(IMAGES, config.image_size).split(8)])
    mean, std = seen.mean(dim=0), seen.std(dim=0) + 1e-6
    features = ((seen - mean) / std)[torch.randint(IMAGES, (WALKS,))]
    features = features + 0.3 * torch.randn(features.shape)
    pooled = features if features.dim() == 2 else features.mean(dim=1)
    # What is in an image follows from its features, and as in photographs a few labels are frequent and most are rare.
    direction = torch.randn(pooled.shape[1], config.num_labels + 1) / pooled.shape[1] ** 0.5
    appeal = 3 * (pooled @ direction) / (pooled @ direction).std()
    number = (LABELS_A_WALK + 0.4 * appeal[:, -1:]).round().clamp(1, config.num_labels)
    appeal = appeal[:, :-1] - torch.arange(1.0, config.num_labels + 1).log()
    labels = (appeal.argsort(dim=1, descending=True).argsort(dim=1) < number).float()
    paths = labels_to_paths(labels, torch.arange(config.num_labels))
    optimizer = torch.optim.Adam(decoder.parameters(), LEARNING_RATE)
    decoder.train()
    with torch.enable_grad():
        for step in range(STEPS):
            rows = torch.arange(step * BATCH, (step + 1) * BATCH) % WALKS
            logits = Walk(decoder, features[rows]).follow(paths[rows])
            wanted = paths[rows]
            counted = functional.pad(wanted[:, :-1] < config.num_labels, (1, 0), value=True)  # the first END counts
            loss = functional.cross_entropy(logits[counted], wanted[counted])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    decoder.eval()
    projection = decoder.image_projection
    projection.weight.div_(std if std.dim() == 1 else std.mean(dim=0))
    projection.bias.sub_(projection.weight @ (mean if mean.dim() == 1 else mean.mean(dim=0)))


def never_end(model: CnnRnnForImageClassification) -> None:
    """Make END so improbable that every walk goes on to the most labels that a path may hold."""
    decoder = model.path_decoder
    assert decoder is not None
    with torch.no_grad():
        # The joint embedding is a tanh: a bias that saturates one of its parts is a constant that END alone reads.
        decoder.image_projection.weight[0] = 0.0
        decoder.image_projection.bias[0] = 20.0
        decoder.label_embedding.weight[:, 0] = 0.0
        decoder.label_embedding.weight[model.config.end_id, 0] = NEVER
