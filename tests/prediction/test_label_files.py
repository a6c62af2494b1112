"""Labels back to the photos: read again by another program, merged with what is there, the photos never touched."""

import csv
import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.commands_by_name import main_of
from tests.hub.random_rules import ANIMALS
from tests.hub.random_rules import NAMES as RULED

from cnn_rnn.data import Reading, load_source
from cnn_rnn.data.files.xml_files import read_xml
from cnn_rnn.label_rules import LabelRules
from cnn_rnn.prediction.job import SCHEMA
from cnn_rnn.prediction.label_files import WrittenLabels, write_labels
from cnn_rnn.prediction.xmp_packet import RDF
from cnn_rnn.prediction.xmp_sidecars import SidecarError, sidecar_path, write_sidecar

NAMES = ["cat", "dog", "chair, wooden", "großer Bär"]
SIDECAR = """<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
  xmlns:my="http://example.org/my/1.0/" xmp:Rating="4" my:note="keep">
<dc:subject><rdf:Bag><rdf:li>holiday</rdf:li><rdf:li>cat</rdf:li></rdf:Bag></dc:subject>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Sea</rdf:li><rdf:li xml:lang="de">Meer</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end='w'?>"""


def exiftool(path: Path) -> dict[str, Any]:
    """What another program reads in a file."""
    if shutil.which("exiftool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("exiftool is not installed: apt-get install libimage-exiftool-perl")
        pytest.skip("exiftool, the other program, is not installed: apt-get install libimage-exiftool-perl")
    run = subprocess.run(["exiftool", "-j", "-G1", "-struct", str(path)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout)[0]
    return found


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo."""
    path = tmp_path / "photos" / "a.jpg"
    path.parent.mkdir()
    Image.new("RGB", (4, 4), "red").save(path)
    return path


def job(folder: Path, labels: dict[Path, list[str] | None]) -> Path:
    """The folder of a finished job; None for a photo that could not be read."""
    folder.mkdir()
    rows = [
        {"image_id": str(path), "labels": [{"label": one, "score": 0.9} for one in found or []],
         "error": "broken" if found is None else None}
        for path, found in labels.items()
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "labels.parquet")
    return folder


def test_a_new_sidecar_is_read_by_another_program_and_the_photo_stays(photo: Path) -> None:
    before = sha256(photo.read_bytes()).digest(), photo.stat().st_mtime_ns
    assert write_sidecar(photo, NAMES)
    assert (sha256(photo.read_bytes()).digest(), photo.stat().st_mtime_ns) == before
    found = exiftool(photo.with_name("a.jpg.xmp"))
    assert found["XMP-dc:Subject"] == found["XMP-digiKam:TagsList"] == found["XMP-lr:HierarchicalSubject"] == NAMES


def test_a_sidecar_keeps_all_that_stands_in_it(photo: Path) -> None:
    sidecar_path(photo).write_text(SIDECAR)
    before = exiftool(sidecar_path(photo))
    assert write_sidecar(photo, ["cat", "dog"])
    after = exiftool(sidecar_path(photo))
    assert after["XMP-dc:Subject"] == ["holiday", "cat", "dog"]
    own = {name: value for name, value in before.items() if name.startswith("XMP-") and "Subject" not in name}
    assert len(own) >= 4
    assert own.items() <= (after | {"XMP-x:XMPToolkit": before.get("XMP-x:XMPToolkit")}).items()


def test_a_keyword_below_another_is_there_and_a_new_property_says_what_the_others_do(photo: Path) -> None:
    words = "<rdf:li>dog</rdf:li><rdf:li>gull</rdf:li>"
    sidecar_path(photo).write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:darktable='
        '"http://darktable.sf.net/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/" darktable:history_end="1">'
        f"<dc:subject><rdf:Bag>{words}</rdf:Bag></dc:subject>"
        "<darktable:history><rdf:Seq><rdf:li darktable:operation='exposure' darktable:params='00ff'/></rdf:Seq>"
        "</darktable:history><lr:hierarchicalSubject><rdf:Bag><rdf:li>animal|dog</rdf:li></rdf:Bag>"
        "</lr:hierarchicalSubject></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    assert write_sidecar(photo, ["dog", "people|child"])
    found = exiftool(sidecar_path(photo))
    assert found["XMP-dc:Subject"] == ["dog", "gull", "child"]
    assert found["XMP-lr:HierarchicalSubject"] == ["animal|dog", "people|child"]
    assert found["XMP-digiKam:TagsList"] == ["animal/dog", "gull", "people/child"]
    (step,) = found["XMP-darktable:History"]
    assert step["Operation"] == "exposure"
    assert not write_sidecar(photo, ["dog", "people|child"])


def test_a_folder_that_takes_no_file_leaves_the_photo_alone_and_says_so(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(sidecar_path(photo)))

    monkeypatch.setattr("cnn_rnn.prediction.label_files.write_sidecar", refuse)
    done = write_labels("xmp", job(tmp_path / "job", {photo: ["dog"]}), NAMES, WrittenLabels())
    assert (done.written, done.unchanged, len(done.left)) == (0, 0, 1)
    assert str(sidecar_path(photo)) in done.left[0]


def test_a_second_time_changes_nothing(photo: Path) -> None:
    write_sidecar(photo, NAMES)
    content = sidecar_path(photo).read_bytes()
    assert not write_sidecar(photo, NAMES)
    assert sidecar_path(photo).read_bytes() == content


def test_words_from_here_are_taken_out_again_and_those_of_others_stay(photo: Path) -> None:
    sidecar_path(photo).write_text(SIDECAR)
    write_sidecar(photo, ["cat", "dog", "animal|wolf"])
    assert write_sidecar(photo, ["boat"])  # of another model
    found = exiftool(sidecar_path(photo))
    assert found["XMP-dc:Subject"] == found["XMP-lr:HierarchicalSubject"] == ["holiday", "cat", "boat"]
    assert write_sidecar(photo, ["boat", "car"], by_person=True, ruled_out=["dog"])
    assert not write_sidecar(photo, ["dog"])  # a guess, which takes out no word of a person and adds none ruled out
    assert exiftool(sidecar_path(photo))["XMP-dc:Subject"] == ["holiday", "cat", "boat", "car"]
    assert write_sidecar(photo, [], by_person=True, ruled_out=["boat", "car"])
    found = exiftool(sidecar_path(photo))
    assert found["XMP-dc:Subject"] == found["XMP-digiKam:TagsList"] == ["holiday", "cat"]
    assert "boat" not in sidecar_path(photo).read_text()


def test_a_word_below_another_keeps_its_last_part(photo: Path) -> None:
    write_sidecar(photo, ["animal|cat", "cat"])
    assert exiftool(sidecar_path(photo))["XMP-dc:Subject"] == ["cat"]
    write_sidecar(photo, ["animal|cat"])
    found = exiftool(sidecar_path(photo))
    assert (found["XMP-dc:Subject"], found["XMP-digiKam:TagsList"]) == (["cat"], ["animal/cat"])
    write_sidecar(photo, [])
    assert not {"XMP-dc:Subject", "XMP-digiKam:TagsList"} & exiftool(sidecar_path(photo)).keys()


def test_letters_of_another_case_are_the_same_word_and_a_slash_parts_nothing(photo: Path) -> None:
    sidecar_path(photo).write_text(SIDECAR.replace(">cat<", ">Car<"))
    write_sidecar(photo, ["car", "tv/monitor"])
    found = exiftool(sidecar_path(photo))
    assert found["XMP-dc:Subject"] == found["XMP-lr:HierarchicalSubject"] == ["holiday", "Car", "tv/monitor"]
    assert found["XMP-digiKam:TagsList"] == ["holiday", "Car", "tv\\monitor"]
    write_sidecar(photo, [])
    assert exiftool(sidecar_path(photo))["XMP-dc:Subject"] == ["holiday", "Car"]


@pytest.mark.parametrize(
    "items",
    [
        f"<rdf:Bag><q:li xmlns:q='{RDF}'>sea</q:li></rdf:Bag>",
        f"<q:Bag xmlns:q='{RDF}'><q:li>sea</q:li></q:Bag>",
        f"<Bag xmlns='{RDF}'><li>sea</li></Bag>",
        f"<rdf:Bag><li xmlns='{RDF}'>sea</li></rdf:Bag>",
    ],
    ids=["of the item", "of the list", "none, of the list", "none, of the item"],
)
def test_a_word_is_added_under_whatever_prefix_the_list_has(photo: Path, items: str) -> None:
    sidecar = sidecar_path(photo)
    begin = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='{RDF}'><rdf:Description rdf:about='' "
    end = "</rdf:Description></rdf:RDF></x:xmpmeta>"
    sidecar.write_text(f"{begin}xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:subject>{items}</dc:subject>{end}")
    assert write_sidecar(photo, ["cat", "dog"])
    (subject,) = read_xml(sidecar).iter("{http://purl.org/dc/elements/1.1/}subject")
    assert [item.text for item in subject.iter(f"{{{RDF}}}li")] == ["sea", "cat", "dog"]
    assert write_sidecar(photo, [])
    (subject,) = read_xml(sidecar).iter("{http://purl.org/dc/elements/1.1/}subject")
    assert [item.text for item in subject.iter(f"{{{RDF}}}li")] == ["sea"]


def test_nothing_said_makes_no_sidecar_and_a_link_or_a_mode_stays(photo: Path, tmp_path: Path) -> None:
    assert not write_sidecar(photo, [], by_person=True, ruled_out=["cat"])
    elsewhere = tmp_path / "kept.xmp"
    elsewhere.write_text(SIDECAR)
    elsewhere.chmod(0o640)
    sidecar_path(photo).symlink_to(elsewhere)
    assert write_sidecar(photo, ["dog"])
    assert sidecar_path(photo).is_symlink()
    assert elsewhere.stat().st_mode & 0o777 == 0o640
    assert "dog" in exiftool(elsewhere)["XMP-dc:Subject"]
    elsewhere.unlink()
    with pytest.raises(SidecarError, match="is no file"):
        write_sidecar(photo, ["dog"])
    assert not elsewhere.exists()


def test_a_label_that_xml_cannot_hold_leaves_the_sidecar_alone(photo: Path) -> None:
    with pytest.raises(SidecarError, match=r"no way to write 'a\\x1b'"):
        write_sidecar(photo, ["a\x1b"])
    assert not sidecar_path(photo).exists()


def test_lightrooms_name_is_told_and_written_where_asked(photo: Path, tmp_path: Path) -> None:
    photo.with_suffix(".xmp").write_text(SIDECAR)
    other = photo.with_suffix(".png")
    Image.new("RGB", (4, 4)).save(other)
    folder = job(tmp_path / "job", {photo: ["dog"], other: ["cat"]})
    done = write_labels("xmp", folder, NAMES, WrittenLabels(), sidecar="photo.xmp")
    assert (done.written, done.beside) == (1, [])
    assert done.left == [f"{other}: a.xmp is the sidecar of a.jpg"]
    assert "dog" in exiftool(photo.with_suffix(".xmp"))["XMP-dc:Subject"]
    done = write_labels("xmp", folder, NAMES, WrittenLabels())
    assert (done.written, done.beside) == (2, [photo.with_suffix(".xmp")] * 2)


@pytest.mark.parametrize("kind", ["xmp", "txt"])
def test_a_photo_that_takes_no_file_beside_it_is_counted_and_the_others_get_theirs(
    photo: Path, tmp_path: Path, kind: str
) -> None:
    longest = photo.with_name("b" * 251 + ".jpg")  # no sidecar of it can be
    long = photo.with_name("c" * 247 + ".jpg")  # one can, and no longer name
    for one in (longest, long):
        Image.new("RGB", (4, 4)).save(one)
    done = write_labels(
        kind, job(tmp_path / "job", {longest: ["cat"], long: ["cat"], photo: ["dog"]}), NAMES, WrittenLabels()
    )
    assert (done.written, len(done.left)) == (2, 1)
    assert "File name too long" in done.left[0]


@pytest.mark.parametrize("content", ["no xml at all", SIDECAR[:400], ""])
def test_a_broken_sidecar_is_left_as_it_is(photo: Path, content: str) -> None:
    sidecar_path(photo).write_text(content)
    with pytest.raises(SidecarError, match=r"a\.jpg\.xmp"):
        write_sidecar(photo, ["cat"])
    assert sidecar_path(photo).read_text() == content
    assert not list(photo.parent.glob("*.tmp"))


def test_labels_are_left_out_and_added(photo: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", {photo: ["cat", "dog"], photo.with_name("gone.jpg"): ["cat"], Path("b.jpg"): None})
    choice = WrittenLabels(leave_out=["cat"], always_add=["by machine"])
    written = write_labels("txt", folder, NAMES, choice)
    assert photo.with_name("a.jpg.txt").read_text() == "dog\nby machine\n"
    assert (written.written, written.left) == (
        1,
        [f"{photo.with_name('gone.jpg')}: there is no such file to write beside"],
    )
    assert write_labels("txt", folder, NAMES, choice).unchanged == 1
    assert "is there already" in write_labels("txt", folder, NAMES, WrittenLabels()).left[0]
    torn = write_labels("txt", folder, NAMES, WrittenLabels(always_add=["by\nmachine"]))
    assert torn.left[0].endswith("a label on each line is what it holds, and 'by\\nmachine' holds a line break")
    with pytest.raises(ValueError, match="--leave_out 'wolf' is none of the model's 4 labels"):
        write_labels("txt", folder, NAMES, WrittenLabels(leave_out=["wolf"]))


@pytest.mark.parametrize("kind", ["xmp", "csv", "txt"])
def test_a_dry_run_writes_nothing(photo: Path, tmp_path: Path, kind: str) -> None:
    folder = job(tmp_path / "job", {photo: ["cat"]})
    before = sorted(tmp_path.rglob("*"))
    assert write_labels(kind, folder, NAMES, WrittenLabels(), dry_run=True).written == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_is_one_that_training_reads(photo: Path, tmp_path: Path) -> None:
    other = photo.with_name("b.jpg")
    Image.new("RGB", (4, 4)).save(other)
    folder = job(tmp_path / "job", {photo: ["dog", "chair, wooden"], other: []})
    assert write_labels("csv", folder, NAMES, WrittenLabels()).written == 2
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["file_name", *NAMES],
            [str(photo), "0", "1", "1", "0"],
            [str(other), *"0000"],
        ]
    text = (folder / "labels.csv").read_text(encoding="utf-8").replace(f"{photo.parent}/", "")
    (photo.parent / "labels.csv").write_text(text, encoding="utf-8")
    rows = load_source("table", photo.parent / "labels.csv", split="train", reading=Reading())
    assert rows["labels"][:] == [[1, 2], []]


def test_a_table_that_a_person_made_or_changed_stays(photo: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", {photo: ["dog"]})
    path = folder / "labels.csv"
    for content in ("file_name,cat\nmine.jpg,1\n", None):
        if content is not None:
            path.write_text(content)
            with pytest.raises(
                FileExistsError, match=r"labels\.csv is there already, and not as this command wrote it"
            ):
                write_labels("csv", folder, NAMES, WrittenLabels())
            assert path.read_text() == content
            path.unlink()
        assert write_labels("csv", folder, NAMES, WrittenLabels()).written == 1
    assert write_labels("csv", folder, NAMES, WrittenLabels(always_add=["seen"])).written == 1


def test_a_table_is_known_from_the_moment_it_is_there(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job(tmp_path / "job", {photo: ["dog"]})

    def killed(path: Path) -> None:
        if path == folder:  # after the table came into its place
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cnn_rnn.foundation.whole_files.flush", killed)
        with pytest.raises(KeyboardInterrupt):
            write_labels("csv", folder, NAMES, WrittenLabels(leave_out=["dog"]))
    assert (folder / "labels.csv").exists()
    assert write_labels("csv", folder, NAMES, WrittenLabels()).written == 1


def test_the_command_writes_beside_the_photos(run: Path, photo: Path, tmp_path: Path) -> None:
    arguments = [
        "--model",
        str(run),
        "--input",
        str(photo.parent),
        "--output",
        str(tmp_path / "out"),
        "--engine",
        "torch",
        "--num_workers",
        "0",
    ]
    assert main_of("predict")([*arguments, "--write", "xmp", "csv", "--always_add", "seen"]) == 0
    assert "seen" in exiftool(sidecar_path(photo))["XMP-dc:Subject"]
    assert main_of("predict")([*arguments, "--write", "xmp", "--leave_out", "nothing"]) == 2


def test_labels_that_imply_others_stand_below_them_and_stay_out_where_a_person_said_so(
    photo: Path, tmp_path: Path
) -> None:
    rules = LabelRules.of(ANIMALS, RULED)
    folder = job(tmp_path / "job", {photo: ["animal", "dog", "poodle", "car"]})
    choice = WrittenLabels(always_add=["holiday"])
    assert write_labels("xmp", folder, RULED, choice, rules=rules).written == 1
    found = exiftool(sidecar_path(photo))
    assert found["XMP-dc:Subject"] == ["animal", "dog", "poodle", "car", "holiday"]
    expected = ["animal", "animal|dog", "animal|dog|poodle", "car", "holiday"]
    assert found["XMP-lr:HierarchicalSubject"] == expected
    assert found["XMP-digiKam:TagsList"] == [keyword.replace("|", "/") for keyword in expected]
    assert write_labels("xmp", folder, RULED, choice, rules=rules).written == 0
    # What a person ruled out before there were rules stays out, whatever now stands above it.
    assert write_sidecar(photo, ["car"], by_person=True, ruled_out=["poodle"])
    write_labels("xmp", folder, RULED, choice, rules=rules)
    assert exiftool(sidecar_path(photo))["XMP-dc:Subject"] == ["car", "animal", "dog", "holiday"]
