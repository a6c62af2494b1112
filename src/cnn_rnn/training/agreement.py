"""What the processes of a run agree on, on however many machines: one decides, the others see what it saw.

A network disk shows another machine's files late: a listing may be a minute old. So nobody but the main process decides
by what it finds on a disk that all share, and whoever needs a file of another one waits until it is there.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from .faults import CheckpointError

logger = logging.getLogger(__name__)
LONGEST_UNSEEN = 180.0  # seconds for a file to be seen; NFS shows a listing for up to 60
BETWEEN_LOOKS = 0.5  # seconds between two looks
TOLD_AFTER = 5.0  # seconds
Agreed = TypeVar("Agreed")


class UnlikeDataError(ValueError):
    """The processes of a run see different data; the message says which process sees what."""


def decided_by_main(accelerator: Accelerator, decide: Callable[[], Agreed]) -> Agreed:
    """What `decide` returns in the main process, in every process.

    Raises:
        Exception: What `decide` raised there; in every process.
    """
    outcome: list[tuple[Agreed | None, Exception | None]] = [(None, None)]
    if accelerator.is_main_process:
        try:
            outcome = [(decide(), None)]
        except Exception as error:  # noqa: BLE001 - whatever it is, the others wait for it
            outcome = [(None, error)]
    ((decision, failure),) = broadcast_object_list(outcome)
    if failure is not None:
        raise failure
    return cast("Agreed", decision)


def wait_until_seen(path: Path, seen: Callable[[Path], bool] = Path.exists) -> None:
    """Wait until a file that another process wrote is seen here.

    Raises:
        CheckpointError: It is not, for so long that it is no delay.
    """
    began = time.monotonic()
    told = False
    while not seen(path):
        waited = time.monotonic() - began
        if waited >= LONGEST_UNSEEN:
            raise CheckpointError(
                f"{path} was written by another process and is not seen here after {LONGEST_UNSEEN:.0f} seconds: all "
                "machines of a run need --train.output_dir on one disk that they share, under the same name"
            )
        if waited >= TOLD_AFTER and not told:
            logger.warning("waiting until %s, which another process has written, is seen here", path)
            told = True
        time.sleep(BETWEEN_LOOKS)


def refuse_other_views(rows: str, told: str) -> None:
    """Refuse data that are not the same in every process.

    Args:
        rows: A digest of the data that this process sees.
        told: The same in words, such as how many rows.

    Raises:
        UnlikeDataError: They differ; every process raises.
    """
    seen = gather_object([(rows, told)])
    other = next((process for process, (digest, _) in enumerate(seen) if digest != seen[0][0]), None)
    if other is not None:
        raise UnlikeDataError(
            f"the processes of this run see different data: process 0 {seen[0][1]}, process {other} "
            f"{seen[other][1]}. Where each machine has a copy of its own, make them equal; on a shared disk wait until "
            "all machines see the same, then start again"
        )
