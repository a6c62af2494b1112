"""Whatever goes wrong in taking a file apart is told as the file's fault, in one line, but for what is not."""

import errno
import struct
from pathlib import Path

import pytest

from cnn_rnn.foundation.broken_files import told_as_broken
from cnn_rnn.foundation.whole_files import UnwrittenFileError

STUMBLES = [
    TypeError("no\nlen()"), KeyError("x"), struct.error("short"), RecursionError("deep"), OverflowError("large"),
    AttributeError("none"), AssertionError(), StopIteration(), MemoryError(), OSError("thrift"),
    UnicodeError("\x1b[2J"), ZeroDivisionError("by zero"), NotImplementedError(), EOFError(), ValueError("x"),
]  # fmt: skip


@pytest.mark.parametrize("error", STUMBLES, ids=lambda error: type(error).__name__)
def test_it_is_told_in_one_line_that_names_the_file(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "a\nb.tar"
    with (
        pytest.raises(ValueError, match=r"b\.tar cannot be read: .+; get it again$") as told,
        told_as_broken(path, way_out="; get it again"),
    ):
        raise error
    assert told.value.__cause__ is error
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"), UnwrittenFileError("could not write x"), ImportError("install s3fs"),
        ValueError("a.tar: member 'x' leaves the folder"), ValueError("no\n\ncolumn in a.tar"), KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_is_no_fault_of_the_file_or_names_it_stays(error: BaseException) -> None:
    with pytest.raises(type(error)) as told, told_as_broken("a.tar"):
        raise error
    assert told.value is error
    assert "\n" not in str(error)


def test_what_the_file_is_instead_is_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for content, told in [(b"<html>login", "it is a web page"), (b"\x1f\x8b", "it is packed by gzip; unpack it")]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.tar cannot be read: {told}"), told_as_broken(path):
            raise TypeError
    with pytest.raises(ValueError, match=r"a\.tar cannot be read: TypeError"), told_as_broken(path, unpacks=True):
        raise TypeError
