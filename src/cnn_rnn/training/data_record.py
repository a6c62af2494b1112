"""The rows and classes that a run was trained on, kept beside it, so that it never goes on with others unnoticed."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from cnn_rnn.data.photos.checks import row_digests
from cnn_rnn.data.photos.disk_layout import abbreviate
from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.provenance import digest_texts
from cnn_rnn.foundation.whole_files import whole_file

logger = logging.getLogger(__name__)
RECORD = "data_rows.parquet"
PART_NAMES = ("train", "held out")


class OtherDataError(ValueError):
    """The run was trained on other rows or classes; the message says what differs."""


@dataclass(frozen=True)
class DataRecord:
    """The classes of a run and, of each row, part, id and a digest of its labels.

    Attributes:
        label_names: The classes, by id.
        parts: 0 for a row that is trained on, 1 for one that is held out (N,).
        image_ids: What each row is called.
        digests: Of each row's labels, by name (N,).
    """

    label_names: Sequence[str]
    parts: npt.NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    image_ids: Sequence[str] = ()
    digests: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    @classmethod
    def of(cls, label_names: Sequence[str], train: Dataset, validation: Dataset) -> "DataRecord":
        """The record of two parts; streams have their classes alone, for their rows come one by one."""
        parts = np.repeat(np.array([0, 1], np.int8), [len(train), len(validation)])
        ids = [image_id for rows in (train, validation) for image_id in rows["image_id"]]
        return cls(label_names, parts, ids, np.concatenate([row_digests(train), row_digests(validation)]))

    def digest(self) -> str:
        """What the record is known by."""
        found = hashlib.sha256(self.parts.tobytes() + self.digests.tobytes())
        found.update(digest_texts([*self.label_names, "", *self.image_ids]).encode())
        return found.hexdigest()

    def write(self, folder: Path) -> None:
        """Write the record beside the run, whole or not at all."""
        columns = {"part": pa.array(self.parts), "image_id": pa.array(self.image_ids, pa.string())}
        columns["digest"] = pa.array(self.digests)
        table = pa.table(columns).replace_schema_metadata({"label_names": json.dumps(list(self.label_names))})
        with whole_file(folder / RECORD) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def read(cls, folder: Path) -> "DataRecord | None":
        """The record beside a run; None where there is none, as beside those of earlier versions."""
        if not (folder / RECORD).is_file():
            return None
        with told_as_broken(folder / RECORD, "is no record of a run's data", "; give another train.output_dir"):
            table = pq.read_table(folder / RECORD)
            names = json.loads((table.schema.metadata or {})[b"label_names"])
            columns = (table["part"].to_numpy(), table["image_id"].to_pylist(), table["digest"].to_numpy())
            return cls(names, *columns)

    def differences(self, now: "DataRecord") -> list[str]:
        """What is other now, in words; empty where nothing is."""
        told = _other_names(list(self.label_names), list(now.label_names))
        before, after = self.rows_by_id(), now.rows_by_id()
        if not before or not after:
            return told
        gone, new = [[name for name in one if name not in other] for one, other in ((before, after), (after, before))]
        both = [name for name in before if name in after]
        moved = [name for name in both if before[name][0] != after[name][0]]
        relabelled = [name for name in both if before[name][1] != after[name][1]]
        changes = ((new, "photos are new"), (gone, "photos are gone"), (relabelled, "photos have other labels"))
        told += [f"{len(names):,} {what} ({abbreviate(names[:3])})" for names, what in changes if names]
        if moved:
            name = moved[0]
            there, here = PART_NAMES[before[name][0]], PART_NAMES[after[name][0]]
            told.append(f"{len(moved):,} photos are in another part ({name}: {there}, now {here})")
        return told

    def rows_by_id(self) -> dict[str, tuple[int, int]]:
        """Part and digest of each row."""
        return dict(zip(self.image_ids, zip(self.parts.tolist(), self.digests.tolist(), strict=True), strict=True))


def _other_names(before: list[str], now: list[str]) -> list[str]:
    """How the labels differ from those before, for a message; empty where they do not."""
    if before == now:
        return []
    gone, new = ([name for name in one if name not in other] for one, other in ((before, now), (now, before)))
    told = [f"label {what}: {abbreviate(names)}" for names, what in ((gone, "gone"), (new, "new")) if names]
    return told or ["the labels are the same, but in another order"]


def check_rows(checkpoint: Path, output_dir: Path, now: DataRecord) -> None:
    """Refuse to go on from a checkpoint with other rows or classes than its run had.

    Args:
        checkpoint: Where to go on from.
        output_dir: Folder of the run that goes on.
        now: The rows at hand.

    Raises:
        OtherDataError: They differ; the message names how.
    """
    folders = dict.fromkeys([output_dir, checkpoint.resolve().parent.parent])
    records = {folder: record for folder in folders if (record := DataRecord.read(folder)) is not None}
    if not records:
        logger.warning("%s keeps no record of its data: whether they are the same was not checked", checkpoint)
    for folder, record in records.items():
        refuse_others(folder, record, now)


def refuse_others(folder: Path, before: DataRecord, now: DataRecord) -> None:
    """Raise `OtherDataError` where a run's rows or classes are other now."""
    told = before.differences(now)
    if told:
        raise OtherDataError(
            f"{folder} was trained on other data: {'; '.join(told)}. Bring the data back to what they were, or train "
            f"anew in another --train.output_dir, from this model where you like: --model.weights {folder}"
        )
