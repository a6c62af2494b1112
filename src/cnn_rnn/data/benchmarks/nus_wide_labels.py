"""The label files of NUS-WIDE as 0/1 matrices, read as bytes: they are small words on many lines."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_rnn.data.photos.disk_layout import existing_folder

NamedLabels = tuple[list[str], npt.NDArray[np.bool_]]  # class names, presence (N, C)

ONE, ZERO, NEWLINE = b"10\n"
BLANKS = np.frombuffer(b" \t\r\n", np.uint8)
BYTES_AT_ONCE = 1 << 22  # bytes read at once: some 2,000 images of 1,000 tags


def read_concepts(root: Path, part: str, num_images: int) -> NamedLabels:
    """The 81 concepts of the part `Train` or `Test`: one file a concept, one line an image."""
    folder = existing_folder(root, "NUS-WIDE concept labels", ("Groundtruth/TrainTestLabels",))
    names = _concept_names(root, folder, part)
    present = np.zeros((num_images, len(names)), dtype=bool)
    for column, name in enumerate(names):
        path = folder / f"Labels_{name}_{part}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; the official ground truth has one file a concept and part")
        present[:, column] = _read_rows(path, 1, num_images)[:, 0]
    return names, present


def read_tags(root: Path, part: str, num_images: int) -> NamedLabels:
    """The 1,000 tags of the part `Train` or `Test`: one line an image, one 0 or 1 a tag."""
    folder = existing_folder(root, "NUS-WIDE tags", ("NUS_WID_Tags", "Tags"))
    names_file, rows_file = folder / "TagList1k.txt", folder / f"{part}_Tags1k.dat"
    for path in (names_file, rows_file):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; it is part of the official NUS_WID_Tags.zip")
    names = names_file.read_text(encoding="utf-8").split()
    return names, _read_rows(rows_file, len(names), num_images)


def _concept_names(root: Path, folder: Path, part: str) -> list[str]:
    """The concepts in the official order, from their list or, without it, from the names of the label files."""
    for place in ("Concepts81.txt", "ConceptsList/Concepts81.txt", "Concepts/Concepts81.txt"):
        if (root / place).is_file():
            return (root / place).read_text(encoding="utf-8").split()
    files = sorted(path.name for path in folder.glob(f"Labels_*_{part}.txt"))  # the official order is alphabetical
    return [name.removeprefix("Labels_").removesuffix(f"_{part}.txt") for name in files]


def _read_rows(path: Path, num_columns: int, num_images: int) -> npt.NDArray[np.bool_]:
    """A text of 0 and 1, one line an image, as a matrix (N, C); ValueError that names the first wrong line."""
    present = np.empty((num_images, num_columns), dtype=bool)
    row = 0
    with path.open("rb") as file:
        while block := file.read(BYTES_AT_ONCE):
            block += file.readline()  # whole lines only
            if not block.endswith(b"\n"):
                block += b"\n"
            values = _parse_block(path, np.frombuffer(block, np.uint8), num_columns, row)
            if row + len(values) <= num_images:
                present[row : row + len(values)] = values
            row += len(values)
    if row != num_images:
        raise ValueError(f"{path} has {row:,} lines, but the image list has {num_images:,}; they belong together")
    return present


def _parse_block(path: Path, block: npt.NDArray[np.uint8], num_columns: int, first_row: int) -> npt.NDArray[np.bool_]:
    """Whole lines of 0 and 1 as a matrix (lines, columns); ValueError that names the first wrong line."""
    digits = (block == ONE) | (block == ZERO)
    ends = np.flatnonzero(block == NEWLINE)
    seen = np.cumsum(digits, dtype=np.int64)[ends]  # 0s and 1s up to each line's end
    expected = num_columns * np.arange(1, len(ends) + 1)
    glued = digits[1:] & digits[:-1]  # "10" is no value
    wrong = np.concatenate(
        [
            np.flatnonzero(seen != expected)[:1],
            np.searchsorted(ends, np.flatnonzero(~digits & ~np.isin(block, BLANKS))[:1]),
            np.searchsorted(ends, np.flatnonzero(glued)[:1]),
        ]
    )
    if len(wrong):
        line = int(wrong.min())
        text = bytes(block[: ends[line]]).rsplit(b"\n", 1)[-1][:40].decode("ascii", "replace")
        raise ValueError(
            f"{path}, line {first_row + line + 1}: {text!r}, expected {num_columns} values, each 0 or 1, in every line"
        )
    values: npt.NDArray[np.bool_] = (block[digits] == ONE).reshape(-1, num_columns)
    return values
