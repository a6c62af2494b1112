"""Labels as keywords in XMP sidecars, where photo managers look for them; what others wrote there stays.

A sidecar remembers, in a namespace of its own, which words came from here: a guess (`predicted`), or a person on the
page (`confirmed`). Those are taken out again once they no longer hold. A guess never touches what a person said; what
was ruled out is remembered by its digest (`ruledOut`), for no word that does not hold is to be found in the file.
"""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from cnn_rnn.foundation.one_line import told_in_one_line
from cnn_rnn.foundation.whole_files import whole_file

from .xmp_packet import EMPTY, Packet, PacketError, Property

OWN = "urn:cnn-rnn:1.0/"
KEYWORDS = Property("dc", "http://purl.org/dc/elements/1.1/", "subject")  # of every program
TAGS = Property("digiKam", "http://www.digikam.org/ns/1.0/", "TagsList", "Seq")
HIERARCHY = Property("lr", "http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject")  # Lightroom, darktable
PARTING = {KEYWORDS: "", TAGS: "/", HIERARCHY: "|"}  # of a keyword from those above it; the first holds the last alone
PREDICTED, CONFIRMED, RULED_OUT = (Property("cnnrnn", OWN, name) for name in ("predicted", "confirmed", "ruledOut"))


class SidecarError(ValueError):
    """A sidecar stays as it is; the message says why."""


def sidecar_path(photo: Path) -> Path:
    """Where a photo's sidecar lies: `photo.jpg.xmp` beside `photo.jpg`."""
    return photo.with_name(f"{photo.name}.xmp")


def lightroom_path(photo: Path) -> Path:
    """Where Lightroom looks for it: `photo.xmp` beside `photo.jpg`."""
    return photo.with_suffix(".xmp")


@told_in_one_line()
def write_sidecar(
    photo: Path,
    labels: Sequence[str],
    *,
    by_person: bool = False,
    ruled_out: Sequence[str] = (),
    place: Callable[[Path], Path] = sidecar_path,
    dry_run: bool = False,
) -> bool:
    """Let a photo's sidecar say these labels among its keywords; it is made where there is none.

    Args:
        photo: The photo, which is not touched.
        labels: What `dc:subject`, `digiKam:TagsList` and `lr:hierarchicalSubject` are to hold. Other words that were
            written from here before are taken out: guesses, and by a person also what was confirmed.
        by_person: Whether a person said them, not a model.
        ruled_out: Labels that a person ruled out, which no later guess adds.
        place: Where the sidecar of a photo lies.
        dry_run: Find out what would change, and write nothing.

    Returns:
        Whether anything is to be changed.

    Raises:
        SidecarError: There is a sidecar that cannot be read in full, or XML cannot hold a label.
        OSError: It cannot be read or written.
    """
    path = place(photo)
    try:
        before = _bytes_of(path)
        packet = Packet(EMPTY if before is None else before)
        after = _changed(packet, labels, by_person=by_person, ruled_out=ruled_out)
    except PacketError as error:
        raise SidecarError(f"{path} stays as it is: {error}; mend it or move it away to write a new one") from error
    if after == packet.raw or (before is None and not labels):
        return False
    if not dry_run:
        with whole_file(path, make_folder=False) as temporary:
            temporary.write_bytes(after)
    return True


def _bytes_of(path: Path) -> bytes | None:
    """What stands in a sidecar; None where there is none. SidecarError where it is no file that may be written."""
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        raise SidecarError(f"{path} is no file; move it away to write one")
    if not os.access(path, os.W_OK):
        raise SidecarError(f"{path} is write-protected and stays as it is")
    return path.read_bytes()


