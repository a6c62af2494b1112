"""What a file is that is not what its name says, told by its first bytes."""

from pathlib import Path

UNPACK = "unpack it"
FIRST_BYTES = {  # by their first bytes: what it is, and the way out
    b"\x1f\x8b": f"is packed by gzip; {UNPACK}",
    b"PK\x03\x04": f"is a zip archive, or Excel's; {UNPACK}, or call it .xlsx",
    b"\xd0\xcf\x11\xe0": "is an old Excel file; save it as .xlsx or CSV",
    b"PAR1": "is Parquet; call it .parquet",
    b"SQLite format 3": "is a database; export a table of file names and labels",
    b"%PDF": "is a PDF; export a table of file names and labels",
    b"version https://git-lfs.github.com/spec/": "is a pointer of Git LFS; 'git lfs pull' gets the file itself",
    b"<!doctype html": "is a web page, perhaps of an error or a login; get the file again",
    b"<html": "is a web page, perhaps of an error or a login; get the file again",
}
OWN_FIRST_BYTES = {".parquet": b"PAR1", ".xlsx": b"PK\x03\x04"}
LONGEST_BEGINNING = 64  # bytes that are looked at


def kind_of(content: bytes) -> str | None:
    """What a file is by its first bytes, with the way out; None where they tell nothing."""
    start = content[:LONGEST_BEGINNING]
    if not start.strip(b"\0"):
        return "begins with bytes of zero, as a broken copy does; get it again" if start else "is empty; get it again"
    small = start.lower()
    return next((what for mark, what in FIRST_BYTES.items() if start.startswith(mark) or small.startswith(mark)), None)


def kind_of_file(path: str | Path) -> str | None:
    """As `kind_of`, of a file on this machine; None also where it is what its name says, or cannot be read."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(LONGEST_BEGINNING)
    except OSError:
        return None
    own = OWN_FIRST_BYTES.get(Path(path).suffix.lower())
    return None if own and start.startswith(own) else kind_of(start)
