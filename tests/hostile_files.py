"""Files as nobody would write them, for every format that is read: built of what the format has, then spoilt."""

import gzip
import io
import json
import lzma
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from cnn_rnn.metrics.stored_predictions import collect_predictions, write_predictions

Contents = st.SearchStrategy[bytes]
ODD = [
    "\u2028", "\x85", "\x0b", "\x00", "\ufeff", "\u200b", "\ud83d\ude00", "\udc80", "\u0301", "\xa0", "\t", "\r",
    "\x1b",
]  # fmt: skip
WORDS = [
    "cat", "dog", "tv monitor", "a.jpg", "b/c.png", "../a.jpg", "/a.jpg", "C:\\a.jpg", "https://x/a.jpg", "", " ", "0",
    "1", "-1", "1.5", "1e400", "nan", "true", "no", "#N/A", "=1+1", "train", "[", "]", "{", "}", '["cat"]', "[1, 0]",
    "cat|dog", "{'choices': ['cat']}", "cat, dog", "cat:0.9", "-cat", "2026-03-01", "x" * 300,
]  # fmt: skip
COLUMNS = [
    "file_name", "labels", "image", "image_id", "split", "unknown", "not_labels", "cat", "confidence", "filename"
]  # fmt: skip
KEYS = [
    "images", "annotations", "categories", "id", "name", "data", "result", "value", "choices", "annotation_id", "known"
]  # fmt: skip
SETTINGS = ["backbone", "num_labels", "id2label", "thresholds", "label_counts", "backbone_args", "image_size", "epochs"]
TAGGED = [
    "!!int ''", "!!bool x", "!!timestamp x", "!!float ''", "!!binary x", "!!map [a]", "!!set {a}", "!!python/none x",
    "{? {a: b} : c}", "&a [*a]", "{a: 1, a: 2}", "2026-13-45", "1:99", "[" * 400,
]  # fmt: skip
ENDS = ["\n", "\r\n", "\r"]
TAR_GZ = partial(gzip.compress, mtime=0)
ZIP_METHODS = [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA]

word = st.sampled_from(WORDS) | st.sampled_from(ODD) | st.text(max_size=6) | st.integers().map(str)
name = st.sampled_from(COLUMNS) | st.sampled_from(KEYS) | st.sampled_from(SETTINGS) | word
scalar = st.none() | st.booleans() | st.integers() | st.floats() | word
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(name, inner, max_size=4), max_leaves=12
)
row = st.dictionaries(name, value, max_size=5)
saved_row = st.fixed_dictionaries(
    {"file_name": word, "labels": st.lists(word, max_size=3) | value}, optional={"unknown": value}
)
known_row = st.fixed_dictionaries(
    {"image_id": st.just("a.jpg") | word, "known": st.dictionaries(word, st.booleans() | scalar, max_size=3)}
)

member_name = st.sampled_from(["a.jpg", "b/c.png", "b/"]) | word.map(
    lambda text: as_bytes(text).decode("utf-8", "replace")
)


def as_bytes(text: str) -> bytes:
    """The text as bytes, halves of signs too."""
    return text.encode("utf-8", "surrogatepass")


def spoilt(content: Contents) -> Contents:
    """The content, now and then with bytes changed, taken out or put in, or cut off."""

    def spoil(whole: bytes, changes: list[tuple[int, bytes, int]], cut: int | None) -> bytes:
        for place, other, gone in changes:
            at = place % (len(whole) + 1)
            whole = whole[:at] + other + whole[at + gone :]
        return whole if cut is None else whole[: cut % (len(whole) + 1)]

    change = st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 4))
    return content | st.builds(spoil, content, st.lists(change, max_size=3), st.none() | st.integers(0, 10**6))


def as_json(values: st.SearchStrategy[Any]) -> Contents:
    """One value as JSON."""
    return values.map(lambda one: as_bytes(json.dumps(one, ensure_ascii=False)))


def as_json_lines(values: st.SearchStrategy[Any]) -> Contents:
    """Values as JSON, a line each."""
    lines = st.lists(values.map(lambda one: json.dumps(one, ensure_ascii=False)), max_size=5)
    return st.builds(lambda end, some: as_bytes(end.join(some)), st.sampled_from(ENDS), lines)


