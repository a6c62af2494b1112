"""Sidecars as programs write them, odd ones that are valid, and broken ones; made from a seed."""

import random
from collections.abc import Callable

XPACKET = "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>\n"
END = "\n<?xpacket end='w'?>"
RDF = "xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'"
DC = "xmlns:dc='http://purl.org/dc/elements/1.1/'"
XMP = "xmlns:xmp='http://ns.adobe.com/xap/1.0/'"
DIGIKAM = "xmlns:digiKam='http://www.digikam.org/ns/1.0/'"
LIGHTROOM = "xmlns:lr='http://ns.adobe.com/lightroom/1.0/'"
DARKTABLE = "xmlns:darktable='http://darktable.sf.net/'"
CAMERA_RAW = "xmlns:crs='http://ns.adobe.com/camera-raw-settings/1.0/'"
WORDS = (
    "holiday",
    "Tom &amp; Ann",
    "großer Bär",
    "a &lt; b",
    "海",
    "cat",
    "  blanks  ",
    "x&#13;y",
    "<![CDATA[a & b]]>",
)
PATHS = ("animal|dog", "places|Rome", "people|Ann|child")


def bag(name: str, words: list[str], kind: str = "Bag") -> str:
    """A property that is a list."""
    items = "".join(f"\n     <rdf:li>{word}</rdf:li>" for word in words)
    return f"<{name}>\n    <rdf:{kind}>{items}\n    </rdf:{kind}>\n   </{name}>"


def title(word: str) -> str:
    """A title in two languages."""
    return (
        f"<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>{word}</rdf:li><rdf:li xml:lang='de'>{word} de</rdf:li>"
        "</rdf:Alt></dc:title>"
    )


def packet(*descriptions: str, head: str = XPACKET, tail: str = END) -> str:
    """A whole packet."""
    inner = "\n  ".join(descriptions)
    return f"{head}<x:xmpmeta xmlns:x='adobe:ns:meta/'>\n <rdf:RDF {RDF}>\n  {inner}\n </rdf:RDF>\n</x:xmpmeta>{tail}"


def described(spaces: str, body: str, attributes: str = "", about: str = "") -> str:
    """One description."""
    return f"<rdf:Description rdf:about='{about}' {spaces} {attributes}>\n   {body}\n  </rdf:Description>"


def exiftool_like(chance: random.Random, words: list[str]) -> str:
    """A description for each namespace."""
    rating = described(XMP, f"<xmp:Rating>{chance.randrange(6)}</xmp:Rating>")
    return packet(described(DC, bag("dc:subject", words) + title(words[0])), rating)


def exiv2_like(chance: random.Random, words: list[str]) -> str:
    """Simple values as attributes, and a structure."""
    crop = "<crs:Look rdf:parseType='Resource'><crs:Name>Warm</crs:Name><crs:Amount>1</crs:Amount></crs:Look>"
    attributes = f'xmp:Rating="{chance.randrange(6)}" xmp:Label="Red&#xA;and &quot;blue&quot;"'
    return packet(described(f"{DC} {XMP} {CAMERA_RAW}", bag("dc:subject", words) + crop, attributes))


def darktable_like(chance: random.Random, words: list[str]) -> str:
    """A history of edits, keywords below others."""
    steps = "".join(
        f"<rdf:li darktable:operation='exposure' darktable:params='{number}{chance.randbytes(8).hex()}'/>"
        for number in range(chance.randrange(1, 4))
    )
    history = f"<darktable:history><rdf:Seq>{steps}</rdf:Seq></darktable:history>"
    below = bag("lr:hierarchicalSubject", [*PATHS[: chance.randrange(1, 4)], *words])
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    spaces = f"{DC} {DARKTABLE} {LIGHTROOM}"
    body = bag("dc:subject", [*words, "dog"], "Seq") + below + history
    return packet(described(spaces, body, "darktable:auto_presets_applied='1'"), head=head, tail="\n")


def digikam_like(chance: random.Random, words: list[str]) -> str:
    """Tags by their paths."""
    tags = [path.replace("|", "/") for path in PATHS[: chance.randrange(1, 4)]]
    return packet(described(f"{DIGIKAM} {DC}", bag("digiKam:TagsList", [*tags, *words], "Seq")))


