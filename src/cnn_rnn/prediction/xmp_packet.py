"""An XMP packet as it stands in a sidecar: its lists of words are read and changed, every other byte stays.

Only the bytes of a list are written anew. What a program cannot read in full it must not write: such a packet is
refused, whatever another reader would make of it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = ("adobe:ns:meta/ xmpmeta", "adobe:ns:meta/ xapmeta")
LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
LISTS = tuple(f"{RDF} {kind}" for kind in ("Bag", "Seq", "Alt"))
LARGEST_PACKET = 64 * 2**20
# What XML 1.0 (section 2.2) has no way to write, as a sign or as a reference.
UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF xmlns:rdf="{RDF}">\n'
    '  <rdf:Description rdf:about=""/>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


class PacketError(ValueError):
    """A packet cannot be read in full; the message says why."""


class Property(NamedTuple):
    """A property that holds a list of words.

    Attributes:
        prefix: How its namespace is called in writing.
        namespace: The namespace.
        name: Its name there.
        kind: Of a list made for it, Bag or Seq.
    """

    prefix: str
    namespace: str
    name: str
    kind: str = "Bag"


@dataclass
class _Element:
    """An element and its place: bytes from `start` to `end`, what it holds up to `close`."""

    name: str
    attributes: dict[str, str]
    start: int
    close: int = 0
    end: int = 0
    text: str = ""
    children: list["_Element"] = field(default_factory=list)


class Packet:
    """A packet that is understood in full.

    Raises:
        PacketError: It is not well-formed, not XMP, or says something twice.
    """

    def __init__(self, raw: bytes) -> None:
        if len(raw) > LARGEST_PACKET:
            raise PacketError(f"it has more than {LARGEST_PACKET // 2**20} MiB")
        self.raw = raw
        root = _read(raw)
        inner = root.children if root.name in META else [root]
        if [element.name for element in inner] != [f"{RDF} RDF"]:
            raise PacketError("it has no x:xmpmeta with one rdf:RDF in it")
        self._rdf = inner[0]
        self._descriptions = self._rdf.children
        if any(element.name != f"{RDF} Description" for element in self._descriptions):
            raise PacketError("rdf:RDF holds something else than rdf:Description")
        if any(element.text.strip() for element in (root, self._rdf, *self._descriptions)):
            raise PacketError("text stands where none belongs")
        abouts = {
            element.attributes.get(name, "") for element in self._descriptions for name in (f"{RDF} about", "about")
        }
        if len(abouts - {""}) > 1:
            raise PacketError("it describes several things (rdf:about differs)")
        stated = [name for element in self._descriptions for name in _stated(element)]
        twice = [name for name, times in Counter(stated).items() if times > 1]
        if twice:
            raise PacketError(f"it states {twice[0].rpartition(' ')[2]} twice")
        self._attributes = {name for element in self._descriptions for name in element.attributes}

    def words(self, of: Property) -> list[str]:
        """The words of a property, none where it is not there.

        Raises:
            PacketError: It is no plain list of words.
        """
        found = self._find(of)
        return [item.text for item in _items(found, of)] if found else []

    def change(self, changes: Mapping[Property, tuple[Iterable[str], Sequence[str]]]) -> bytes:
        """The packet with words taken out of properties and others added; a list without words goes.

        Args:
            changes: For each property the words to take out, and those to add.

        Raises:
            PacketError: A property is no plain list of words, or XML has no way to write a word.
        """
        edits: list[tuple[int, int, bytes]] = []
        made = b""
        for of, (out, added) in changes.items():
            found, gone = self._find(of), set(out)
            items = _items(found, of) if found else []
            kept = [item for item in items if item.text not in gone]
            if found and not kept:
                edits.append((self._before(found.start), found.end, b""))
            elif found:
                edits += [(self._before(item.start), item.end, b"") for item in items if item.text in gone]
                edits.append((items[-1].end, items[-1].end, self._more(found.children[0], added)))
            if not kept and added:
                made += b"\n   " + _written(of, added)
        if made:
            edits.append(self._into(made))
        raw = self.raw
        for start, end, content in sorted(edits, reverse=True):
            raw = raw[:start] + content + raw[end:]
        self._check(Packet(raw), changes)
        return raw

    def _check(self, after: "Packet", changes: Mapping[Property, tuple[Iterable[str], Sequence[str]]]) -> None:
        """Refuse what another program would read as something else than was meant; nothing is written then."""
        for of, (out, added) in changes.items():
            meant = [word for word in self.words(of) if word not in set(out)] + list(added)
            if after.words(of) != meant:
                raise PacketError(f"{of.prefix}:{of.name} cannot be changed where it stands")

    def _find(self, of: Property) -> _Element | None:
        """The element of a property."""
        name = f"{of.namespace} {of.name}"
        if name in self._attributes:
            raise PacketError(f"{of.prefix}:{of.name} is no list")
        return next((found for one in self._descriptions for found in one.children if found.name == name), None)

    def _more(self, holder: _Element, words: Sequence[str]) -> bytes:
        """Further items of a list after its last one, indented as that is.

        Their prefix is the list's, which is known within it; an item may have one that it declares for itself alone.
        """
        prefix, colon, _ = self._tag(holder).rpartition(b":")
        tag = prefix + colon + b"li"
        last = holder.children[-1]
        indent = self.raw[self._before(last.start) : last.start]
        return b"".join(indent + b"<%b>%b</%b>" % (tag, _escaped(word), tag) for word in words)

    def _into(self, made: bytes) -> tuple[int, int, bytes]:
        """The edit that puts properties into the first description, which is made where there is none."""
        if not self._descriptions:
            about = b'<rdf:Description xmlns:rdf="%b" rdf:about="">' % RDF.encode()
            made = b"\n  " + about + made + b"\n  </rdf:Description>\n "
        target = self._descriptions[0] if self._descriptions else self._rdf
        if target.close < target.end:
            place = self._before(target.close)
            return place, place, made
        tag = self._tag(target)  # <tag/>
        return target.end - 2, target.end, b">" + made + b"\n  </" + tag + b">"

    def _tag(self, element: _Element) -> bytes:
        """An element's name as it is written."""
        return re.split(rb"[\s/>]", self.raw[element.start + 1 : element.end], maxsplit=1)[0]

    def _before(self, place: int) -> int:
        """Where the blanks before a place begin."""
        return len(self.raw[:place].rstrip(b" \t\r\n"))


