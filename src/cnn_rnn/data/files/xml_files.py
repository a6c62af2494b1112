"""XML from outside: parsed without document types, so that no entity can grow or reach for other files."""

from pathlib import Path
from xml.etree import ElementTree as ET


class _NoDocumentType(ET.TreeBuilder):
    """Elements as they come; a document type, which alone can define entities, is refused."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse it."""
        del pubid, system
        raise ValueError(
            f"it declares the document type {name!r}, which no annotation tool writes; remove <!DOCTYPE ...>"
        )


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file.

    Raises:
        ValueError: It is not whole, or declares a document type.
    """
    parser = ET.XMLParser(target=_NoDocumentType())  # noqa: S314 - refuses what could hold entities
    try:
        return ET.parse(path, parser).getroot()  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(f"{path} is not whole XML: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
