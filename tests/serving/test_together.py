"""What waits is seen together, and no answer is another's."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from cnn_rnn.serving.service import Together


class Work:
    """Doubles numbers, holds the first batch until told to go on, and fails at what is negative."""

    def __init__(self) -> None:
        self.go_on, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        """Work on a batch."""
        self.batches.append(list(numbers))
        self.begun.set()
        assert self.go_on.wait(30)
        if min(numbers) < 0:
            raise ValueError(f"{min(numbers)} is negative")
        return [2 * number for number in numbers]


@pytest.fixture
def work() -> Iterator[Work]:
    one = Work()
    yield one
    one.go_on.set()


def test_what_waits_meanwhile_is_one_batch_up_to_the_most(work: Work) -> None:
    seen: list[int] = []
    together = Together(work, most=4, seen=seen.append)
    first = together.ask(0)
    assert work.begun.wait(30)
    others = [together.ask(number) for number in range(1, 7)]
    work.go_on.set()
    assert [first.result(30), *(future.result(30) for future in others)] == [0, 2, 4, 6, 8, 10, 12]
    together.close()
    assert work.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert seen == [1, 4, 2]


def test_one_that_fails_fails_alone_and_one_that_nobody_waits_for_is_left_out(work: Work) -> None:
    together = Together(work, most=8)
    together.ask(0)
    assert work.begun.wait(30)
    futures = [together.ask(number) for number in (1, -2, 3, 4)]
    assert futures[3].cancel()
    work.go_on.set()
    assert (futures[0].result(30), futures[2].result(30)) == (2, 6)
    with pytest.raises(ValueError, match="-2 is negative"):
        futures[1].result(30)
    together.close()
    assert work.batches == [[0], [1, -2, 3], [1], [-2], [3]]


def test_what_was_asked_before_the_end_is_answered(work: Work) -> None:
    together = Together(work, most=2)
    futures = [together.ask(number) for number in range(5)]
    work.go_on.set()
    together.close()
    assert [future.result(0) for future in futures] == [0, 2, 4, 6, 8]
