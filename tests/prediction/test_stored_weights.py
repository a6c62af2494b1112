"""Tensors of a safetensors file by numpy beside torch's own reading."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cnn_rnn.prediction.stored_weights import stored_weights

KINDS = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.uint8, torch.int64]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_numbers_are_those_that_torch_reads(kind: torch.dtype, tmp_path: Path) -> None:
    values = torch.linspace(-3, 400, 300).reshape(2, 150) if kind.is_floating_point else torch.arange(200)
    save_file({"a": values.to(kind), "b": torch.zeros(3)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = dict(stored_weights(tmp_path / "model.safetensors"))
    expected = values.to(kind).float() if kind.is_floating_point else values.to(kind)
    np.testing.assert_array_equal(found["a"], expected.numpy())
    assert found["a"].dtype == expected.numpy().dtype
    assert found["b"].shape == (3,)


def test_every_number_of_eight_bits_is_read(tmp_path: Path) -> None:
    codes = torch.arange(256).to(torch.uint8).view(torch.float8_e4m3fn)
    save_file({"a": codes}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(dict(stored_weights(tmp_path / "model.safetensors"))["a"], codes.float().numpy())


def test_other_kinds_are_left_to_torch(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(4).to(torch.float8_e5m2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="a is of F8_E5M2, which torch alone reads"):
        dict(stored_weights(tmp_path / "model.safetensors"))
