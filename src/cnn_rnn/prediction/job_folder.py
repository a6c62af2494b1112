"""The folder of a bulk job: parts that are whole or not there, and the files that come of them in the end.

    OUTPUT/parts/job.json                  what the job depends on, and whose folder this therefore is
    OUTPUT/parts/part-000017.parquet       a part; it says which job it is of and from which inputs it came
    OUTPUT/parts/joined/labels*.parquet    parts joined, a file for so many of them
    OUTPUT/labels.parquet                  the end of it: one file, or labels-00000-of-00012.parquet and so on

Any number of processes may work in it, come and go: a part in work is locked, and a lock ends with its process.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from cnn_rnn.data.photos.found_files import JOB_LABELS, JOB_PICTURE
from cnn_rnn.foundation.broken_files import reason
from cnn_rnn.foundation.folder_lock import FolderLock, one_at_a_time
from cnn_rnn.foundation.provenance import Identity
from cnn_rnn.foundation.whole_files import half_done, remove_whole, whole_file, write_json

from .answers import Answers
from .inputs import Inputs
from .job import SCHEMA, Job, PartRecord, differences

PARTS_FOLDER, JOINED = "parts", "joined"
OWN_NAME = re.compile(r"labels(-\d{5}-of-\d{5})?\.parquet")
OWN_PART = re.compile(r"job\.(json|lock)|finish\.lock|part-\d+\.(parquet|lock)|joined|.*\.[0-9a-f]{12}\.tmp")
State = Literal["finished", "finished by another process", "unfinished"]


class OtherJobError(ValueError):
    """The folder holds parts of another job; the message says what differs."""


class OtherViewError(ValueError):
    """Two processes see the same images differently and would make each other's parts again for ever."""


class DamagedPartError(ValueError):
    """A file of the job is not what was written; it is removed, and to be made again."""


