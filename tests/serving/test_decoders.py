"""Processes that decode may crash, hang or be killed: others do not notice, and no photo is another's."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn_rnn.serving.decoders import Decoders
from cnn_rnn.serving.refusals import RefusedError

from .conftest import COMMAND
from .stub_decoder import pixels_of


@pytest.fixture(scope="module")
def replaced() -> list[int]:
    return []


@pytest.fixture(scope="module")
def decoders(replaced: list[int]) -> Iterator[Decoders]:
    found = Decoders(("", ""), 2, 1.0, lambda: replaced.append(1), COMMAND)
    yield found
    found.close()


def test_each_gets_its_own(decoders: Decoders) -> None:
    photos = [f"photo {index}".encode() for index in range(40)]
    for photo, future in [(photo, decoders.decode(photo)) for photo in photos]:
        assert np.array_equal(future.result(30), pixels_of(photo))


def test_what_cannot_be_read_is_refused_with_the_reason(decoders: Decoders) -> None:
    with pytest.raises(RefusedError, match="cannot be decoded") as error:
        decoders.decode(b"bad").result(30)
    assert error.value.status == 422


@pytest.mark.parametrize("photo", [b"die", b"sleep 60"], ids=["crashes", "hangs"])
def test_a_photo_that_ends_two_processes_is_refused_and_the_others_are_not(
    decoders: Decoders, replaced: list[int], photo: bytes
) -> None:
    before = len(replaced)
    ill = decoders.decode(photo)
    others = [decoders.decode(f"photo {index}".encode()) for index in range(20)]
    assert all(future.result(30).shape == (3, 32, 32) for future in others)
    with pytest.raises(RefusedError, match="every process that tries") as error:
        ill.result(30)
    assert error.value.status == 422
    assert len(replaced) == before + 2


def test_a_crash_that_does_not_come_again_costs_nothing(decoders: Decoders, tmp_path: Path) -> None:
    photo = f"once {tmp_path / 'crashed'}".encode()
    assert np.array_equal(decoders.decode(photo).result(30), pixels_of(photo))
    assert (tmp_path / "crashed").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_processes_that_somebody_ends_are_replaced(decoders: Decoders, how: signal.Signals) -> None:
    futures = [decoders.decode(f"photo {index}".encode()) for index in range(30)]
    before = decoders.pids()
    for pid in before:
        os.kill(pid, how)
    futures += [decoders.decode(f"photo {index}".encode()) for index in range(30, 60)]
    for index, future in enumerate(futures):
        assert np.array_equal(future.result(30), pixels_of(f"photo {index}".encode()))
    assert not set(before) & set(decoders.pids())


def test_nothing_is_left_of_them() -> None:
    one = Decoders(("", ""), 1, 1.0, command=COMMAND)
    waiting = [one.decode(b"sleep 60"), one.decode(b"photo")]
    (pid,) = one.pids()
    time.sleep(0.05)
    one.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RefusedError, match="the server ends"):
        waiting[0].result(30)


def test_what_does_not_start_is_said() -> None:
    with pytest.raises(RuntimeError, match="do not start"):
        Decoders(("", ""), 1, 1.0, command=("false",))
