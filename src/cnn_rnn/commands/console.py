"""What all commands share: one line for a refused input, and how their settings are written."""

import sys

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
