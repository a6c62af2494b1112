"""The few fields of a COCO annotation file that labels need; polygons and boxes are skipped while parsing."""

import mmap
from pathlib import Path

import msgspec


class CocoImage(msgspec.Struct, gc=False):
    """One photo."""

    id: int
    file_name: str


class CocoAnnotation(msgspec.Struct, gc=False):
    """One object, or a crowd of them, on one photo."""

    image_id: int
    category_id: int
    iscrowd: int = 0


class CocoCategory(msgspec.Struct, gc=False):
    """One class."""

    id: int
    name: str
    supercategory: str | None = None


class CocoDocument(msgspec.Struct):
    """An annotation file."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def read_coco(path: Path) -> CocoDocument:
    """The checked content of an annotation file; ValueError that names the file and the key."""
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return msgspec.json.decode(content, type=CocoDocument)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}; expected COCO's instances format, whole") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep; expected COCO's instances format") from error
