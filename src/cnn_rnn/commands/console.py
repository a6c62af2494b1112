"""What all commands share: one line for a refused input, how their settings are written, and a quick start."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# For the help, which loads no library; a test holds them against the packages that know them.
SOURCE_NAMES = (
    "voc2007, voc2012, coco2014, coco2017, nus-wide-81, nus-wide-1000, image_folder, table, class_folders, voc_xml, "
    "hub, digits"
)
BENCHMARK_NAMES = "voc2007, voc2012, coco2014, coco2017, nus-wide-81, nus-wide-1000"
PROTOCOL_NAMES = "voc2007, coco2014, nus-wide-81, nus-wide-1000, corel5k"
REFUSED = 2  # what a shell is told where an input, a setting or the machine stands in the way, as argparse does it


def refuse(error: BaseException, hint: str = "") -> int:
    """Say on stderr in one line what is wrong and the way out; returns `REFUSED`."""
    message = visible(" ".join(line.strip() for line in str(error).splitlines() if line.strip()))
    message = message or type(error).__name__
    sys.stdout.flush()
    print(f"error: {message}{hint and f'; {hint}'}", file=sys.stderr, flush=True)
    return REFUSED


def visible(text: str) -> str:
    """A text without what could rule a terminal or turn its words around, as file names and labels may hold it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


@contextmanager
def loading() -> Iterator[None]:
    """No search for garbage while libraries and a model are loaded, nor when the process ends.

    Nearly all that they make is there to stay, and looking through it again and again takes a third of the time that
    one photo takes from the command line to its labels.
    """
    atexit.register(gc.freeze)
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()