def _read(raw: bytes) -> _Element:
    """The root of an XML document with the places of its elements; PacketError where it is not well-formed UTF-8."""
    parser = expat.ParserCreate(namespace_separator=" ")
    top = _Element("", {}, 0)
    inside = [top]

    def begin(name: str, attributes: dict[str, str]) -> None:
        element = _Element(name, attributes, parser.CurrentByteIndex)
        inside[-1].children.append(element)
        inside.append(element)

    def end(_: str) -> None:
        element = inside.pop()
        element.close = element.end = parser.CurrentByteIndex  # of <tag/>, expat says where it ends
        empty = not element.children and not element.text and raw[: element.close].endswith(b"/>")
        if not empty:
            element.end = raw.index(b">", element.close) + 1

    def read(text: str) -> None:
        inside[-1].text += text

    def declare(_: str, encoding: str | None, __: int) -> None:
        if encoding and encoding.lower() not in {"utf-8", "utf8"}:
            raise PacketError(f"it is {encoding}, and only UTF-8 is read")

    def refuse(*_: object) -> None:
        raise PacketError("it has a document type, which XMP has not")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, read
    parser.XmlDeclHandler, parser.StartDoctypeDeclHandler = declare, refuse
    try:
        raw.decode("utf-8")
        parser.Parse(raw, True)  # noqa: FBT003 - whether it is the last piece; expat takes it by place alone
    except UnicodeDecodeError as error:
        raise PacketError("it is not UTF-8") from error
    except expat.ExpatError as error:
        raise PacketError(f"it is not well-formed: {error}") from error
    return top.children[0]


def _stated(description: _Element) -> list[str]:
    """The names of the properties that a description states."""
    as_attributes = [name for name in description.attributes if not name.startswith((RDF, "http://www.w3.org/XML/"))]
    return [name for name in as_attributes if name != "about"] + [element.name for element in description.children]


def _items(found: _Element, of: Property) -> list[_Element]:
    """The items of a property's list; PacketError where it is no plain list of words."""
    if not found.children and not found.text.strip() and not found.attributes:
        return []
    holder = found.children[0] if len(found.children) == 1 else None
    plain = (
        holder is not None
        and holder.name in LISTS
        and not (found.attributes or holder.attributes or found.text.strip() or holder.text.strip())
        and all(item.name == f"{RDF} li" and not item.children for item in holder.children)
        and not {name for item in holder.children for name in item.attributes} - {LANGUAGE}
    )
    if holder is None or not plain:
        raise PacketError(f"{of.prefix}:{of.name} is no plain list of words")
    return holder.children


def _written(of: Property, words: Sequence[str]) -> bytes:
    """A property as an element that says itself what its prefixes mean."""
    items = b"".join(b"\n     <rdf:li>%b</rdf:li>" % _escaped(word) for word in words)
    tag = f"{of.prefix}:{of.name}".encode()
    spaces = f'xmlns:{of.prefix}="{of.namespace}" xmlns:rdf="{RDF}"'.encode()
    kind = b"rdf:" + of.kind.encode()
    return b"<%b %b>\n    <%b>%b\n    </%b>\n   </%b>" % (tag, spaces, kind, items, kind, tag)


def _escaped(word: str) -> bytes:
    """A word as text of XML; PacketError where it holds a sign that XML has not."""
    if UNWRITABLE.search(word):
        raise PacketError(f"XML has no way to write {word!r}")
    return escape(word, {"\r": "&#13;"}).encode()
