"""Training runs as processes of their own that start at once.

Run as a script, this file imports everything once and then, for each line of JSON on its input, forks a process that
runs `cnn-rnn train`, or waits for one. A fork is a process like any other: it can be killed.
"""

import importlib.util
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class ForkedRuns:
    """Starts runs of `cnn-rnn train`."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, arguments: list[str], log: Path, **variables: str) -> int:
        """The id of a new process that trains with these arguments and writes all it says to `log`."""
        return self._ask(arguments=arguments, log=str(log), variables=variables)

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


def serve() -> None:
    """Answer each request with one number."""
    spec = importlib.util.spec_from_file_location("train_script", ROOT / "scripts" / "train.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    import_what_a_run_needs()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                run(script.main, request)
        print(answer, flush=True)


def import_what_a_run_needs() -> None:
    """Import what a run imports late, so that forks need not."""
    import matplotlib.figure
    import torch
    import torch._dynamo
    from torch.utils import tensorboard

    assert matplotlib.figure
    assert tensorboard
    torch.set_num_threads(1)


def run(main: Any, request: dict[str, Any]) -> None:
    """Train in this process, which ends with it."""
    os.setpgid(0, 0)  # a group of its own, as a job has
    os.environ.update(request["variables"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    code = 1
    try:
        code = main(request["arguments"])
    except BaseException:  # noqa: BLE001 - the process ends here, whatever happened
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
