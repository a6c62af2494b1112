"""The tensors of a safetensors file as numpy arrays, those of kinds that numpy has no word for too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMPY_KINDS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "U8": np.uint8, "I8": np.int8, "BOOL": np.bool_}
NUMPY_KINDS |= {"I16": np.int16, "I32": np.int32, "I64": np.int64, "BF16": np.uint16, "F8_E4M3": np.uint8}


def stored_weights(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each tensor by name, in the type that a graph computes in: fractions in float32.

    Raises:
        ValueError: A tensor is of another kind.
    """
    content = np.memmap(path, np.uint8, "r")
    length = int(content[:8].view("<u8")[0])
    for name, entry in json.loads(content[8 : 8 + length].tobytes()).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in NUMPY_KINDS:
            raise ValueError(f"{path}: {name} is of {entry['dtype']}, which torch alone reads")
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(content[start:end], NUMPY_KINDS[entry["dtype"]]).reshape(entry["shape"])
        if entry["dtype"] == "F8_E4M3":
            values = FLOAT8_VALUES[values]
        elif entry["dtype"] == "BF16":
            # bfloat16 is the upper half of a float32.
            values = (values.astype(np.uint32) << 16).view(np.float32)
        yield name, values.astype(np.float32) if values.dtype == np.float16 else values


def _eight_bits() -> NDArray[np.float32]:
    """The number that each byte stands for in float8_e4m3fn: a sign, four bits of exponent, three of fraction."""
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, (codes & 7) / 8
    sizes = np.where(exponent > 0, (1 + fraction) * 2.0 ** (exponent - 7), fraction * 2.0**-6)
    sizes[[127, 255]] = np.nan
    return np.where(codes < 128, sizes, -sizes).astype(np.float32)


FLOAT8_VALUES = _eight_bits()
