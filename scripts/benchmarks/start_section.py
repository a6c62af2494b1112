"""What it takes until a command is at work: seconds beside those of `import torch`, and memory at the highest.

Every start is a process of its own, as a person types it; three of each, in turns, the median of each. One is ended as
soon as it is at work: a page or a server once it answers, a training once its first step is done.
"""

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from photos import write_photos
from row import Part, Row

from cnn_rnn.foundation.shipped_files import bundled_model

TURNS, PHOTOS = 3, 16
REFERENCE = "import torch"
KEY = "start_predict_over_import_torch"
LONGEST = 300  # seconds that a start may take
LOOKS = 0.005  # seconds between two looks at the memory
FIRST_STEP = re.compile(r"[ |]1/\d+ \[")  # as the bar of an epoch says it

AtWork = Callable[[subprocess.Popen[bytes]], None]


@dataclass(frozen=True)
class Start:
    """One start: what is typed, when it is at work, and what may be asked of it.

    Attributes:
        arguments: Of Python.
        at_work: Waits until it is at work; where None that is its end.
        seconds: The most that it may take of the seconds of `import torch`, as a row says it.
        megabytes: The most memory, as a row says it.
    """

    arguments: list[str]
    at_work: AtWork | None = None
    seconds: str = ""
    megabytes: str = ""


def measure(workspace: Path) -> Iterator[Row]:
    """Seconds over those of `import torch`, and megabytes, of each start."""
    starts = {REFERENCE: Start(["-c", REFERENCE])} | starts_of(workspace)
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    megabytes: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(TURNS):
        for name, start in starts.items():
            taken, held = cost_of_start(start)
            seconds[name].append(taken)
            megabytes[name].append(held)
    torch = statistics.median(seconds[REFERENCE])
    for name, start in starts.items():
        all_turns = ", ".join(f"{each:.2f}" for each in seconds[name])
        unit, key = f"s ({all_turns}); {REFERENCE}", KEY if start.seconds else ""
        yield Row(name, statistics.median(seconds[name]), unit, torch, start.seconds, key)
        yield Row(f"{name}, memory", max(megabytes[name]), "MB at the highest", wanted=start.megabytes)


def starts_of(workspace: Path) -> dict[str, Start]:
    """The starts that are measured, by what they do."""
    photos = workspace / "photos" / "train"
    photos.parent.mkdir()
    names = [Path(path).name for path in write_photos(photos, PHOTOS)]
    rows = [{"file_name": name, "labels": [["cat"], ["cat", "dog"]][place % 2]} for place, name in enumerate(names)]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = (f"train/{row['file_name']},{'|'.join(row['labels'])}\n" for row in rows)
    (photos.parent / "labels.csv").write_text("file_name,labels\n" + "".join(lines))
    page, server = free_port(), free_port()
    small = "--model.backbone tf_efficientnet_lite0 --model.weights null --model.image_size 224 --train.epochs 1"
    of_run = f"--data.name image_folder --data.root {photos.parent} --train.output_dir {workspace / 'run'}"
    example = str(bundled_model() / "example.jpg")
    return {
        "help": Start(cli("--help")),
        "predict one photo": Start(cli("predict", "--input", example), seconds="<= 0.4", megabytes="<= 300"),
        "data look of a CSV": Start(cli("data", "look", str(photos.parent / "labels.csv"))),
        "app until its page answers": Start(
            cli("app", "--input", str(photos), "--port", str(page)), answers(page, "/")
        ),
        "serve until it is ready": Start(cli("serve", "--port", str(server)), answers(server, "/ready")),
        "train until its first step": Start(
            cli("train", *of_run.split(), *small.split(), "--train.batch_size", "4", "--train.num_workers", "0"),
            says(FIRST_STEP),
        ),
    }


def cli(*arguments: str) -> list[str]:
    """A command of the package, as Python's arguments."""
    return ["-m", "cnn_rnn.commands.cli", *arguments]


def cost_of_start(start: Start) -> tuple[float, float]:
    """Seconds until it is at work, and the megabytes that its process held at the highest by then."""
    begin = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [sys.executable, *start.arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
        start_new_session=True,
    )  # fmt: skip
    held: list[float] = []
    watcher = threading.Thread(target=watch, args=(process.pid, held))
    watcher.start()
    assert process.stderr is not None
    if start.at_work is None:
        told = process.stderr.read()
        if process.wait():
            sys.exit(told.decode(errors="replace"))
        taken = time.perf_counter() - begin
    else:
        start.at_work(process)
        taken = time.perf_counter() - begin
        os.killpg(process.pid, signal.SIGKILL)
        process.stderr.close()
        process.wait()
    watcher.join()
    return taken, max(held)


def watch(process: int, held: list[float]) -> None:
    """Note the megabytes that a process held at the highest so far, again and again until its end.

    What the system tells of it after its end would count what this process held when it began the other.
    """
    with suppress(OSError, IndexError):  # its end
        while True:
            told = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
            held.append(int(told.split("VmHWM:")[1].split()[0]) / 1024)
            time.sleep(LOOKS)


def answers(port: int, path: str) -> AtWork:
    """Waits until an address answers."""

    def wait(process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + LONGEST
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LONGEST):
                return
            time.sleep(0.01)
        sys.exit(f"nothing answers at port {port}")

    return wait


def says(what: re.Pattern[str]) -> AtWork:
    """Waits until a process says something."""

    def wait(process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        told = ""
        while not what.search(told):
            some = os.read(process.stderr.fileno(), 4096).decode(errors="replace")
            if not some:
                sys.exit(told)
            told = told[-10_000:] + some

    return wait


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def parts() -> dict[str, Part]:
    """The section's parts by name."""
    return {"all": Part(measure, (KEY,))}
