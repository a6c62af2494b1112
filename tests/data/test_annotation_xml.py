"""XML of annotation tools: CVAT's own, VOC's in nested folders, and what is refused."""

from pathlib import Path

import pytest
from PIL import Image

from cnn_rnn.data import label_names, load_source
from cnn_rnn.data.own_photos.kinds import recognise

HEAD = "<annotations><version>1.1</version><meta><task><labels>{}</labels></task></meta>"
LABELS = "".join(f"<label><name>{name}</name></label>" for name in ("dog", "cat", "clear sky", "never"))


def cvat(folder: Path, images: str, head: str = HEAD.format(LABELS)) -> Path:
    """An export of CVAT with photos beside it."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (8, 8)).save(folder / name)
    path = folder / "annotations.xml"
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>{head}{images}</annotations>', encoding="utf-8")
    return path


def test_cvats_tags_and_shapes_are_labels_in_the_tasks_order(tmp_path: Path) -> None:
    path = cvat(
        tmp_path,
        '<image id="0" name="a.jpg"><tag label="clear sky" source="manual"/><box label="dog" xtl="1"><attribute '
        'name="age">old</attribute></box><box label="dog"/></image>'
        '<image id="1" name="b.jpg"><polygon label="cat" points="1,2;3,4"/></image><image id="2" name="c.jpg"/>',
    )
    found = recognise(tmp_path)
    assert (found.source, found.root) == ("table", str(path))
    rows = load_source("table", path, split="train")
    assert label_names(rows) == ["dog", "cat", "clear sky", "never"]
    assert list(rows["image_id"]) == ["a.jpg", "b.jpg", "c.jpg"]
    assert [list(labels) for labels in rows["labels"]] == [[0, 2], [1], []]


def test_cvats_subsets_are_splits(tmp_path: Path) -> None:
    images = "".join(
        f'<image id="{n}" name="{name}" subset="{subset}"><tag label="dog"/></image>'
        for n, (name, subset) in enumerate((("a.jpg", "Train"), ("b.jpg", "Validation"), ("c.jpg", "Test")))
    )
    splits = load_source("table", cvat(tmp_path, images))
    assert {name: list(rows["image_id"]) for name, rows in splits.items()} == {
        "train": ["a.jpg"],
        "validation": ["b.jpg"],
        "test": ["c.jpg"],
    }


@pytest.mark.parametrize(
    ("head", "images", "told"),
    [
        (
            HEAD.format(LABELS),
            '<image name="a.jpg"><box label="bird"/></image>',
            "image 1 .a.jpg.: <box> has the label",
        ),
        (HEAD.format(LABELS), '<image name="a.jpg"><blob label="dog"/></image>', "<blob> is not known"),
        (HEAD.format(LABELS), '<image id="3"><box label="dog"/></image>', "image 1: <image> has no name"),
        (HEAD.format(LABELS), '<image name="../a.jpg"><tag label="dog"/></image>', "image 1: .*leaves the folder"),
        (HEAD.format(LABELS), '<track id="0" label="dog"/>', "format for video"),
        (HEAD.format(LABELS), "", "has no <image>"),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotations>', "", "document type 'x'"),
        (
            '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><annotations>',
            '<image name="&b;"/>',
            "document type 'x'",
        ),
        ("<annotations>", "<image", "not whole XML"),
        ("<html>", "", "not whole XML"),
    ],
)
def test_what_is_none_of_cvats_is_refused(tmp_path: Path, head: str, images: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"annotations.xml.*{told}"):
        load_source("table", cvat(tmp_path, images, head))


def test_vocs_xml_is_told_from_cvats(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
    with pytest.raises(ValueError, match=r"data\.name voc_xml"):
        load_source("table", tmp_path / "a.xml")
    (tmp_path / "a.xml").write_text("<!DOCTYPE annotation><annotation><filename>a.jpg</filename></annotation>")
    with pytest.raises(ValueError, match="document type"):
        load_source("voc_xml", tmp_path)
    (tmp_path / "a.xml").unlink()
    cvat(tmp_path, '<image name="a.jpg"/>')
    with pytest.raises(ValueError, match=r"data\.name table --data\.root"):
        load_source("voc_xml", tmp_path)


@pytest.mark.parametrize(
    ("photos", "annotations"), [("", ""), ("JPEGImages", "Annotations"), ("images", "Annotations")]
)
def test_vocs_xml_in_folders_finds_the_photo_of_its_folder(tmp_path: Path, photos: str, annotations: str) -> None:
    for place, label in (("one", "cat"), ("two", "dog")):
        for top in {photos, annotations}:
            (tmp_path / top / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / photos / place / "a.jpg")
        (tmp_path / annotations / place / "a.xml").write_text(
            f"<annotation><filename>a.jpg</filename><object><name>{label}</name></object></annotation>"
        )
    rows = load_source("voc_xml", tmp_path, split="train")
    assert {
        image_id: [label_names(rows)[label] for label in labels]
        for image_id, labels in zip(rows["image_id"], rows["labels"], strict=True)
    } == {"one/a.jpg": ["cat"], "two/a.jpg": ["dog"]}
