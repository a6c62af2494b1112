"""Ways to the same end, timed side by side: in turns, so that a busy machine slows all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile
from tqdm.auto import tqdm

OPERATIONS = 12  # that a profile lists
SHORT = 0.25  # seconds: what takes less is run once more before each turn


@dataclass(frozen=True)
class Times:
    """Seconds that one way took, turn by turn."""

    seconds: list[float]

    @property
    def least(self) -> float:
        """That of the best turn."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """That of the median turn."""
        return statistics.median(self.seconds)

    def less(self, seconds: float) -> "Times":
        """The times without the `seconds` of a start that all turns share."""
        return Times([each - seconds for each in self.seconds])


class Turns:
    """Runs ways in turn.

    Threads of one library go on waiting for work, on the cores, for some milliseconds after its last; so do the caches
    hold another way's data. What is short is therefore run twice in a row, and only the second counts.

    Attributes:
        profiling: Whether to run each way once more afterwards, and to print what took its time.
    """

    profiling = False

    @classmethod
    def take(cls, ways: Mapping[str, Callable[[], object]], turns: int, warm_up: int = 1) -> dict[str, Times]:
        """The times of every way, after each has run `warm_up` times."""
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        short: dict[str, bool] = {}
        for turn in tqdm(range(warm_up + turns), desc=", ".join(ways)[:60], unit="turn", leave=False):
            for name, way in ways.items():
                if short.get(name):
                    seconds_of(way)
                taken = seconds_of(way)
                short[name] = taken < SHORT
                if turn >= warm_up:
                    seconds[name].append(taken)
        if cls.profiling:
            for name, way in ways.items():
                print(f"\n{name}\n{where_time_goes(way)}")
        return {name: Times(each) for name, each in seconds.items()}


def seconds_of(way: Callable[[], object]) -> float:
    """How long one run takes, to the end of what it started on a GPU."""
    begin = time.perf_counter()
    way()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def where_time_goes(way: Callable[[], object]) -> str:
    """A table of the operations that took most of the time of one run."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        way()
    table: str = found.key_averages().table(
        sort_by="self_cpu_time_total", row_limit=OPERATIONS, max_name_column_width=40
    )
    return table
