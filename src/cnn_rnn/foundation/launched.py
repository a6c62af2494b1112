"""What a launcher told this process, checked before anything waits for processes that nobody started."""

import os

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun and accelerate, beside LOCAL_RANK


def check_launch() -> None:
    """Refuse an environment that names a process among others and not the others.

    Raises:
        ValueError: `LOCAL_RANK` is set as a launcher sets it, and what it sets beside that is not.
    """
    rank = os.environ.get("LOCAL_RANK", "-1")
    missing = [name for name in TOLD if name not in os.environ]
    if rank != "-1" and missing:
        raise ValueError(
            f"LOCAL_RANK={rank} stands in the environment as a launcher sets it, but {', '.join(missing)} do not: for "
            "one process, unset LOCAL_RANK; for several, start with accelerate launch -m cnn_rnn.commands.train ..."
        )
