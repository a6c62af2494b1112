"""Annotations in XML, VOC's and CVAT's, read without document types, so that no entity can grow or reach for files."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from cnn_rnn.data.reading import Reading
from cnn_rnn.foundation.broken_files import reason

from .raw_table import RawTable

SHAPES = frozenset({"tag", "box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton"})  # of CVAT


class DocumentTypeError(ValueError):
    """An XML file that declares what its elements mean, which could make them grow or reach for other files."""


class _NoDocumentType(ET.TreeBuilder):
    """Elements as they come; a document type, which alone can define entities, is refused."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse it."""
        del pubid, system
        raise DocumentTypeError(
            f"declares the document type {name!r}, which no annotation tool writes; remove <!DOCTYPE ...>"
        )


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file.

    Raises:
        ValueError: It is not whole, or declares a document type.
    """
    try:
        return parse_xml(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def parse_xml(text: str | bytes) -> ET.Element:
    """The root of an XML text.

    Raises:
        ValueError: It is not whole, or declares a document type.
    """
    parser = ET.XMLParser(target=_NoDocumentType())  # noqa: S314 - refuses what could hold entities
    try:
        parser.feed(text)
        return parser.close()
    except DocumentTypeError:
        raise
    except Exception as error:  # a LookupError too, of an encoding that nobody knows
        raise ValueError(f"is not whole XML: {reason(error)}") from error


def read_voc(path: Path) -> tuple[str, dict[str, bool]]:
    """The photo's file name, empty where the file tells none, and by label whether an object of it is seen plainly.

    Raises:
        ValueError: The file is not whole, of another kind, or has an object without a name.
    """
    tree = read_xml(path)
    if tree.tag != "annotation":
        cvat = f"; CVAT's is read by data.name table --data.root {path}" if tree.tag == "annotations" else ""
        raise ValueError(f"{path}: the root is <{tree.tag}>, expected VOC's <annotation>{cvat}")
    states: dict[str, bool] = {}
    for item in tree.findall("object"):
        label = (item.findtext("name") or "").strip()
        if not label:
            raise ValueError(f"{path}: an <object> has no <name>")
        states[label] = states.get(label, False) or (item.findtext("difficult") or "0").strip() != "1"
    return (tree.findtext("filename") or "").strip(), states


def read_cvat(path: Path, reading: Reading) -> RawTable:
    """CVAT's own XML ("CVAT for images 1.1"), a row a photo; its labels are its tags and those of its shapes.

    The classes are those that the task declares, in its order; a photo's `subset`, where a project has them, is its
    split.

    Raises:
        ValueError: The file is no such XML, names a label that the task does not declare, or holds video tracks.
    """
    del reading  # labels are elements
    root = read_xml(path)
    if root.tag == "annotation":
        raise ValueError(
            f"{path} is one photo's VOC XML: data.name voc_xml --data.root {path.parent} reads all of them"
        )
    if root.tag != "annotations":
        raise ValueError(f"{path}: the root is <{root.tag}>, expected CVAT's <annotations> (CVAT for images 1.1)")
    if root.find("track") is not None:
        raise ValueError(f"{path} is CVAT's format for video, with tracks; export it as 'CVAT for images 1.1'")
    declared = [(one.text or "").strip() for one in root.iterfind("meta//labels/label/name")]
    names = list(dict.fromkeys(filter(None, declared)))
    images = list(root.iterfind("image"))
    if not images:
        raise ValueError(f"{path} has no <image>; expected CVAT for images 1.1")
    read = [_read_image(path, number, image, names) for number, image in enumerate(images, start=1)]
    columns: dict[str, list[Any]] = {"file_name": [name for name, _ in read], "labels": [own for _, own in read]}
    if any(image.get("subset") for image in images):
        columns["split"] = [image.get("subset") for image in images]
    note = f"CVAT for images: {len(images):,} photos, {len(names)} labels declared"
    return RawTable(path, "image", range(1, len(images) + 1), columns, [note], names or None)


def _read_image(path: Path, number: int, image: ET.Element, names: list[str]) -> tuple[str, list[str]]:
    """A photo's file name and labels; ValueError that names what is wrong with it."""
    name = (image.get("name") or "").strip()
    where = f"{path}, image {number}"
    if not name:
        raise ValueError(f"{where}: <image> has no name, expected the photo's file name")
    labels: dict[str, None] = {}
    for shape in image:
        if shape.tag not in SHAPES:
            raise ValueError(f"{where} ({name}): <{shape.tag}> is not known; expected {', '.join(sorted(SHAPES))}")
        label = (shape.get("label") or "").strip()
        if not label or (names and label not in names):
            raise ValueError(
                f"{where} ({name}): <{shape.tag}> has the label {label!r}, which the task does not declare"
            )
        labels[label] = None
    return name, list(labels)
