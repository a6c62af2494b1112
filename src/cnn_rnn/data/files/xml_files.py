"""XML from outside, VOC's among it: parsed without document types, so that no entity can grow or reach for files."""

from pathlib import Path
from xml.etree import ElementTree as ET


class _NoDocumentType(ET.TreeBuilder):
    """Elements as they come; a document type, which alone can define entities, is refused."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse it."""
        del pubid, system
        raise ValueError(f"declares the document type {name!r}, which no annotation tool writes; remove <!DOCTYPE ...>")


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
    except ET.ParseError as error:
        raise ValueError(f"is not whole XML: {error}") from error


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
