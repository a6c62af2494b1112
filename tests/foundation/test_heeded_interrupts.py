"""Ctrl-C ends what a library was doing, whatever that library makes of it."""

import signal
import threading
from contextlib import suppress

import pytest

from cnn_rnn.foundation.heeded_interrupts import heeding_interrupts


class Finalized:
    """Something with a finalizer, of which Python swallows every error."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@heeding_interrupts()
def swallow_in_a_finalizer() -> None:
    Finalized()


@heeding_interrupts()
def swallow_by_name() -> None:
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@heeding_interrupts()
def turn_into_another_error() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise RuntimeError("the exporter failed") from error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("does", [swallow_in_a_finalizer, swallow_by_name, turn_into_another_error])
def test_it_is_heeded(does: object) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        does()  # type: ignore[operator]
    assert signal.getsignal(signal.SIGINT) is before


def test_where_nobody_presses_it_nothing_is_other() -> None:
    with pytest.raises(RuntimeError, match="own"), heeding_interrupts():
        raise RuntimeError("own")
    with heeding_interrupts():
        pass
    found: list[str] = []

    @heeding_interrupts()
    def work() -> None:
        found.append(threading.current_thread().name)

    thread = threading.Thread(target=work, name="another")
    thread.start()
    thread.join()
    assert found == ["another"]  # where signals have no handlers
