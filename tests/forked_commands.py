"""Commands as processes of their own that start at once.

Run as a script, this file imports everything once, trains a first tiny run so that all that is loaded late is there
too, and then, for each line of JSON on its input, forks a process that runs a command, or waits for one. A fork is a
process like any other: it can be killed.
"""

import faulthandler
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HANGS = 240  # seconds; no command of a test takes as long


class ForkedCommands:
    """Starts commands of `cnn-rnn`.

    Args:
        first: Arguments of the tiny run.
    """

    def __init__(self, first: list[str]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
        self.server = subprocess.Popen(
            [sys.executable, __file__, *first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(
        self, arguments: list[str], log: Path, command: str = "train", folder: str = ".", **variables: str
    ) -> int:
        """The id of a new process that runs a command in a folder and writes all it says to `log`."""
        return self._ask(command=command, arguments=arguments, log=str(log), folder=folder, variables=variables)

    def start_two(
        self,
        arguments: list[str],
        log: Path,
        command: str = "train",
        folder: str = ".",
        *,
        second: list[str] | None = None,
    ) -> list[int]:
        """The ids of two processes at one job, as a launcher starts them; they write to `log` with .0 and .1 after.

        The second one may have arguments of its own.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
        return [
            self.start(given, log.with_suffix(f".{rank}"), command, folder, RANK=rank, LOCAL_RANK=rank, **shared)
            for rank, given in (("0", arguments), ("1", second or arguments))
        ]

    def wait(self, process: int) -> int:
        """The exit code of a process when it has ended; negative where a signal ended it."""
        return self._ask(wait=process)

    def ended(self, process: int) -> bool:
        """Whether a process has ended."""
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"

    def train(self, arguments: list[str], log: Path, **variables: str) -> int:
        """The exit code of a run."""
        return self.wait(self.start(arguments, log, **variables))

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def _ask(self, **request: Any) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


def serve(first: list[str]) -> None:
    """Answer each request with one number."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a command prints is no answer
    train_once(first)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                run(request)
        os.write(answers, f"{answer}\n".encode())


def train_once(first: list[str]) -> None:
    """Load what commands load early and late, so that forks need not."""
    import torch
    import torch._dynamo
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from torch.utils import tensorboard
    from tqdm import tqdm

    torch.set_num_threads(1)
    assert tensorboard
    tqdm.set_lock(threading.RLock())  # its own is shared by forks: one killed while it prints would hold it for ever
    importlib.import_module("cnn_rnn.commands.predict")
    assert main_of("train")(first) == 0
    for state in (AcceleratorState, GradientState, PartialState):  # a fork may be one of several processes
        state._reset_state()  # noqa: SLF001 - accelerate has no other way


def main_of(command: str) -> Any:
    """The function of a command."""
    return importlib.import_module(f"cnn_rnn.commands.{command}").main


def run(request: dict[str, Any]) -> None:
    """Run a command in this process, which ends with it."""
    os.setpgid(0, 0)  # a group of its own, as a job has
    signal.signal(signal.SIGINT, signal.default_int_handler)  # one that a shell put behind is born deaf to Ctrl-C
    os.environ.update(request["variables"])
    os.chdir(request["folder"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    faulthandler.dump_traceback_later(HANGS, file=log)  # one that hangs says where
    code = 1
    try:
        code = main_of(request["command"])(request["arguments"])
    except BaseException:  # noqa: BLE001 - the process ends here, whatever happened
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1:])
    os._exit(0)  # the interpreter's own end takes seconds
