"""Label files of every kind that is known, each by its reader: a new kind is one more line here."""

from collections.abc import Callable
from pathlib import Path

from cnn_rnn.data.reading import Reading

from .json_files import read_document, read_lines
from .label_studio_exports import without_uploads
from .packed_tables import read_excel, read_parquet
from .raw_table import RawTable
from .text_tables import read_text
from .xml_files import read_cvat

TEXT_TABLES = frozenset({".csv", ".tsv", ".txt"})
TOLD_ENCODING = frozenset({".xlsx", ".parquet", ".xml"})
READERS: dict[str, Callable[[Path, Reading], RawTable]] = {
    **dict.fromkeys(TEXT_TABLES, read_text),
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".json": read_document,
    ".xlsx": read_excel,
    ".parquet": read_parquet,
    ".xml": read_cvat,
}
TABLES = frozenset(READERS)


def read_label_file(path: Path, reading: Reading) -> RawTable:
    """The rows of a label file.

    Raises:
        ValueError: It is of no kind that is known, cannot be read, or could be read in two ways; file and line are
            named. Or a setting has no use for a file of its kind.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: a label file ends in {', '.join(sorted(TABLES))}, not {suffix!r}")
    reading.refuse({"delimiter"} if suffix not in TEXT_TABLES else (), f"{path} is no text table")
    reading.refuse({"encoding"} if suffix in TOLD_ENCODING else (), f"{path} tells its encoding itself")
    table = READERS[suffix](path, reading)
    if not table.numbers:
        raise ValueError(f"{path} has no rows")
    names = table.columns.keys()
    small_export = {"image", "annotation_id"} <= names or (suffix == ".json" and {"image", "choice"} <= names)
    return without_uploads(table) if small_export else table
