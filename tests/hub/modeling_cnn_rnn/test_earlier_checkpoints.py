"""Checkpoints of earlier versions give what they gave: configs and outputs kept from then, weights by formula."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from .small_models import Model, generate

EARLIER: dict[str, Any] = json.loads((Path(__file__).parent / "earlier_outputs.json").read_text(encoding="utf-8"))
TARGETS = torch.tensor([[1.0, 0, 1, 0, -100], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]])
# Sizes for which no layer is saturated, so that every weight has its part in the outputs.
SCALES = {"backbone.": 1.6, "gates": 1.3, "recurrent.": 2.0, "image_projection": 4.0, "relevance_head": 0.7}


def tensor_of(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weights of one name: pseudo-random numbers that no version of torch can change."""
    count = torch.Size(shape).numel()
    waves = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 12.9898 + 3 * sum(map(ord, name))) * 43758.5453
    values = (waves - waves.floor()) * 2 - 1
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("running_var"):
        values = 1 + 0.5 * values
    elif len(shape) == 1:
        values = 0.2 * values + (0 if name.endswith(("bias", "mean")) else 1)
    else:
        scale = next((scale for part, scale in SCALES.items() if part in name), 5.0)
        values = values * scale * (2 * shape[0] / count) ** 0.5
    return values.float().reshape(shape)


def pixel_values() -> torch.Tensor:
    """Three images by formula."""
    places = torch.arange(3 * 64 * 64, dtype=torch.float64)
    images = [torch.sin(places * places * 1e-4 * (image + 1)) + image - 1 for image in range(3)]
    return (1.5 * torch.stack(images)).float().double().reshape(3, 3, 64, 64)


@pytest.mark.parametrize("earlier", EARLIER["checkpoints"].values(), ids=EARLIER["checkpoints"])
@torch.no_grad()
def test_an_earlier_checkpoint_gives_what_it_gave(earlier: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(earlier["config"]), encoding="utf-8")
    shapes = EARLIER["backbone_shapes"] | earlier["shapes"]
    weights = {name: tensor_of(name, tuple(shape)) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, information = Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(information.values())
    model.double()  # so that no machine's order of summation shows

    outputs = {"forward": dict(model(pixel_values(), labels=TARGETS))}
    if "generate" in earlier["outputs"]:
        outputs["generate"] = dict(generate(model, pixel_values()))
    for method, expected in earlier["outputs"].items():
        for name, value in expected.items():
            given = outputs[method][name]
            before = torch.tensor(value, dtype=given.dtype)
            tolerance = 1e-6
            if name == "logits":  # near certainty log odds tell the rounding of a label's score
                given, before, tolerance = given.sigmoid(), before.sigmoid(), 1e-5
            torch.testing.assert_close(given, before, rtol=tolerance, atol=tolerance)
