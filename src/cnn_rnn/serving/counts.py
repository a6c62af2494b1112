"""What happens in a server, counted, in the text that Prometheus reads."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PHOTOS = (1, 2, 4, 8, 16)


class Histogram:
    """How often values fell below each of some bounds.

    Args:
        bounds: In rising order.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.total = bounds, 0.0
        self.counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        """As text."""
        so_far, lines = 0, []
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            so_far += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {so_far}')
        return [*lines, f"{name}_sum {self.total:g}", f"{name}_count {so_far}"]


class Counts:
    """What a server counts; all of it may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds, self._batches = Histogram(SECONDS), Histogram(PHOTOS)
        self.replaced = self.learned = 0

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._lock:
            self._requests[path, status] += 1
            if status == 200:
                self._seconds.add(seconds)

    def seen(self, photos: int) -> None:
        """So many photos were seen together."""
        with self._lock:
            self._batches.add(photos)

    def replace(self) -> None:
        """A process that decodes was replaced."""
        with self._lock:
            self.replaced += 1

    def learn(self) -> None:
        """An annotation was learnt from."""
        with self._lock:
            self.learned += 1

    def text(self, waiting: int) -> str:
        """All of it, with how many requests wait now."""
        with self._lock:
            requests = [
                f'cnn_rnn_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            parts = (
                ("cnn_rnn_requests_total", "counter", "Requests, by path and status.", requests),
                (
                    "cnn_rnn_request_seconds",
                    "histogram",
                    "Seconds from the head of a request to its answer, of those with status 200.",
                    self._seconds.lines("cnn_rnn_request_seconds"),
                ),
                (
                    "cnn_rnn_batch_photos",
                    "histogram",
                    "Photos that were seen together.",
                    self._batches.lines("cnn_rnn_batch_photos"),
                ),
                ("cnn_rnn_waiting", "gauge", "Photos that wait or are at work.", [f"cnn_rnn_waiting {waiting}"]),
                (
                    "cnn_rnn_decoders_replaced_total",
                    "counter",
                    "Processes that decode photos and were replaced.",
                    [f"cnn_rnn_decoders_replaced_total {self.replaced}"],
                ),
                (
                    "cnn_rnn_annotations_learned_total",
                    "counter",
                    "Annotations that were learnt from.",
                    [f"cnn_rnn_annotations_learned_total {self.learned}"],
                ),
            )
        lines: list[str] = []
        for name, kind, told, samples in parts:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *samples]
        return "\n".join(lines) + "\n"
