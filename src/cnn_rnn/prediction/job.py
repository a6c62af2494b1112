"""What a bulk job is: all that its predictions depend on, and the rows that it writes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from cnn_rnn.foundation.provenance import Provenance, digest

SCORED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("labels", SCORED),
        ("path", SCORED),
        ("path_score", pa.float32()),
        ("unfamiliar", pa.bool_()),  # null where the model does not tell
        ("known", pa.list_(pa.struct([("label", pa.string()), ("present", pa.bool_())]))),
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class Job:
    """What predictions are made from; parts of two different jobs must never be mixed.

    Attributes:
        provenance: Weights, config, preprocessing and code.
        inputs: A digest of the names of the images in their order.
        parts: How many parts there are.
        threshold: As the pipeline takes it.
        part_size: Images in each part.
        parts_per_file: Parts that are joined to one file.
        answers: A digest of what is known of the images; None for nothing.
    """

    provenance: Provenance
    inputs: str
    parts: int
    threshold: float | None = None
    part_size: int = 2000
    parts_per_file: int = 500
    answers: str | None = None

    def __post_init__(self) -> None:
        """Refuse sizes of nothing."""
        for name in ("part_size", "parts_per_file"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def key(self) -> str:
        """What the job is known by."""
        return digest(asdict(self))

    @property
    def files(self) -> int:
        """How many files come of it."""
        return -(-self.parts // self.parts_per_file)

    def parts_of(self, file: int) -> range:
        """The parts of one file."""
        return range(file * self.parts_per_file, min((file + 1) * self.parts_per_file, self.parts))

    def file_name(self, file: int) -> str:
        """What one file is called."""
        return "labels.parquet" if self.files == 1 else f"labels-{file:05d}-of-{self.files:05d}.parquet"


@dataclass(frozen=True)
class PartRecord:
    """What a part says of itself.

    Attributes:
        inputs: The identity of the inputs that it was made from.
        rows: How many images.
        lost: How many of them could not be had, and may be there later.
    """

    inputs: str
    rows: int
    lost: int


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The fields that differ, each with both values, the inner ones of a dictionary by name."""
    for name in sorted((set(before) | set(now)) - {"key"}):
        old: Any = before.get(name)
        new: Any = now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name} {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    """A value as code writes it, cut off after 40 characters."""
    told = repr(value)
    return told if len(told) <= 40 else f"{told[:36]} ..."