def text_tables() -> Contents:
    """Tables of any mark and line end, with quotes left open."""
    cell = word | word.map(lambda text: f'"{text}"') | word.map(lambda text: f'"{text}')
    usual = st.sampled_from([["file_name", "labels"], ["file_name", "cat", "dog"], ["image", "label", "confidence"]])
    return st.builds(
        lambda mark, names, rows, end: as_bytes(end.join(mark.join(one) for one in [names, *rows])),
        st.sampled_from([",", ";", "\t", "|", " ", ", "]),
        st.lists(name, min_size=1, max_size=5) | usual,
        st.lists(st.lists(cell, min_size=1, max_size=4), max_size=5),
        st.sampled_from(ENDS),
    )


def coco() -> st.SearchStrategy[Any]:
    """COCO's format with ids that are there or not."""
    number = st.integers(-1, 3)
    parts = {
        "images": st.fixed_dictionaries({"id": number, "file_name": word}),
        "categories": st.fixed_dictionaries({"id": number, "name": word}, optional={"supercategory": word}),
        "annotations": st.fixed_dictionaries({"id": number, "image_id": number, "category_id": number}),
    }
    return st.fixed_dictionaries({part: st.lists(one, max_size=3) for part, one in parts.items()})


def label_studio() -> st.SearchStrategy[Any]:
    """Label Studio's tasks, with other values where it has objects."""
    result = st.fixed_dictionaries({"type": word, "value": st.dictionaries(name, value, max_size=2) | value})
    annotation = st.fixed_dictionaries({"result": st.lists(result, max_size=2)}, optional={"was_cancelled": scalar})
    data = row | st.just({"image": "a.jpg"})
    return st.lists(
        st.fixed_dictionaries({"data": data, "annotations": st.lists(annotation, max_size=2) | value}), max_size=3
    )


def xml_texts() -> Contents:
    """Trees of VOC's and CVAT's elements."""
    tag = st.sampled_from(
        ["annotation", "annotations", "filename", "object", "name", "difficult", "image", "tag", "a:b"]
    )
    leaf = st.builds(lambda one, text: f"<{one}>{text}</{one}>", tag, word)

    def element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.builds(lambda one, parts: f"<{one}>{''.join(parts)}</{one}>", tag, st.lists(inner, max_size=3))

    coded = [f"<?xml version='1.0' encoding='{codec}'?>" for codec in ("utf-16", "cp1252", "idna", "hex", "nobody")]
    head = st.sampled_from(["", "<?xml version='1.0'?>", "<!DOCTYPE a []>", *coded])
    return st.builds(lambda first, inner: as_bytes(first + inner), head, st.recursive(leaf, element, max_leaves=8))


def workbooks() -> Contents:
    """Workbooks of typed cells, now and then with a row that no program writes."""
    text = st.sampled_from([*WORDS, *COLUMNS]).map(lambda one: ILLEGAL_CHARACTERS_RE.sub("", one))
    cell = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | text | st.dates()
    raw = [
        '<c r="A9"><v>1</v></c>',
        '<c t="s"><v>99</v></c>',
        '<c r="ZZZ1"><v>x</v></c>',
        '<c t="e"><v>#N/A</v></c>',
        "<c/>",
    ]

    def book(rows: list[list[Any]], more: str | None) -> bytes:
        made, plain, changed = openpyxl.Workbook(), io.BytesIO(), io.BytesIO()
        assert made.active is not None
        for cells in rows:
            made.active.append(cells)
        made.save(plain)
        if more is None:
            return plain.getvalue()
        with ZipFile(plain) as source, ZipFile(changed, "w") as target:
            for part in source.namelist():
                content = source.read(part)
                target.writestr(part, content.replace(b"</sheetData>", as_bytes(f"<row>{more}</row></sheetData>")))
        return changed.getvalue()

    rows = st.lists(st.lists(cell, max_size=3), max_size=4)
    return st.builds(book, rows, st.none() | st.sampled_from(raw))


