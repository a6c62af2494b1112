"""`cnn-rnn serve` under load, beside bulk prediction by the same model in one run.

python scripts/benchmarks/serve_load.py [--model RUN] [--seconds 60] [--clients 50] [--turns 1] [--output serving.json]

Fifty clients post photos one after the other, each over a connection of its own, and look whether every answer is that
of its photo as bulk prediction has it. Bulk prediction runs before and after. Then the same once more beside those who
make trouble: one that sends half a body and sleeps, one that goes away, 10,000 bodies that are no photos, and a kill of
a process that decodes.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from engines_section import seconds_of_command
from photos import write_photos
from predict_section import LABELS, LITE, SIDE
from walking_models import walking_model

from cnn_rnn import CnnRnnImageProcessor, CnnRnnOnnx, MultiLabelImageClassificationPipeline
from cnn_rnn.foundation.own_files import kept_aside

PHOTOS, COPIES, FEW = 128, 6, 64
CLOSE = 1e-3  # of a probability: a batch of another size rounds otherwise
BAD_BODIES = 10_000
SPEAKERS = 4  # that send them


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        seconds: That each answer took.
        wrong: Answers that were another photo's, or none.
        bad: Statuses of what was no photo, and how often.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    bad: dict[int, int] = field(default_factory=dict)

    def told(self, taken: float) -> dict[str, Any]:
        """As figures."""
        ordered = sorted(self.seconds)
        return {
            "photos_a_second": len(ordered) / taken,
            "photos": len(ordered),
            "lost_or_mixed": len(self.wrong),
            "median_seconds": statistics.median(ordered),
            "p99_seconds": ordered[int(0.99 * len(ordered))],
            "longest_seconds": ordered[-1],
            "bad_bodies": self.bad,
        }


class Connection:
    """A client's connection, opened again where it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, query: str = "") -> tuple[int, Any]:
        """Status and JSON of an answer."""
        reader, writer = self.streams = self.streams or await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /predict{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", answer)
        assert length is not None
        content = await reader.readexactly(int(length[1]))
        if "connection: close" in answer:
            self.close()
        return int(answer.split()[1]), json.loads(content)

    def close(self) -> None:
        """Close it."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def client(port: int, photos: dict[str, bytes], rows: dict[str, Any], until: float, seen: Seen) -> None:
    """Post photos one after the other, and compare what comes back with the rows of bulk prediction."""
    connection, order = Connection(port), list(photos)
    random.shuffle(order)
    while time.monotonic() < until:
        for name in order:
            began = time.monotonic()
            if began >= until:
                break
            try:
                status, answer = await connection.post(photos[name])
            except (OSError, asyncio.IncompleteReadError) as error:
                seen.wrong.append(f"{name}: {error!r}")
                connection.close()
                continue
            seen.seconds.append(time.monotonic() - began)
            if status != 200 or not is_same(answer, rows[name]):
                seen.wrong.append(f"{name}: {status} {answer}")
    connection.close()


def is_same(answer: Any, row: Any) -> bool:
    """Whether an answer is that of a row."""
    own, theirs = ({one["label"]: one["score"] for one in found["labels"]} for found in (answer, row))
    close = own.keys() == theirs.keys() and all(abs(own[name] - theirs[name]) < CLOSE for name in own)
    return close and [one["label"] for one in answer["path"]] == [one["label"] for one in row["path"]]


async def speak_badly(port: int, until: float, seen: Seen) -> None:
    """Send what is no photo, evenly over the time."""
    connection, number, chance = Connection(port), BAD_BODIES // SPEAKERS, random.Random(0)  # noqa: S311
    began = time.monotonic()
    for place in range(number):
        await asyncio.sleep(max(0.0, began + (until - began) * place / number - time.monotonic()))
        start = chance.choice([b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"", b"GIF89a"])
        body = start + chance.randbytes(chance.randrange(400))
        with suppress(OSError, asyncio.IncompleteReadError):
            status, _ = await connection.post(body)
            seen.bad[status] = seen.bad.get(status, 0) + 1
    connection.close()


async def send_half(port: int, photo: bytes, until: float) -> None:
    """Send half a body and sleep, again and again."""
    while time.monotonic() < until:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n".encode())
        writer.write(photo[: len(photo) // 2])
        await asyncio.sleep(max(0.0, min(30.0, until - time.monotonic())))
        writer.close()


async def go_away(port: int, photo: bytes, until: float) -> None:
    """Post a photo and go before the answer, again and again."""
    while time.monotonic() < until:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n".encode())
        writer.write(photo)
        await writer.drain()
        writer.close()
        await asyncio.sleep(0.5)


async def kill_decoder(server: int, seconds: float) -> None:
    """Kill one of the server's processes, half-way."""
    await asyncio.sleep(seconds / 2)
    os.kill(psutil.Process(server).children()[0].pid, signal.SIGKILL)


async def load(
    port: int, server: int, photos: dict[str, bytes], rows: dict[str, Any], options: Any, *, trouble: bool
) -> dict[str, Any]:
    """What all clients saw, beside troublemakers or without."""
    seen, began = Seen(), time.monotonic()
    until = began + options.seconds
    makers: list[Coroutine[Any, Any, None]] = []
    if trouble:
        some = next(iter(photos.values()))
        makers += [speak_badly(port, until, seen) for _ in range(SPEAKERS)]
        makers += [send_half(port, some, until), go_away(port, some, until), kill_decoder(server, options.seconds)]
    trouble_made = asyncio.gather(*makers)
    await asyncio.gather(*(client(port, photos, rows, until, seen) for _ in range(options.clients)))
    taken = time.monotonic() - began
    await trouble_made
    for wrong in seen.wrong[:3]:
        print(wrong[:300], file=sys.stderr)
    return seen.told(taken)


def write_model(workspace: Path, run: Path | None) -> None:
    """A run, or else a model whose walks are as long as real ones, with its graph."""
    folder = workspace / "model"
    if run is not None:
        folder.symlink_to(run.resolve())
    else:
        model = walking_model(LITE, LABELS, image_size=SIDE)
        processor = CnnRnnImageProcessor.from_config(model.config)
        MultiLabelImageClassificationPipeline(model=model, image_processor=processor).save_pretrained(folder)
    CnnRnnOnnx.from_pretrained(folder)  # its graph is there before anything is timed


def write_folders(workspace: Path, copies: int) -> None:
    """Photos for the clients, the same several times for bulk prediction, and few for its start."""
    write_photos(workspace / "once", PHOTOS)
    for folder, times, number in (("few", 1, FEW), ("photos", copies, PHOTOS)):
        (workspace / folder).mkdir()
        for copy in range(times):
            for path in sorted((workspace / "once").iterdir())[:number]:
                os.link(path, workspace / folder / f"{copy}-{path.name}")


def bulk_rate(workspace: Path, copies: int) -> float:
    """Photos a second of bulk prediction beyond its start."""
    few, many = (seconds_of_command(workspace, folder, 1, []) for folder in ("few", "photos"))
    return (PHOTOS * copies - FEW) / (many - few)


def bulk_rows(workspace: Path) -> dict[str, Any]:
    """What bulk prediction says of each photo."""
    files = workspace.glob("predicted-*/labels.parquet")
    table = max(map(pq.read_table, files), key=len).to_pylist()  # of all photos, not of the few
    return {Path(row["image_id"]).name.partition("-")[2]: row for row in table}


def start_server(workspace: Path) -> tuple[subprocess.Popen[str], int]:
    """The server, once it listens, and its port."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "cnn_rnn.commands.serve", "--model", str(workspace / "model"), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    found = re.search(r":(\d+) ", server.stdout.readline())
    if found is None:
        sys.exit("the server does not start")
    return server, int(found[1])


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a run (default: a model of lite0 with 80 labels)")
    parser.add_argument("--copies", type=int, default=COPIES, help="of each photo for bulk prediction")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        write_folders(workspace, options.copies)
        write_model(workspace, options.model)
        photos = {path.name: path.read_bytes() for path in (workspace / "once").iterdir()}
        rates = [bulk_rate(workspace, options.copies)]
        rows = bulk_rows(workspace)
        for turn in range(options.turns):
            found: dict[str, Any] = {"turn": turn}
            for name, trouble in (("alone", False), ("beside trouble", True)):
                server, port = start_server(workspace)
                try:
                    seen = asyncio.run(load(port, server.pid, photos, rows, options, trouble=trouble))
                finally:
                    server.terminate()
                    code = server.wait(60)
                found[name] = seen | {"ended_with": code}
                rates.append(bulk_rate(workspace, options.copies))
                beside = (rates[-2] + rates[-1]) / 2
                found[name] |= {
                    "bulk_before_and_after": rates[-2:],
                    "over_bulk": found[name]["photos_a_second"] / beside,
                }
            figures.append(found)
            print(json.dumps(found, indent=2), flush=True)
    if options.output:
        with kept_aside([options.output], "that of a load"):
            options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
