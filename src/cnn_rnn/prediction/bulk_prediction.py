"""Labels for very many images: any number of processes, each taking the next part that nobody has.

A part is one Parquet file that appears under its name only when it is whole. What is already there is not done again,
so the same command goes on where a killed one stopped, and another process started with it joins in.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from cnn_rnn.data.photos.images import LostImageError, UnreadableImageError, decode_image
from cnn_rnn.foundation.folder_lock import FolderLock

from .answers import Answers, answer_rows
from .inputs import Input
from .job_folder import DamagedPartError, JobFolder, State

Held = dict[int, tuple[FolderLock, str]]
"""Parts in work: the lock of each, and the identity of its inputs before they were read."""

LOST_IN_A_ROW = 100  # then it is not the images but the disk


class InputsLostError(OSError):
    """So many images in a row could not be had that the place they lie in must be gone."""


@dataclass(frozen=True)
class Failure:
    """Why an image has no labels, and whether it could not even be had."""

    reason: str
    lost: bool


@dataclass(frozen=True)
class Task:
    """An image of a part, and whether it is the part's last."""

    part: int
    image: Input
    last: bool


Prepared = NDArray[np.float32] | Failure
"""Pixel values (3, h, w) of an image, or why there are none."""


def prepare_image(transform: Callable[[Any], NDArray[np.float32]], image: Input) -> Prepared:
    """An image, decoded and ready for the model by its preprocessing of a picture."""
    try:
        return transform(decode_image(image.image, image.name))
    except LostImageError as error:
        return Failure(str(error), lost=True)
    except UnreadableImageError as error:
        return Failure(str(error), lost=False)
    except MemoryError:
        return Failure(f"{image.name}: there is no memory left to prepare it", lost=True)
    except RuntimeError as error:  # torch has no error of its own for memory on a CPU
        if "allocate memory" not in str(error):
            raise
        return Failure(f"{image.name}: there is no memory left to prepare it", lost=True)
    except ValueError as error:
        return Failure(f"{image.name}: cannot be used ({error})", lost=False)


def labeller_of(classify: Any) -> Any:
    """What a job asks for labels: a `CnnRnnOnnx` as it is, a pipeline by torch in its clothes."""
    if hasattr(classify, "free"):
        return classify
    from .torch_labeller import TorchLabeller

    return TorchLabeller(classify)


def predict_parts(
    classify: Any,
    folder: JobFolder,
    *,
    batch_size: int = 16,
    num_workers: int = 0,
    turn: float = 0.0,
    parts: Sequence[int] | None = None,
    show: bool = True,
) -> int:
    """How many parts were made: all that are missing and that no other process is making.

    Args:
        classify: The pipeline, by torch or in onnxruntime.
        folder: Where the parts go; its job has claimed it.
        batch_size: Images that the model sees at once.
        num_workers: Threads that read images, 0 for this one; in onnxruntime they label them, too.
        turn: Where among the parts to begin, 0..1, so that processes seldom ask for the same one.
        parts: Only these of them, whatever is missing beside.
        show: Whether to show progress.

    Raises:
        InputsLostError: Many images in a row could not be had.
        OtherJobError: The folder was taken by another job meanwhile.
    """
    missing, rows = folder.missing() if parts is None else (list(parts), 0)
    begin = int(turn * len(missing))
    held: Held = {}
    made = 0
    batches = _take_parts(folder, missing[begin:] + missing[:begin], held, batch_size)
    labeller = labeller_of(classify)
    counted = _predict(labeller, batches, folder.job.threshold, folder.answers, num_workers)
    with ExitStack() as stack, tqdm(total=folder.inputs.images, initial=rows, unit=" images", disable=not show) as bar:
        stack.callback(_release, held)
        bar.set_description("predicting")
        finished: list[dict[str, Any]] = []
        lost = in_a_row = 0
        for task, image, row in counted:
            finished.append(row)
            bar.update()
            is_lost = isinstance(image, Failure) and image.lost
            lost += is_lost
            in_a_row = in_a_row + 1 if is_lost else 0
            if in_a_row >= LOST_IN_A_ROW and not folder.keep_lost:
                raise InputsLostError(
                    f"{in_a_row} images in a row could not be read, the last: {row['error']}. If their disk is away, "
                    "bring it back: the same command goes on. If they are gone for good, --keep_lost writes that down "
                    "and labels the others"
                )
            if task.last:
                lock, identity = held.pop(task.part)
                folder.write_part(task.part, finished, lost, identity)
                lock.release()
                made += 1
                finished, lost = [], 0
    return made


def _release(held: Held) -> None:
    """Release the locks of the parts still held."""
    for lock, _ in held.values():
        lock.release()