def parquets() -> Contents:
    """Columns of any kind under any name."""
    texts, lists = ["cat", "a.jpg", "", "0"], [["cat"], [], ["dog", "cat"], None]
    columns = st.sampled_from(
        [
            pa.array(texts), pa.array(texts, pa.large_string()), pa.array([1, 0, None, 2]), pa.array([0.5, 1, 0, None]),
            pa.array(lists), pa.array([[1, 0]] * 4), pa.array([[0.5]] * 4, pa.large_list(pa.float32())), pa.nulls(4),
            pa.array([{"bytes": b"x", "path": "a.jpg"}] * 4), pa.array([b"x"] * 4),
            pa.array([0] * 4, pa.timestamp("us")),
        ]
    )  # fmt: skip

    def write(table: dict[str, pa.Array], length: int) -> bytes:
        sink = io.BytesIO()
        pq.write_table(pa.table(table).slice(0, length), sink)
        return sink.getvalue()

    called = st.sampled_from(COLUMNS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    return st.builds(write, st.dictionaries(called, columns, min_size=1, max_size=4), st.integers(0, 4))


def tars() -> Contents:
    """Tars with members of any name and kind, packed or not."""
    kinds = [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]

    def write(pack: Callable[[bytes], bytes], members: list[tuple[str, bytes, bytes]]) -> bytes:
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w") as made:
            for called, kind, content in members:
                member = tarfile.TarInfo(called)
                member.type, member.size, member.linkname = kind, len(content), "a.jpg"
                made.addfile(member, io.BytesIO(content))
        return pack(sink.getvalue())

    member = st.tuples(member_name, st.sampled_from(kinds), st.binary(max_size=9))
    return st.builds(write, st.sampled_from([bytes, TAR_GZ, lzma.compress]), st.lists(member, max_size=4))


def zips() -> Contents:
    """ZIP archives with members of any name, packed in any way."""

    def write(members: list[tuple[str, int, bytes]]) -> bytes:
        sink = io.BytesIO()
        with ZipFile(sink, "w") as made:
            for called, packing, content in members:
                made.writestr(ZipInfo(called), content, compress_type=packing)
        return sink.getvalue()

    member = st.tuples(member_name, st.sampled_from(ZIP_METHODS), st.binary(max_size=9))
    return st.builds(write, st.lists(member, max_size=4))


def predictions() -> Contents:
    """A good file of predictions, to be spoilt."""
    paths = np.array([[0, 2], [2, 2]])
    made = collect_predictions(["a", "b"], ["cat", "dog"], np.full((2, 2), 0.5), np.eye(2), paths=paths)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.parquet"
        write_predictions(path, made)
        return st.just(path.read_bytes())


def sidecars() -> Contents:
    """XMP packets with lists of words, and other things where the lists should be."""
    spaces = (
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:x="adobe:ns:meta/"'
    )
    items = st.lists(word.map(lambda text: f"<rdf:li>{text}</rdf:li>"), max_size=3).map("".join)
    bag = st.builds(lambda kind, own: f"<rdf:{kind}>{own}</rdf:{kind}>", st.sampled_from(["Bag", "Seq", "Alt"]), items)
    tag = st.sampled_from(["dc:subject", "dc:title", "lr:hierarchicalSubject", "q:x"])
    parts = st.lists(st.builds(lambda one, inner: f"<{one}>{inner}</{one}>", tag, bag | word), max_size=3).map("".join)
    head = st.sampled_from(["", "<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>", "\ufeff", "<!DOCTYPE x>"])
    return st.builds(
        lambda first, own, last: as_bytes(
            f"{first}<x:xmpmeta {spaces}><rdf:RDF><rdf:Description rdf:about=''>{own}</rdf:Description></rdf:RDF>"
            f"</x:xmpmeta>{last}"
        ),
        head,
        parts,
        st.sampled_from(["", "<?xpacket end='w'?>", "\n\n"]),
    )


def yaml_texts() -> Contents:
    """Blocks of settings, known and unknown."""
    setting = st.builds(lambda key, own: f"  {key}: {own}", name, value.map(json.dumps) | st.sampled_from(TAGGED))
    block = st.sampled_from(["model", "data", "train", "hub", "other"])
    part = st.builds(lambda key, own: "\n".join([f"{key}:", *own]), block, st.lists(setting, max_size=4))
    return st.lists(part, max_size=3).map(lambda parts: as_bytes("\n".join(parts)))


def model_configs() -> st.SearchStrategy[Any]:
    """A model's config.json with values of any kind."""
    return row | st.fixed_dictionaries({"model_type": st.just("cnn_rnn")}, optional=dict.fromkeys(SETTINGS, value))


def rules() -> Contents:
    """Rules between labels as YAML, with circles, contradictions and aliases."""
    label = st.sampled_from(["cat", "dog", "poodle", "animal"]) | word
    implies = st.dictionaries(label, label | st.lists(label, max_size=3) | value, max_size=4)
    parts = st.fixed_dictionaries(
        {}, optional={"implies": implies | value, "excludes": st.lists(st.lists(label, max_size=3) | value) | value}
    )
    head = st.sampled_from(["", "", "a: &a [cat, dog]\n", "implies: &x {cat: *x}\n", "- ", "---\n", *TAGGED])
    return st.builds(lambda first, own: as_bytes(first + json.dumps(own, ensure_ascii=False)), head, parts | value)


def steps() -> st.SearchStrategy[Any]:
    """Steps of a journal, with what belongs there and what does not."""
    photo = st.sampled_from(["a.jpg", "b.jpg"]) | word
    said = st.dictionaries(photo, st.dictionaries(word, st.none() | st.booleans(), max_size=3) | value, max_size=2)
    called = st.sampled_from(["1", "2", "3"])
    return st.fixed_dictionaries(
        {"name": called | value},
        optional={
            "said": said | value, "accepted": st.dictionaries(photo, st.booleans(), max_size=2) | value,
            "renamed": st.tuples(word, word) | value, "takes_back": called | value, "actions": st.integers() | value,
            "by": word | value, "later": value,
        },
    )  # fmt: skip


def name_lists() -> Contents:
    """Lists of files, in several encodings and with other things between the names."""
    codec = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
    return st.builds(
        lambda end, names, how: end.join(names).encode(how, "replace"), st.sampled_from(ENDS), st.lists(word), codec
    )


ADDRESSES = [
    "/data/upload/1/a.jpg", "/data/local-files/?d=../../etc/passwd", "/data/local-files/?d=", "file:///etc/passwd",
    "http://127.0.0.1/a.jpg", "//[", "%00", "..", ".", "data:image/png;base64,AAAA", "data:image/png;base64,?", "a.jpg",
]  # fmt: skip


def questions() -> st.SearchStrategy[Any]:
    """What other programs ask of a server: labels of a photo, given this and that."""
    of_label = st.dictionaries(st.sampled_from(["nought", "one"]) | word, st.booleans() | scalar, max_size=2)
    parameters = st.dictionaries(st.sampled_from(["known", "threshold", "top_k", "decision"]) | word, of_label | value)
    return st.fixed_dictionaries(
        {}, optional={"inputs": st.sampled_from(["AAAA", *ADDRESSES]) | value, "parameters": parameters | value}
    )


def studio_requests() -> st.SearchStrategy[Any]:
    """What Label Studio, or who says to be it, asks and tells."""
    config = st.just(
        '<View><Image name="img" value="$image"/><Choices name="what" toName="img" choice="multiple">'
        '<Choice value="one"/><Choice value="nought"/></Choices></View>'
    )
    chosen = st.lists(st.sampled_from(["one", "nought"]) | value, max_size=2)
    result = st.fixed_dictionaries(
        {"from_name": st.just("what") | value, "value": st.fixed_dictionaries({"choices": chosen}) | value}
    )
    annotation = st.fixed_dictionaries(
        {"id": st.integers(1, 3) | value, "task": st.integers(1, 2) | value, "result": st.lists(result) | value},
        optional={"was_cancelled": st.booleans()},
    )
    annotations = st.lists(annotation, max_size=2) | annotation | value
    data = st.fixed_dictionaries({"image": st.sampled_from(ADDRESSES) | value}) | value
    task = st.fixed_dictionaries(
        {"id": st.integers(1, 2) | value, "data": data}, optional={"annotations": annotations, "drafts": annotations}
    )
    action = st.sampled_from(["ANNOTATION_CREATED", "ANNOTATIONS_DELETED"]) | value
    project = st.fixed_dictionaries({"id": scalar, "label_config": config | value}) | value
    context = st.fixed_dictionaries({"context": st.fixed_dictionaries({"result": st.lists(result)}) | value}) | value
    return st.fixed_dictionaries(
        {"label_config": config | value, "schema": config | value},
        optional={
            "tasks": st.lists(task, max_size=3) | value, "action": action, "annotation": annotations, "task": task,
            "annotations": annotations, "project": project, "params": context,
        },
    )  # fmt: skip