def _changed(packet: Packet, labels: Sequence[str], *, by_person: bool, ruled_out: Sequence[str]) -> bytes:
    """The packet once it says the labels."""
    predicted, confirmed, refused = (packet.words(record) for record in (PREDICTED, CONFIRMED, RULED_OUT))
    if not by_person:
        # By its last part too: a label has come to stand below another since a person ruled it out.
        labels = [label for label in labels if not {_digest(label), _digest(label.rpartition("|")[2])} & set(refused)]
    ours = [*predicted, *confirmed] if by_person else predicted
    gone = [word for word in ours if word not in labels]
    there = {key: packet.words(key) for key in PARTING}
    out = _taken_out(there, gone)
    left = {key: [word for word in words if word not in out[key]] for key, words in there.items()}
    known = _known(left)
    new = [label for label in labels if all(_lacking(left[key], [label], key) for key in PARTING)]
    added = {
        key: _lacking(words, labels if words or not labels else [*known, *labels], key) for key, words in left.items()
    }
    said = list(dict.fromkeys([*(word for word in ours if word in labels), *new]))
    # A guess that a person confirms is the person's word from now on.
    records = (
        {PREDICTED: [], CONFIRMED: said, RULED_OUT: [_digest(label) for label in ruled_out]}
        if by_person
        else {PREDICTED: said}
    )
    changes: dict[Property, tuple[Iterable[str], Sequence[str]]] = {
        key: (out[key], added[key]) for key in PARTING if out[key] or added[key]
    }
    for record, words in records.items():
        before = packet.words(record)
        if list(words) != before:
            changes[record] = (before, words)
    return packet.change(changes)


def _taken_out(there: dict[Property, list[str]], gone: Sequence[str]) -> dict[Property, set[str]]:
    """What goes from each property; a last part that another keyword has too stays."""
    out = {key: {_as_written(word, key) for word in gone} & set(words) for key, words in there.items()}
    leaves = {_split(word, key)[-1] for key in (TAGS, HIERARCHY) for word in there[key] if word not in out[key]}
    out[KEYWORDS] -= leaves
    return out


def _lacking(there: Sequence[str], labels: Iterable[str], key: Property) -> list[str]:
    """What of the labels a property has not yet, as the property writes it.

    A label such as `animal|cat` is the keyword `cat` below `animal`. One that a property holds below another, or in
    letters of another case, is there.
    """
    known = _all_folded([*there, *(_split(word, key)[-1] for word in there)])
    lacking = []
    for label in labels:
        written = _as_written(label, key)
        if _folded(written) not in known:
            lacking.append(written)
            known |= _all_folded([written, _split(written, key)[-1]])
    return lacking


def _known(there: dict[Property, list[str]]) -> list[str]:
    """The keywords that any property holds, such as `animal|dog`.

    A program reads one of the properties: one that is new must say all that the others do, or those are lost for it.
    """
    paths = ["|".join(_split(word, key)) for key in (TAGS, HIERARCHY) for word in there[key]]
    leaves = _all_folded(path.rpartition("|")[2] for path in paths)
    return list(dict.fromkeys([*paths, *(word for word in there[KEYWORDS] if _folded(word) not in leaves)]))


def _as_written(label: str, key: Property) -> str:
    r"""A label as a property writes it; a slash that parts nothing is `\` for digiKam, as digiKam itself reads it."""
    if key is KEYWORDS:
        return label.rpartition("|")[2]
    return label.replace("/", "\\").replace("|", "/") if key is TAGS else label


def _split(word: str, key: Property) -> list[str]:
    """The parts of a keyword that a property holds, from the highest to the word itself."""
    parts = word.split(PARTING[key]) if PARTING[key] else [word]
    return [part.replace("\\", "/") for part in parts] if key is TAGS else parts


def _folded(word: str) -> str:
    """A word without regard to its letters' case, or to how its accents are put together."""
    return unicodedata.normalize("NFC", word).casefold()


def _digest(word: str) -> str:
    """What stands for a word that is not to be read."""
    return sha256(_folded(word).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _all_folded(words: Iterable[str]) -> set[str]:
    """All of the words, folded."""
    return {_folded(word) for word in words}
