"""A file that a library stumbles over is told as what it is, broken: in one line, with its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .file_kinds import UNPACK, kind_of_file
from .one_line import told_in_one_line, visible
from .whole_files import UnwrittenFileError


@contextmanager
def told_as_broken(
    file: str | Path,
    fault: str = "cannot be read",
    way_out: str = "",
    *,
    unpacks: bool = False,
    raising: type[ValueError] = ValueError,
) -> Iterator[None]:
    """Whatever is raised while the body takes a file apart comes out as a fault of the file.

    Parsers trust what they read, and meet what nobody foresaw with an error of any kind. What names the file already
    stays as it is, and so does what is not the file's fault: a disk's errors, which have numbers, or a missing package.

    Args:
        file: Its path or address.
        fault: What is wrong with it, in words that follow its name.
        way_out: What to do, in words that follow the reason.
        unpacks: Whether the body does so, which nobody needs to be told then.
        raising: The kind of error.

    Raises:
        ValueError: The body raised something else.
    """
    try:
        with told_in_one_line():
            yield
    except Exception as error:
        of_others = isinstance(error, UnwrittenFileError | ImportError) or getattr(error, "errno", None) is not None
        if of_others or (isinstance(error, ValueError | OSError) and tells_of(error, file)):
            raise
        kind = None if "://" in str(file) else kind_of_file(file)
        why = f"it {kind}" if kind and not (unpacks and UNPACK in kind) else f"{reason(error)}{way_out}"
        raise raising(visible(f"{file} {fault}: {why}")) from error


def tells_of(error: Exception, file: str | Path) -> bool:
    """Whether an error's text holds a file's path."""
    return str(file) in str(error) or visible(str(file)) in str(error)


def reason(error: BaseException) -> str:
    """What an error says, in one line; of Python's own errors that tell of code and not of values, their kind too."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    said = visible(" ".join(str(error).split()))
    kind = type(error).__name__
    tells_of_code = type(error).__module__ == "builtins" and not isinstance(error, ValueError | OSError | EOFError)
    return f"{kind}: {said}" if said and tells_of_code else said or kind
