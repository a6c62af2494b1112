"""The NUS-WIDE loader: official lists, two vocabularies, every usual place of the images, counts that are told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_rnn.data import label_counts, label_names, load_nus_wide

CONCEPTS = ["airport", "sky", "zebra"]
TAGS = ["nature", "blue", "2007", "water"]
FILES = {
    "Train": ["actor\\0001_2124494179.jpg", "sky\\0002_7.jpg", "sky\\0003_8.jpg"],
    "Test": ["zebra\\0004_9.jpg"],
}
PRESENT = {"Train": np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]]), "Test": np.array([[0, 1, 0]])}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The official layout with three concepts and four tags, no images."""
    labels, lists, tags = (tmp_path / name for name in ("Groundtruth/TrainTestLabels", "ImageList", "NUS_WID_Tags"))
    for folder in (labels, lists, tags):
        folder.mkdir(parents=True)
    (tmp_path / "Concepts81.txt").write_text("\n".join(CONCEPTS) + "\n")
    (tags / "TagList1k.txt").write_text("\n".join(TAGS) + "\n")
    for part, files in FILES.items():
        (lists / f"{part}Imagelist.txt").write_text("".join(f"{file}\n" for file in files))
        for column, name in enumerate(CONCEPTS):
            (labels / f"Labels_{name}_{part}.txt").write_text("".join(f"{v}\n" for v in PRESENT[part][:, column]))
        rows = ("\t".join(map(str, [*row, 1])) + "\t\r\n" for row in PRESENT[part])  # trailing tab, as published
        (tags / f"{part}_Tags1k.dat").write_text("".join(rows), newline="")
    return tmp_path


def write_images(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name)


def test_concepts_follow_the_official_lists_and_the_counts_are_told(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load_nus_wide(root, require_images=False)
    assert label_names(data) == CONCEPTS
    assert data["train"]["labels"][:] == [[1, 2], [], [0]]
    assert data["test"]["labels"][:] == [[1]]
    assert data["train"]["image_id"][:] == ["actor/0001_2124494179", "sky/0002_7", "sky/0003_8"]
    told = capsys.readouterr().err
    assert "train: 3 images listed; 3 of 3 images are missing" in told
    assert "1 without label (kept); 3 rows" in told


def test_tags_are_read_with_their_trailing_tabs_and_windows_line_ends(root: Path) -> None:
    data = load_nus_wide(root, "tags1k", require_images=False)
    assert label_names(data) == TAGS
    assert data["train"]["labels"][:] == [[1, 2, 3], [3], [0, 3]]


def test_without_a_concept_list_the_file_names_tell_the_concepts(root: Path) -> None:
    (root / "Concepts81.txt").unlink()
    assert label_names(load_nus_wide(root, require_images=False)) == CONCEPTS


@pytest.mark.parametrize(
    "names",
    [
        ["Flickr/actor/0001_2124494179.jpg", "Flickr/sky/0002_7.jpg", "Flickr/sky/0003_8.jpg"],
        ["images/0001_2124494179.jpg", "images/0002_7.jpg", "images/0003_8.jpg"],
        ["images/2124494179.jpg", "images/7.jpg", "images/8.jpg"],
        ["Flickr/other/0001_2124494179.jpg", "Flickr/other/0002_7.jpg", "Flickr/other/0003_8.jpg"],
    ],
    ids=["official", "flat", "flickr ids", "other folders"],
)
def test_images_are_found_in_the_usual_layouts(root: Path, names: list[str]) -> None:
    write_images(root, names)
    rows = load_nus_wide(root, split="train")
    assert [Path(row["image"].filename).relative_to(root).as_posix() for row in rows] == names


def test_vanished_images_are_an_error_or_left_out_by_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(root, ["Flickr/sky/0002_7.jpg", "Flickr/sky/0003_8.jpg"])
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images are missing: actor/0001_2124494179\.jpg.*drop_missing"):
        load_nus_wide(root, split="train")
    rows = load_nus_wide(root, split="train", drop_missing=True)
    assert rows["image_id"][:] == ["sky/0002_7", "sky/0003_8"]
    assert rows["labels"][:] == [[], [0]]
    assert "1 of 3 images are missing: actor/0001_2124494179.jpg (left out)" in capsys.readouterr().err
    assert load_nus_wide(root, split="train", drop_missing=True, drop_unlabelled=True)["labels"][:] == [[0]]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n0\n", "has 2 lines, but the image list has 3"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n0\n0\n1\n", "has 4 lines, but the image list has 3"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n2\n0\n", "line 2: '2', expected 1 values"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n\n0\n1\n", "line 2: ''"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "1\n0 0\n0\n", "line 2: '0 0'"),
        ("NUS_WID_Tags/Train_Tags1k.dat", "0 1 0 1\n0 1 0\n0 1 0 1 1\n", "line 2: '0 1 0', expected 4 values"),
        ("NUS_WID_Tags/Train_Tags1k.dat", "0 1 0 1\n0 1 0 1\n0 10 1\n", "line 3: '0 10 1'"),
        ("ImageList/TrainImagelist.txt", "../../etc/passwd.jpg\n", "line 1: '../../etc/passwd.jpg'"),
        ("ImageList/TrainImagelist.txt", "sky\\0002_7.jpg\nreadme\n", "line 2: 'readme'"),
    ],
)
def test_a_broken_list_is_named_with_its_line(root: Path, file: str, text: str, told: str) -> None:
    (root / file).write_text(text)
    labels = "tags1k" if "Tags" in file else "concepts81"
    with pytest.raises(ValueError, match=told) as error:
        load_nus_wide(root, labels, require_images=False)
    assert Path(file).name in str(error.value)


def test_what_is_missing_or_unknown_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match="'concepts' are not known; choose concepts81 or tags1k"):
        load_nus_wide(root, "concepts")
    with pytest.raises(FileNotFoundError, match="Groundtruth"):
        load_nus_wide(root / "ImageList")
    (root / "NUS_WID_Tags" / "Train_Tags1k.dat").unlink()
    with pytest.raises(FileNotFoundError, match=r"Train_Tags1k\.dat is missing"):
        load_nus_wide(root, "tags1k", require_images=False)


def test_an_image_listed_twice_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "ImageList" / "TrainImagelist.txt").write_text("sky\\0002_7.jpg\nsky\\0002_7.jpg\nsky\\0003_8.jpg\n")
    assert len(load_nus_wide(root, require_images=False, split="train")) == 3
    assert "lists 1 images more than once: sky/0002_7.jpg" in caplog.text


def test_blocks_join_without_a_seam(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_nus_wide(root, "tags1k", require_images=False, split="train")["labels"][:]
    monkeypatch.setattr("cnn_rnn.data.benchmarks.nus_wide.BYTES_AT_ONCE", 3)
    assert load_nus_wide(root, "tags1k", require_images=False, split="train")["labels"][:] == whole
    assert label_counts(load_nus_wide(root, require_images=False, split="train")).tolist() == [1, 1, 1]
