"""What a launcher told this process, checked before anything waits for processes that nobody started."""

import os

TOLD_BY_LAUNCHERS = (
    "RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)  # by torchrun and accelerate, beside LOCAL_RANK


def is_launched() -> bool:
    """Whether a launcher started this process, perhaps among others."""
    return os.environ.get("LOCAL_RANK", "-1") != "-1" or int(os.environ.get("WORLD_SIZE", "1") or 1) > 1


def check_launch() -> None:
    """Refuse an environment that names a process among others and not the others.

    Raises:
        ValueError: `LOCAL_RANK` is set as a launcher sets it, and what it sets beside that is not.
    """
    rank = os.environ.get("LOCAL_RANK", "-1")
    missing = [name for name in TOLD_BY_LAUNCHERS if name not in os.environ]
    if rank != "-1" and missing:
        raise ValueError(
            f"LOCAL_RANK={rank} stands in the environment as a launcher sets it, but {', '.join(missing)} do not: for "
            "one process, unset LOCAL_RANK; for several, start with accelerate launch -m cnn_rnn.commands.train ..."
        )


class Alone:
    """A process without others, as Accelerate's state tells of it."""

    is_main_process = True
    process_index, num_processes = 0, 1

    def wait_for_everyone(self) -> None:
        """Nobody is waited for."""
