"""The VOC loader: official lists are the truth, everything else is checked against them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from cnn_rnn.data import VOC_CLASSES, label_counts, label_names, load_voc

Write = Callable[..., Path]
STATES = {"000001": {"dog": 1, "person": 0}, "000002": {}, "000003": {"cat": 1, "tvmonitor": 1}}


def write_voc(root: Path, states: dict[str, dict[str, int]], split: str = "train", year: int = 2007) -> Path:
    """A small devkit in the official layout with lists, XML and images; returns the year's folder."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    lists = folder / "ImageSets" / "Main"
    for path in (lists, folder / "JPEGImages", folder / "Annotations"):
        path.mkdir(parents=True, exist_ok=True)
    (lists / f"{split}.txt").write_text("".join(f"{i}\n" for i in states))
    for name in VOC_CLASSES:
        rows = (f"{i} {present.get(name, -1):2d}\n" for i, present in states.items())
        (lists / f"{name}_{split}.txt").write_text("".join(rows))
    for image_id, present in states.items():
        Image.new("RGB", (8, 6), "red").save(folder / "JPEGImages" / f"{image_id}.jpg")
        objects = "".join(
            f"<object><name>{name}</name><difficult>{1 - state}</difficult></object>" for name, state in present.items()
        )
        (folder / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A devkit of three images: one with a difficult object, one empty."""
    return write_voc(tmp_path, STATES)


def names_of(ids: Sequence[int]) -> list[str]:
    return [VOC_CLASSES[i] for i in ids]


def test_present_and_difficult_labels_are_kept_apart_and_an_empty_image_stays(folder: Path) -> None:
    data = load_voc(folder.parents[1], 2007)
    assert list(data) == ["train"]
    train = data["train"]
    assert train["image_id"][:] == list(STATES)
    assert [names_of(ids) for ids in train["labels"]] == [["dog"], [], ["cat", "tvmonitor"]]
    assert [names_of(ids) for ids in train["difficult"]] == [["person"], [], []]
    assert train[0]["image"].size == (8, 6)
    assert label_names(data) == list(VOC_CLASSES)


def test_root_may_be_the_devkit_itself_and_the_year_a_string(folder: Path) -> None:
    assert load_voc(folder.parent, "2007", split="train")["image_id"][:] == list(STATES)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"year": 2008}, ValueError, "2008"),
        ({"year": 2012}, FileNotFoundError, "VOC2012"),
        ({"year": 2007, "split": "test"}, ValueError, "no split 'test'; it has train"),
    ],
)
def test_what_is_not_there_is_named(
    folder: Path, arguments: dict[str, object], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        load_voc(folder.parents[1], **arguments)  # type: ignore[arg-type]  # one table for all arguments


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nowhere")):
        load_voc(tmp_path / "nowhere", 2007)


def test_missing_images_are_counted_and_named_or_none_where_labels_suffice(folder: Path) -> None:
    (folder / "JPEGImages" / "000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images are missing .*000002\.jpg.*require_images=False"):
        load_voc(folder.parents[1], 2007)
    rows = load_voc(folder.parents[1], 2007, require_images=False, split="train")
    assert [row["image"] is None for row in rows] == [False, True, False]


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [line] if line else []
    path.write_text("".join(f"{text}\n" for text in lines))


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        ("dog_train.txt", "000002  2", r"dog_train\.txt, line 2: '000002  2'"),
        ("dog_train.txt", "000009  1", r"dog_train\.txt, line 2: image 000009, but the split's own list has 000002"),
        ("dog_train.txt", "000002", r"dog_train\.txt, line 2"),
        ("train.txt", "../../secret", r"train\.txt, line 2: '../../secret' is not an image id"),
        ("train.txt", "000001", r"train\.txt, line 2: 000001 is listed twice"),
        ("dog_train.txt", "000002  1", r"000002\.xml says dog -1, the list says 1"),
    ],
)
def test_a_broken_line_is_named_with_its_file_and_number(folder: Path, file: str, line: str, told: str) -> None:
    replace_line(folder / "ImageSets" / "Main" / file, 2, line)
    with pytest.raises(ValueError, match=told):
        load_voc(folder.parents[1], 2007)


def test_a_list_of_another_length_is_an_error(folder: Path) -> None:
    replace_line(folder / "ImageSets" / "Main" / "dog_train.txt", 3, "")
    with pytest.raises(ValueError, match=r"dog_train\.txt has 2 lines, but the split's own list has 3 images"):
        load_voc(folder.parents[1], 2007)


def test_a_missing_class_list_is_an_error(folder: Path) -> None:
    (folder / "ImageSets" / "Main" / "sheep_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"sheep_train\.txt"):
        load_voc(folder.parents[1], 2007)


def test_a_class_is_difficult_only_where_all_its_objects_are(folder: Path) -> None:
    both = "".join(f"<object><name>dog</name><difficult>{flag}</difficult></object>" for flag in (1, 0))
    person = "<object><name>person</name><difficult>1</difficult></object>"
    (folder / "Annotations" / "000001.xml").write_text(f"<annotation>{both}{person}</annotation>")
    assert len(load_voc(folder.parents[1], 2007, split="train")) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<annotation><object><name>do", "000001.xml is not whole XML"),
        ("<annotation><object><name>unicorn</name></object></annotation>", "'unicorn', which is none of the 20"),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
            "declares the document type",
        ),
    ],
)
def test_bad_xml_is_named(folder: Path, text: str, told: str) -> None:
    (folder / "Annotations" / "000001.xml").write_text(text)
    with pytest.raises(ValueError, match=told):
        load_voc(folder.parents[1], 2007)


def test_images_without_xml_are_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "Annotations" / "000003.xml").unlink()
    load_voc(folder.parents[1], 2007)
    assert "no XML for 1 images: 000003" in caplog.text


@pytest.mark.parametrize(
    ("year", "sizes"),
    [
        (2007, {"train": 482, "val": 460, "trainval": 942, "test": 964}),
        (2012, {"train": 1697, "val": 865, "trainval": 2562}),
    ],
)
def test_real_subsets_load_with_the_counts_of_their_lists(real_data: Path, year: int, sizes: dict[str, int]) -> None:
    data = load_voc(real_data, year)
    assert {name: len(rows) for name, rows in data.items()} == sizes
    lists = real_data / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Main"
    for split, rows in data.items():
        counted = [
            sum(line.split()[1] == "1" for line in (lists / f"{name}_{split}.txt").read_text().splitlines())
            for name in VOC_CLASSES
        ]
        assert label_counts(rows).tolist() == counted