class JobFolder:
    """A job at work in its folder.

    Args:
        folder: The output folder.
        job: What is to be done.
        inputs: Its images.
        by: How far to look for inputs that changed.
        keep_lost: Whether a row that says that its image was lost counts as done.
        answers: What is known of the images; the job has its digest.
        config: Of the model, which says what the labels are; None where nobody asks.
    """

    def __init__(
        self,
        folder: Path,
        job: Job,
        inputs: Inputs,
        by: Identity = "time",
        *,
        keep_lost: bool = False,
        answers: Answers | None = None,
        config: Any = None,
    ) -> None:
        self.config = config
        self.folder, self.job, self.inputs, self.by, self.keep_lost = folder, job, inputs, by, keep_lost
        self.answers = answers or {}
        self.parts = folder / PARTS_FOLDER
        self.said: list[str] = []
        self._made: dict[int, tuple[str, int]] = {}  # inputs of each part written by this process, and how often

    def claim(self) -> None:
        """Write down that the folder holds parts of this job, or see that it does.

        Raises:
            OtherJobError: It holds parts of another one, which was stopped before its end, or what is no job's at all.
        """
        self._refuse_others()
        self.parts.mkdir(parents=True, exist_ok=True)
        # Of two that begin at once the second must find whose folder it is.
        with one_at_a_time(self.parts / "job.lock"):
            if self.is_claimed():
                self.check_owner()
            else:
                write_json(self.parts / "job.json", {"key": self.job.key, **asdict(self.job)})
        self.clear_up()

    def _refuse_others(self) -> None:
        """Refuse a folder where finishing would remove or write over what this command did not make.

        Raises:
            OtherJobError: It is one.
        """
        parts = self.parts.iterdir() if self.parts.is_dir() and not self.is_claimed() else ()
        strangers = [path for path in parts if not OWN_PART.fullmatch(path.name)]
        labels = [path for path in sorted(self.folder.glob(JOB_LABELS)) if OWN_NAME.fullmatch(path.name)]
        picture = self.folder / JOB_PICTURE
        if picture.exists() and not labels and not self.is_claimed():  # a job draws it last
            strangers.append(picture)
        for path in labels:
            with suppress(Exception):  # one of ours that is damaged is made again
                if b"job" not in (pq.read_schema(path).metadata or {}):
                    strangers.append(path)
        if strangers:
            raise OtherJobError(
                f"{strangers[0]} was not made by this command, which would remove it or write over it: give another "
                "--output, or move it away"
            )

    def clear_up(self) -> None:
        """Remove what processes that were killed left half written or half removed."""
        for leftover in half_done(self.folder, f"{PARTS_FOLDER}.*"):
            remove_whole(leftover)
        for leftover in half_done(self.folder, f"{JOB_PICTURE}.*"):
            leftover.unlink(missing_ok=True)

    def is_claimed(self) -> bool:
        """Whether a job is at work here."""
        return (self.parts / "job.json").exists()

    def leave(self) -> None:
        """Remove what was put into the folder for a job that turned out to be finished, or not to be ours."""
        self.clear_up()
        if not self.is_claimed():
            remove_whole(self.parts)

    def check_owner(self) -> None:
        """Refuse a folder that is another job's.

        Raises:
            OtherJobError: It is, or it does not say whose it is.
        """
        path = self.parts / "job.json"
        try:
            there = dict(json.loads(path.read_text(encoding="utf-8")))
        except Exception as error:  # of whatever stands there
            raise OtherJobError(f"{path}: {reason(error)}; remove {self.parts}, or give another --output") from error
        if there.get("key") != self.job.key:
            told = "; ".join(differences(there, json.loads(json.dumps(asdict(self.job), default=str))))
            raise OtherJobError(
                f"{self.parts} holds parts of another job that was stopped ({told}): end that one with its own "
                "command, give another --output, or remove that folder"
            )

    def part_path(self, part: int) -> Path:
        """The file of one part."""
        return self.parts / f"part-{part:06d}.parquet"

    def lock(self, part: int) -> FolderLock:
        """The right to make a part."""
        return FolderLock(self.parts / f"part-{part:06d}.lock", "labelling")

    def read_record(self, part: int) -> PartRecord | None:
        """What a part of this job says of itself; None where it is not there, or not whole, or not of this job."""
        return (self._file_records(self.part_path(part)) or {}).get(part)

    def done(self, part: int) -> PartRecord | None:
        """The record of a part that need not be made (again)."""
        return self._usable(part, self.read_record(part))

    def _usable(self, part: int, record: PartRecord | None) -> PartRecord | None:
        """The record, if the part need not be made again for images that were lost, or that are others by now."""
        return None if record is None or (record.lost and not self.keep_lost) else self.still_true(part, record)

    def still_true(self, part: int, record: PartRecord | None) -> PartRecord | None:
        """The record, if the part's inputs are what they were.

        Raises:
            OtherViewError: Twice this process made the part from inputs that are as they were, and twice another one
                made it again, from what it took for other ones.
        """
        if record is None:
            return None
        now = self.inputs.identity(part, self.by)
        if record.inputs != now and self._made.get(part) == (now, 2):
            raise OtherViewError(
                f"{self.part_path(part)} was made again by another process, for which its images have another size or "
                "time of change than here: where each machine has copies of its own, give all of them --changes_by name"
            )
        return record if record.inputs == now else None

    def missing(self) -> tuple[list[int], int]:
        """Numbers of the parts that are to be made, and how many images the others have."""
        found, rows = [], 0
        for file in tqdm(range(self.job.files), desc="looking for what is done", unit="file", delay=2, leave=False):
            records = self.joined_records(file)
            for part in self.job.parts_of(file):
                record = records[part] if records else self.done(part)
                if record is None:
                    found.append(part)
                else:
                    rows += record.rows
        return found, rows

    def write_part(self, part: int, rows: list[dict[str, Any]], lost: int, inputs: str) -> None:
        """Write one part, whole or not at all; `inputs` is their identity from before they were read."""
        schema = self._schema({part: PartRecord(inputs, len(rows), lost)})
        table = pa.Table.from_pylist(rows, schema=schema)
        with whole_file(self.part_path(part)) as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)
        before, times = self._made.get(part, (inputs, 0))
        self._made[part] = inputs, times + 1 if before == inputs else 1

    def _schema(self, records: Mapping[int, PartRecord]) -> pa.Schema:
        """The columns of a file, which says what job it is of and what its parts say of themselves."""
        parts = {part: astuple(record) for part, record in records.items()}
        return SCHEMA.with_metadata({"job": self.job.key, "parts": json.dumps(parts)})

    def joined_path(self, file: int) -> Path:
        """Where a file is until all of them are there."""
        return self.parts / JOINED / self.job.file_name(file)

    def joined_records(self, file: int) -> dict[int, PartRecord] | None:
        """The records of a joined file's parts, if that file is there and none of them is to be made again."""
        for path in (self.joined_path(file), self.folder / self.job.file_name(file)):
            records = self._file_records(path)
            if records is None or set(records) != set(self.job.parts_of(file)):
                continue
            if all(self._usable(part, record) for part, record in records.items()):
                return records
        return None

    def _file_records(self, path: Path) -> dict[int, PartRecord] | None:
        """The records of a file's parts; None where it is missing, damaged or of another job."""
        try:
            metadata = pq.read_schema(path).metadata or {}
            if metadata.get(b"job", b"").decode() == self.job.key:
                return {int(part): PartRecord(*record) for part, record in json.loads(metadata[b"parts"]).items()}
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - of whatever stands there
            self.said.append(f"{path} is damaged ({reason(error)}): made again")
        return None

    def is_finished(self) -> bool:
        """Whether the folder holds all of this job's predictions, of the inputs as they are now."""
        if self.is_claimed():
            return False
        return self.job.files > 0 and all(
            (self.folder / self.job.file_name(file)).exists() and self.joined_records(file) is not None
            for file in range(self.job.files)
        )

    def join(self, file: int) -> None:
        """Join the parts of one file, every page of them read against its checksum.

        Raises:
            DamagedPartError: A part is not whole, or not there; the damaged one is removed.
        """
        records: dict[int, PartRecord] = {}
        for part in self.job.parts_of(file):
            record = self.read_record(part)
            if record is None:
                self.part_path(part).unlink(missing_ok=True)
                raise DamagedPartError(f"{self.part_path(part)} is not whole")
            records[part] = record
        schema = self._schema(records)
        with (
            whole_file(self.joined_path(file)) as temporary,
            pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
        ):
            for part in self.job.parts_of(file):
                writer.write_table(self._read_part(part).replace_schema_metadata(schema.metadata))

    def _read_part(self, part: int) -> pa.Table:
        """The rows of one part, every page checked; DamagedPartError where it is damaged, which removes it."""
        path = self.part_path(part)
        try:
            return pq.read_table(path, page_checksum_verification=True).cast(SCHEMA)
        except Exception as error:
            path.unlink(missing_ok=True)
            raise DamagedPartError(f"{path} is damaged: {reason(error)}") from error

    def finish(self) -> State:
        """Join what is not joined yet and put the files in their place, unless parts are missing.

        Raises:
            DamagedPartError: A part turned out damaged and is removed: make it again.
        """
        with suppress(FileNotFoundError):  # the folder goes where another process finishes the job
            return self._finish()
        return "finished by another process"

    def _finish(self) -> State:
        """As `finish`; FileNotFoundError where the folder goes meanwhile."""
        if not self.is_claimed():
            self.leave()
            return "finished by another process"
        with one_at_a_time(self.parts / "finish.lock"):
            if not self.is_claimed():
                return "finished by another process"
            self.check_owner()
            to_join = [file for file in range(self.job.files) if self.joined_records(file) is None]
            for file in to_join:
                if any(self.still_true(part, self.read_record(part)) is None for part in self.job.parts_of(file)):
                    return "unfinished"
            for file in tqdm(to_join, desc="joining parts", unit="file", delay=2, leave=False):
                self.join(file)
            self._publish()
        return "finished"

    def _publish(self) -> None:
        """Put the joined files in the output folder; killed in between, the next run goes on with it."""
        own = {self.job.file_name(file) for file in range(self.job.files)}
        for path in self.folder.glob(JOB_LABELS):
            if path.name not in own and OWN_NAME.fullmatch(path.name):
                path.unlink()  # of a job before this one
        for file in range(self.job.files):
            if self.joined_path(file).exists():
                self.joined_path(file).replace(self.folder / self.job.file_name(file))
        if self.keep_lost or not self.lost():  # else they stay: the same command tries the lost images again
            remove_whole(self.parts)

    def files(self) -> list[Path]:
        """The files of the finished job, in order."""
        return [self.folder / self.job.file_name(file) for file in range(self.job.files)]

    def lost(self) -> int:
        """How many images could not be had."""
        return sum(record.lost for file in self.files() for record in (self._file_records(file) or {}).values())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the finished job, in order."""
        for path in self.files():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(64):
                    yield from batch.to_pylist()

    def error_columns(self) -> Iterator[pa.Array]:
        """The column `error` of the finished job, piece by piece."""
        for path in self.files():
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(65_536, columns=["error"]):
                    yield batch.column(0)
