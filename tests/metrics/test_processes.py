"""Several processes give the figures of one, bit for bit.

Run as a script, this file plays the scenarios: one process imports everything once and forks the others.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch.distributed as dist
from numpy.typing import NDArray

import cnn_rnn
from cnn_rnn.metrics import MultiLabelMetrics


class Scenario(NamedTuple):
    """How many processes share how many images."""

    processes: int
    images: int
    batch: int
    with_paths: bool


SCENARIOS = {
    "two": Scenario(2, 101, 8, with_paths=True),
    "three": Scenario(3, 101, 8, with_paths=True),
    "three_without_paths": Scenario(3, 100, 7, with_paths=False),
    "one_without_any_row": Scenario(3, 10, 5, with_paths=True),
}


def rows(images: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """The same scores, targets (-1: left out) and predicted sets in every process."""
    generator = np.random.default_rng(7)
    scores = generator.random((images, 9), dtype=np.float32)
    targets = (generator.random((images, 9)) < 0.3).astype(int)
    targets[generator.random((images, 9)) < 0.1] = -1
    return scores, targets, generator.random((images, 9)) < 0.3


def measure_share(rank: int, scenario: Scenario, folder: Path) -> None:
    """Measure every n-th batch and write the figures after gathering."""
    processes, images, batch, with_paths = scenario
    dist.init_process_group("gloo", init_method=(folder / "store").as_uri(), rank=rank, world_size=processes)
    metrics = MultiLabelMetrics()
    scores, targets, paths = rows(images)
    for start in range(rank * batch, images, processes * batch):
        part = slice(start, start + batch)
        metrics.update(scores[part], targets[part], paths=paths[part] if with_paths else None)
    metrics.gather()
    (folder / str(rank)).write_text(json.dumps(metrics.compute()))
    dist.destroy_process_group()


def disagree(rank: int, folder: Path) -> None:
    """Gather rows of another width in each process, and write what is said about it."""
    dist.init_process_group("gloo", init_method=(folder / "store").as_uri(), rank=rank, world_size=2)
    metrics = MultiLabelMetrics()
    metrics.update(np.zeros((1, 2 + rank)), np.zeros((1, 2 + rank)))
    try:
        metrics.gather()
    except ValueError as error:
        (folder / str(rank)).write_text(str(error))
    dist.destroy_process_group()


def run_processes(target: Any, processes: int, *arguments: Any) -> None:
    """Run the function in so many forked processes."""
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=target, args=(rank, *arguments)) for rank in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)


def play(folder: Path) -> None:
    """Play every scenario, each in a folder of its own."""
    for name, scenario in SCENARIOS.items():
        (folder / name).mkdir()
        run_processes(measure_share, scenario.processes, scenario, folder / name)
    (folder / "disagree").mkdir()
    run_processes(disagree, 2, folder / "disagree")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what every process of every scenario wrote."""
    folder = tmp_path_factory.mktemp("processes")
    source = str(Path(cnn_rnn.__file__).parents[1])
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    subprocess.run([sys.executable, __file__, str(folder)], check=True, env=environment, timeout=300)
    return folder


@pytest.mark.parametrize("name", SCENARIOS)
def test_gathered_figures_equal_those_of_one_process_bit_for_bit(name: str, played: Path) -> None:
    scenario = SCENARIOS[name]
    scores, targets, paths = rows(scenario.images)
    alone = MultiLabelMetrics()
    alone.update(scores, targets, paths=paths if scenario.with_paths else None)
    alone.gather()  # nothing to do in one process
    expected = json.dumps(alone.compute())
    assert [(played / name / str(rank)).read_text() for rank in range(scenario.processes)] == (
        [expected] * scenario.processes
    )


def test_processes_that_disagree_all_say_so(played: Path) -> None:
    for rank in range(2):
        assert "processes differ" in (played / "disagree" / str(rank)).read_text()


if __name__ == "__main__":
    play(Path(sys.argv[1]))
