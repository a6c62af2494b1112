"""Labels for very many images, over all processes, in parts that survive a kill.

The images are cut into parts of a fixed number; a part is one Parquet file that appears under its name only when it is
whole. What is already there is not done again, so the same command goes on where a killed one stopped, with any number
of processes. In the end the parts become one file.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from cnn_rnn.data.images import UnreadableImageError, decode_image
from cnn_rnn.data.transforms import EvalTransform
from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline
from cnn_rnn.whole_files import whole_file, write_json

from .answers import Answers, answer_rows

PARTS = "parts"
LABELS = "labels.parquet"

SCORED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("labels", SCORED),
        ("path", SCORED),
        ("path_score", pa.float32()),
        ("known", pa.list_(pa.struct([("label", pa.string()), ("present", pa.bool_())]))),
        ("error", pa.string()),
    ]
)


class OtherJobError(ValueError):
    """The folder holds parts of another job; the message says what differs."""


@dataclass(frozen=True)
class Job:
    """What predictions are made from; parts of two different jobs must never be mixed.

    Attributes:
        model: The model's folder or name on the Hub.
        weights: A digest of its weights.
        images: How many images there are.
        image_ids: A digest of their names in order.
        threshold: As the pipeline takes it.
        part_size: Images in each part.
        answers: A digest of what is known of the images; None for nothing.
    """

    model: str
    weights: str
    images: int
    image_ids: str
    threshold: float | None
    part_size: int
    answers: str | None = None

    def __post_init__(self) -> None:
        """Refuse parts of no size."""
        if self.part_size < 1:
            raise ValueError(f"part_size must be at least 1, got {self.part_size}")

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.images // self.part_size)

    def rows(self, part: int) -> range:
        """The images of one part."""
        return range(part * self.part_size, min((part + 1) * self.part_size, self.images))

    def is_done(self, folder: Path) -> bool:
        """Whether the folder holds the predictions of this job already."""
        path = folder / LABELS
        if not path.exists():
            return False
        metadata = pq.read_schema(path).metadata or {}
        return metadata.get(b"job") == json.dumps(asdict(self)).encode()

    def claim(self, folder: Path) -> None:
        """Write down that the folder holds parts of this job, or see that it does.

        Raises:
            OtherJobError: It holds parts of another one, which was stopped before its end.
        """
        path = folder / PARTS / "job.json"
        if path.exists():
            there = json.loads(path.read_text(encoding="utf-8"))
            differs = [name for name, value in asdict(self).items() if there.get(name) != value]
            if differs:
                told = ", ".join(f"{name} {there.get(name)!r}, now {getattr(self, name)!r}" for name in differs)
                raise OtherJobError(
                    f"{path.parent} holds parts of another job that was stopped ({told}): end that one with its own "
                    "command, give another --output, or remove that folder"
                )
            return
        write_json(path, asdict(self))


def digest_names(image_ids: Iterable[str]) -> str:
    """A digest of names in their order."""
    digest = hashlib.sha256()
    for image_id in image_ids:
        digest.update(image_id.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def digest_weights(model: Any) -> str:
    """A digest of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def part_path(folder: Path, part: int) -> Path:
    """The file of one part."""
    return folder / PARTS / f"part-{part:06d}.parquet"


def missing_parts(folder: Path, job: Job) -> list[int]:
    """Numbers of the parts that are not there yet."""
    return [part for part in range(job.parts) if not part_path(folder, part).exists()]


class PreparedImages(Dataset):
    """Names and pixel values (3, h, w) by position, ready for the model; for what cannot be read the reason instead.

    Args:
        images: Undecoded images (a path, bytes, or a row of an image column), indexable.
        image_ids: Their names.
        image_processor: The model's preprocessing; it runs where the images are read.
    """

    def __init__(self, images: Sequence[Any], image_ids: Sequence[str], image_processor: Any) -> None:
        self.images, self.image_ids = images, image_ids
        self.transform = EvalTransform(image_processor)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[str, Tensor | str]:
        image_id = self.image_ids[index]
        try:
            return image_id, self.transform(decode_image(self.images[index], image_id))
        except UnreadableImageError as error:
            return image_id, str(error)