def odd(chance: random.Random, words: list[str]) -> str:
    """Valid, and as few write it."""
    plain = packet(described(DC, bag("dc:subject", words) + title("odd")))
    return chance.choice(
        [
            plain,
            plain.replace("\n", "\r\n"),
            "\ufeff" + plain,
            "\n\n" + plain.replace("<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>\n", ""),
            plain.replace("rdf:", "r:").replace("xmlns:rdf=", "xmlns:r="),
            plain.replace("dc:", "d:").replace("xmlns:dc=", "xmlns:d="),
            plain.replace("</rdf:Bag>", "<!-- a remark with /> and </rdf:Bag> in it --></rdf:Bag>"),
            packet(f"<rdf:Description rdf:about='' {XMP} xmp:Rating='3'/>"),
            packet(f"<rdf:Description rdf:about=''\n {XMP}\n xmp:Rating='3'\n/>"),
            packet(described(DC, "<dc:subject/>" + title("odd"))),
            packet(described(DC, "<dc:subject><rdf:Bag/></dc:subject>" + title("odd"))),
            packet(described(DC, "<dc:subject><rdf:Bag></rdf:Bag></dc:subject>" + title("odd"))),
            packet(
                described(DC, bag("dc:subject", words), about="uuid:1"), described(XMP, "<xmp:Rating>2</xmp:Rating>")
            ),
            f"<rdf:RDF {RDF}>{described(DC, bag('dc:subject', words))}</rdf:RDF>",
            plain.replace(END, " " * 2000 + END),
        ]
    )


def broken(chance: random.Random, words: list[str]) -> bytes:
    """What no reader takes in full."""
    good = packet(described(f"{DC} {XMP}", bag("dc:subject", words) + title("MINE"), "xmp:Rating='5'"))
    spoil: list[Callable[[], str]] = [
        lambda: good.replace("<rdf:li>", "<rdf:li>Tom & Ann", 1),
        lambda: good.replace("<rdf:li>", "<rdf:li>a < b", 1),
        lambda: good.replace("<rdf:li>", "<rdf:li>a\x0bb", 1),
        lambda: good.replace("<rdf:li>", "<rdf:li>a&#11;b", 1),
        lambda: good.replace("<rdf:li>", "<rdf:li>a&nbsp;b", 1),
        lambda: good.replace("<dc:title>", "<foo:bar>1</foo:bar><dc:title>"),
        lambda: good.replace("<dc:title>", "<dc:title>text <b>", 1),
        lambda: good[: chance.randrange(1, good.index("</x:xmpmeta>"))],
        lambda: good + "\n" + good,
        lambda: good.replace("<dc:title>", bag("dc:subject", ["beach"]) + "<dc:title>"),
        lambda: good.replace("<dc:title>", "<xmp:Rating>4</xmp:Rating><dc:title>"),
        lambda: packet(described(DC, title("MINE"), about="uuid:1"), described(XMP, "", about="uuid:2")),
        lambda: "<!DOCTYPE x [<!ENTITY e 'E'>]>" + good,
        lambda: good.replace("rdf:Bag>", "rdf:bag>", 1),
        lambda: good.replace("<rdf:li>", "<rdf:li rdf:parseType='Resource'><a/></rdf:li><rdf:li>", 1),
        lambda: good.replace("rdf:RDF", "rdf:Rdf"),
        lambda: "",
        lambda: "holiday, beach\n",
        lambda: "<html><body>no such page</body></html>",
    ]  # fmt: skip
    text = chance.choice(spoil)()
    kinds = ["utf-8"] * 6 + ["latin-1", "utf-16"]
    spoilt = text.encode(chance.choice(kinds), "replace")
    return spoilt if text != good else b"\xff" + spoilt


VALID = (exiftool_like, exiv2_like, darktable_like, digikam_like, odd)


def sidecar(seed: int) -> tuple[bytes, bool]:
    """The bytes of a sidecar, and whether it is valid."""
    chance = random.Random(seed)  # noqa: S311 - the same sidecars each time
    words = chance.sample(WORDS, chance.randrange(1, 5))
    if seed % 3 == 2:
        return broken(chance, words), False
    return chance.choice(VALID)(chance, words).encode(), True
