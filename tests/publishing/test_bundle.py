"""A bundle is small, says the same as the run, and holds no code."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from cnn_rnn.publishing import bundle
from cnn_rnn.publishing.bundle import EIGHT_BITS, halve, write_bundle


def test_it_loads_in_single_precision_and_says_nearly_the_same(run: Path, metrics: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photo.png")
    size = write_bundle(run, "cnn-rnn-digits", metrics, tmp_path / "box", photo=tmp_path / "photo.png", rival=metrics)
    assert size < 0.6 * sum(file.stat().st_size for file in run.glob("model.safetensors")) + 30_000
    assert {file.name for file in (tmp_path / "box").iterdir()} == {
        *("README.md", "config.json", "metrics.json", "model.safetensors", "preprocessor_config.json"),
        *("run_config.yaml", "example.jpg"),
    }
    card = ModelCard.load(tmp_path / "box" / "README.md")
    assert card.data.to_dict()["widget"] == [{"src": "example.jpg"}]
    assert "model=cnn_rnn.bundled_model()" in card.text
    own, small = (AutoModelForImageClassification.from_pretrained(folder).eval() for folder in (run, tmp_path / "box"))
    assert {parameter.dtype for parameter in small.parameters()} == {torch.float32}
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(small(pixels).logits, own(pixels).logits, atol=0.05)


def test_vectors_stay_exact_and_matrices_are_halved(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    for name, tensor in halve(weights).items():
        if tensor.dim() > 1 and tensor.is_floating_point():
            assert tensor.dtype == (torch.float8_e4m3fn if name in EIGHT_BITS else torch.float16)
        else:
            assert torch.equal(tensor, weights[name])
    with pytest.raises(ValueError, match="x holds values beyond those of float16"):
        halve({"x": torch.full((1, 1), 1e6)})
    keys = torch.nn.functional.normalize(torch.randn(30, 256, generator=torch.Generator().manual_seed(0)), dim=-1)
    small = halve({"neighbours.keys": keys})["neighbours.keys"]
    assert small.element_size() == 1
    assert (small.float() @ small.float().T - keys @ keys.T).abs().max() < 0.02  # of the cosines


def test_what_is_too_large_is_refused(
    run: Path, metrics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "LARGEST", 1000)
    with pytest.raises(ValueError, match="more than 1,000"):
        write_bundle(run, "cnn-rnn-digits", metrics, tmp_path / "box")