def predict_parts(
    classify: MultiLabelImageClassificationPipeline,
    images: Dataset,
    folder: Path,
    job: Job,
    *,
    answers: Answers | None = None,
    batch_size: int = 16,
    num_workers: int = 0,
    process_index: int = 0,
    num_processes: int = 1,
) -> None:
    """Write every part that is missing and falls to this process.

    Args:
        classify: The pipeline.
        images: An `DecodedImages` of the whole job.
        folder: Where the parts go; the job has claimed it.
        job: What is to be done.
        answers: What is known of the images.
        batch_size: Images that the model sees at once.
        num_workers: Processes that read images.
        process_index: Which of the processes this is.
        num_processes: How many there are.
    """
    # Whose a part is depends on its number alone, so that processes need not agree on what is there.
    own = [part for part in missing_parts(folder, job) if part % num_processes == process_index]
    rows = [row for part in own for row in job.rows(part)]
    loader = DataLoader(images, batch_size=batch_size, sampler=rows, num_workers=num_workers, collate_fn=list)
    predicted = _predict(classify, loader, job.threshold, answers or {})
    title = "predicting" if num_processes == 1 else f"predicting (process 1 of {num_processes})"
    with tqdm(total=len(rows), desc=title, unit="image", disable=process_index > 0) as bar:
        for part in own:
            finished = []
            for _ in job.rows(part):
                finished.append(next(predicted))
                bar.update()
            write_rows(finished, part_path(folder, part))


def _predict(
    classify: Any, batches: Iterable[list[Any]], threshold: float | None, answers: Answers
) -> Iterator[dict[str, Any]]:
    """A row for each image, in order, unreadable ones too."""
    has_path = classify.model.config.has_path_decoder
    for batch in batches:
        readable = [entry for entry in batch if not isinstance(entry[1], str)]
        outputs: dict[str, Tensor] = {}
        if readable:
            inputs = {"pixel_values": torch.stack([pixel_values for _, pixel_values in readable]).to(classify.dtype)}
            state = torch.cat([classify.known_labels(answers.get(image_id, {})) for image_id, _ in readable])
            outputs = classify.forward(inputs, return_path=has_path, known_labels=state if bool(state.any()) else None)
        done = 0
        for image_id, pixel_values in batch:
            known = {"known": answer_rows(answers[image_id])} if image_id in answers else {}
            if isinstance(pixel_values, str):
                yield {"image_id": image_id, "error": pixel_values, **known}
                continue
            own = {name: values[done : done + 1] for name, values in outputs.items()}
            result = classify.postprocess(own, threshold=threshold, return_path=has_path)
            yield {"image_id": image_id, **(result if has_path else {"labels": result}), **known}
            done += 1


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write one Parquet file, whole or not at all."""
    with whole_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def join_parts(folder: Path, job: Job) -> Path:
    """One file `labels.parquet` of all parts in the order of the images, in whose place it comes.

    Raises:
        FileNotFoundError: A part is missing.
    """
    missing = missing_parts(folder, job)
    if missing:
        raise FileNotFoundError(f"{folder} lacks {len(missing)} of {job.parts} parts: run the same command again")
    path = folder / LABELS
    schema = SCHEMA.with_metadata({"job": json.dumps(asdict(job))})
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for part in range(job.parts):
            writer.write_table(pq.read_table(part_path(folder, part)).replace_schema_metadata(schema.metadata))
    shutil.rmtree(folder / PARTS)
    return path


def unreadable_reasons(predictions: Path) -> list[str]:
    """Why images could not be read, a reason each."""
    column = pq.read_table(predictions, columns=["error"]).column("error")
    return [str(reason) for reason in column.drop_null().to_pylist()]