def _take_parts(folder: JobFolder, parts: list[int], held: Held, batch_size: int) -> Iterator[list[Task]]:
    """The images, by batches, of one part after the other that nobody else has, each part locked in `held`.

    No batch has images of two parts: what a part holds then does not depend on who made it, not even in the last digit.
    """
    for part in parts:
        if not folder.is_claimed():
            return  # another process finished the job
        lock = folder.lock(part)
        if not lock.try_acquire():
            continue
        # Between the look and the lock another process may have made the part, or finished the job.
        if not folder.is_claimed() or folder.done(part) is not None:
            lock.release()
            continue
        folder.check_owner()
        held[part] = lock, folder.inputs.identity(part, folder.by)  # before anything is read
        batch: list[Task] = []
        for image in folder.inputs.part(part):
            if len(batch) == batch_size:
                yield batch
                batch = []
            batch.append(Task(part, image, last=False))
        if batch:
            yield [*batch[:-1], replace(batch[-1], last=True)]
        else:
            _, identity = held.pop(part)
            folder.write_part(part, [], 0, identity)
            lock.release()


def _predict(
    labeller: Any, batches: Iterable[list[Task]], threshold: float | None, answers: Answers, num_workers: int
) -> Iterator[tuple[Task, Prepared, dict[str, Any]]]:
    """Each image as it was prepared, and its row, in order, unreadable ones too."""

    def label(tasks: list[Task], images: Sequence[Prepared]) -> list[dict[str, Any]]:
        return label_batch(labeller, images, threshold, [answers.get(task.image.name, {}) for task in tasks])

    def work(tasks: list[Task]) -> tuple[list[Prepared], list[dict[str, Any]]]:
        images = [prepare_image(labeller.prepare, task.image) for task in tasks]
        return images, label(tasks, images) if labeller.free else []

    for tasks, (images, rows) in _ahead(work, batches, num_workers):
        found = rows if labeller.free else label(tasks, images)
        for task, image, row in zip(tasks, images, found, strict=True):
            told = {"known": answer_rows(answers[task.image.name])} if task.image.name in answers else {}
            yield task, image, {"image_id": task.image.name, **row, **told}


def _ahead(
    work: Callable[[list[Task]], Any], batches: Iterable[list[Task]], threads: int
) -> Iterator[tuple[list[Task], Any]]:
    """Each batch with what is made of it, in order, by so many threads that are a few batches ahead; by none if 0."""
    if not threads:
        for tasks in batches:
            yield tasks, work(tasks)
        return
    pool = ThreadPoolExecutor(threads, "labelling")
    started: deque[tuple[list[Task], Future[Any]]] = deque()
    try:
        for tasks in batches:
            started.append((tasks, pool.submit(work, tasks)))
            # One batch more than threads, so that whoever is done finds the next one waiting.
            if len(started) > threads + 1:
                first, future = started.popleft()
                yield first, future.result()
        for first, future in started:
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def label_batch(
    classify: Any,
    images: Sequence[Prepared],
    threshold: float | None,
    known: Sequence[Mapping[str, bool]] | None = None,
) -> list[dict[str, Any]]:
    """Labels, path, its score and whether it is unfamiliar of each image; the reason as `error` of one not readable.

    Args:
        classify: The pipeline.
        images: As `prepare_image` gives them.
        threshold: Least probability of a label; the pipeline's own where None.
        known: What is known of each; of none where None.
    """
    labeller = labeller_of(classify)
    told = known or [{}] * len(images)
    readable = [(image, own) for image, own in zip(images, told, strict=True) if not isinstance(image, Failure)]
    outputs: Any = {}
    state: Any = ()
    if readable:
        state = np.stack([labeller.answers.known(own) for _, own in readable])
        outputs = labeller.forward(np.stack([image for image, _ in readable]), state if state.any() else None)
    answers = (
        labeller.postprocess(outputs, place, threshold=threshold, return_path=True, known=own)
        for place, own in enumerate(state)
    )
    return [{"error": image.reason} if isinstance(image, Failure) else next(answers) for image in images]


def predict_all(classify: Any, folder: JobFolder, **options: Any) -> State:
    """Make what is missing as `predict_parts` does, then join; "unfinished" where others still make the last parts."""
    return make_until_finished(folder, lambda: predict_parts(classify, folder, **options))


def make_until_finished(folder: JobFolder, make: Callable[[], int], rounds: int | None = None) -> State:
    """Make parts and join them; a part that turns out damaged is made again.

    Args:
        folder: As `predict_parts` takes it.
        make: Makes what is missing; returns how many parts it made.
        rounds: After how many rounds to give up with "unfinished"; None for no limit.
    """
    for _ in count() if rounds is None else range(rounds):
        made = make()
        try:
            state = folder.finish()
        except DamagedPartError as error:
            folder.said.append(f"{error}: made again")
            continue
        if state != "unfinished" or not made:
            return state
    return "unfinished"
