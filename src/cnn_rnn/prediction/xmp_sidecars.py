"""Labels as keywords in XMP sidecars, where photo managers look for them; what stands there already stays."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnn_rnn.foundation.whole_files import whole_file

KEYWORDS = "Xmp.dc.subject"  # of every program
TAGS = "Xmp.digiKam.TagsList"
HIERARCHY = "Xmp.lr.hierarchicalSubject"  # Lightroom, darktable
PARTING = {KEYWORDS: "", TAGS: "/", HIERARCHY: "|"}  # of a keyword from those above it; the first holds the last alone
NAMESPACES = {"digiKam": "http://www.digikam.org/ns/1.0/", "lr": "http://ns.adobe.com/lightroom/1.0/"}
INSTALL = "writing XMP needs exiv2: pip install 'cnn-rnn[xmp]'"


class SidecarError(ValueError):
    """A sidecar that is there cannot be read; it is left as it is."""


def sidecar_path(photo: Path) -> Path:
    """Where a photo's sidecar lies: `photo.jpg.xmp` beside `photo.jpg`."""
    return photo.with_name(f"{photo.name}.xmp")


def missing_keywords(photo: Path, labels: Sequence[str]) -> list[str]:
    """Those of the labels that the photo's sidecar has not among its keywords yet.

    Raises:
        SidecarError: It cannot be read.
    """
    path = sidecar_path(photo)
    if not path.exists():
        return list(labels)
    _, data = _open(path)
    return [label for label in labels if any(_lacking(_values(data, key), [label], key) for key in PARTING)]


def write_sidecar(photo: Path, labels: Sequence[str]) -> bool:
    """Add labels to the keywords of a photo's sidecar, which is made where there is none; the photo is not touched.

    Args:
        photo: The photo.
        labels: What to add to `dc:subject`, `digiKam:TagsList` and `lr:hierarchicalSubject`.

    Returns:
        Whether anything was to be added.

    Raises:
        SidecarError: There is a sidecar that cannot be read.
        ImportError: exiv2 is not installed.
    """
    if not missing_keywords(photo, labels):
        return False
    exiv2, path = _library(), sidecar_path(photo)
    with whole_file(path) as temporary:
        if path.exists():
            temporary.write_bytes(path.read_bytes())
            image, data = _open(temporary)
        else:
            image = exiv2.ImageFactory.create(exiv2.ImageType.xmp, str(temporary))
            data = image.xmpData()
        known = _known(data)
        for key, kind in ((KEYWORDS, "xmpBag"), (TAGS, "xmpSeq"), (HIERARCHY, "xmpBag")):
            there = _values(data, key)
            added = _lacking(there, labels if there else [*known, *labels], key)
            if added:
                data[key] = exiv2.XmpArrayValue([*there, *added], getattr(exiv2.TypeId, kind))
        image.setXmpData(data)
        image.writeMetadata()
    return True


def _lacking(there: Sequence[str], labels: Sequence[str], key: str) -> list[str]:
    """What of the labels a property has not yet, as the property writes it.

    A label such as `animal|cat` is the keyword `cat` below `animal`. One that a property holds below another is there.
    """
    mark = PARTING[key]
    known = {*there, *(value.rpartition(mark)[2] for value in there if mark)}
    lacking = []
    for label in labels:
        leaf = label.rpartition("|")[2]
        written = label.replace("|", mark) if mark else leaf
        if written not in known:
            lacking.append(written)
            known |= {written, leaf}
    return lacking


def _known(data: Any) -> list[str]:
    """The keywords that any property holds, such as `animal|dog`.

    A program reads one of the properties: one that is new must say all that the others do, or those are lost for it.
    """
    paths = [value.replace("/", "|") for value in _values(data, TAGS)] + _values(data, HIERARCHY)
    leaves = {path.rpartition("|")[2] for path in paths}
    return list(dict.fromkeys([*paths, *(word for word in _values(data, KEYWORDS) if word not in leaves)]))


def _library() -> Any:
    """The exiv2 module, silent and with all namespaces; ImportError that says how to get it."""
    try:
        import exiv2
    except ImportError as error:
        raise ImportError(INSTALL) from error
    registered = exiv2.XmpProperties.registeredNamespaces()
    for prefix, namespace in NAMESPACES.items():
        if namespace not in registered:
            with suppress(exiv2.Exiv2Error):  # it knows the namespace by this prefix already
                exiv2.XmpProperties.registerNs(namespace, prefix)
    exiv2.LogMsg.setLevel(exiv2.LogMsg.Level.mute)
    return exiv2


def _open(path: Path) -> tuple[Any, Any]:
    """A sidecar and its XMP data; SidecarError where it cannot be read as XMP."""
    exiv2 = _library()
    try:
        image = exiv2.ImageFactory.open(str(path))
        if image.imageType() != exiv2.ImageType.xmp:
            raise SidecarError(f"{path} is no XMP file; move it away to write one")
        image.readMetadata()
    except exiv2.Exiv2Error as error:
        raise SidecarError(
            f"{path} cannot be read as XMP ({error}); mend it or move it away to write a new one"
        ) from error
    data = image.xmpData()
    if data.empty() and path.stat().st_size:
        text = path.read_text(encoding="utf-8", errors="replace")
        if "rdf:Description" not in text or not text.rstrip().endswith(("?>", ">")):
            raise SidecarError(f"{path} holds no readable XMP; mend it or move it away to write a new one")
    return image, data


def _values(data: Any, key: str) -> list[str]:
    """The items of a property, or none."""
    return list(data[key].value()) if any(entry.key() == key for entry in data) else []
