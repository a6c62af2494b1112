"""What loading processes raise, told by the one that waits for them."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader
from torch.utils.data import IterableDataset as TorchIterableDataset

from cnn_rnn.data import UnreadableImageError
from cnn_rnn.data.batching.batches import leave_signals_alone, loading_errors
from cnn_rnn.foundation.hub_errors import HubError
from cnn_rnn.training.faults import CheckpointError, NonFiniteLossError, disk_advice


class Examples(TorchIterableDataset):
    """A few examples, and then an error where there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __iter__(self) -> Any:
        yield from range(3)
        if self.error is not None:
            raise self.error


def loop(examples: Examples, num_workers: int, error: Exception | None = None) -> None:
    """Goes through the examples with an error of its own at the first of them."""
    for _ in DataLoader(examples, num_workers=num_workers, worker_init_fn=leave_signals_alone):
        if error is not None:
            raise error


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("error", [HubError("photos: cut: try again"), UnreadableImageError("7.png: it is empty")])
def test_an_error_keeps_its_one_line(error: Exception, num_workers: int) -> None:
    with pytest.raises(type(error)) as raised, loading_errors():
        loop(Examples(error), num_workers)
    assert str(raised.value) == str(error)
    assert not multiprocessing.active_children()


def test_no_process_is_left_to_wait_for_after_an_error_of_the_loop() -> None:
    with pytest.raises(NonFiniteLossError), loading_errors():
        loop(Examples(), 1, NonFiniteLossError("the loss is nan"))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("error", "told"), [(OSError(), "OSError"), (RuntimeError("torn\nat 7"), "torn")])
def test_what_a_disk_says_is_told_in_one_line_also_where_it_says_nothing(error: Exception, told: str) -> None:
    with (
        pytest.raises(CheckpointError, match=rf"could not write into run: {told}\. ") as raised,
        disk_advice(Path("run")),
    ):
        raise error
    assert "\n" not in str(raised.value)
