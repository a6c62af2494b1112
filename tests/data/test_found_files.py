"""What systems leave among photos: no class, no twin, no row of a job, counted by name, and taken in on request."""

import tarfile
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from PIL import Image

from cnn_rnn.commands import data as data_command
from cnn_rnn.data import Reading, label_names, load_source
from cnn_rnn.data.own_photos.kinds import recognise
from cnn_rnn.data.photos.found_files import OWN_FOLDER, PassedOver, left_by_system, walk_files
from cnn_rnn.prediction.input_kinds import find_images, find_shards, open_inputs

FOLDERS = [
    ".ipynb_checkpoints", "@eaDir", "__MACOSX", ".thumbnails", ".Trash-1000", ".Trashes", "#recycle", "@Recycle",
    "lost+found", ".Spotlight-V100", ".fseventsd", "$RECYCLE.BIN", "System Volume Information", ".@__thumb",
    ".picasaoriginals", ".dtrash", ".stversions", ".AppleDouble", ".git", "__pycache__", "LOST.DIR",
]  # fmt: skip
FILES = ["._x.jpg", "Thumbs.db", "thumbs.db", ".DS_Store", "desktop.ini", "._labels.csv", "~$labels.xlsx",
         ".~lock.labels.csv#", ".trashed-1700000000-a.jpg", ".pending-1-a.jpg", ".nomedia", "Picasa.ini"]  # fmt: skip
MINE = [".hidden.jpg", "..jpg", "_x.jpg", "trash.jpg", "thumbs.jpg", "$1.jpg", "#1.jpg", "@home.jpg", "~a.jpg"]
TAKEN_IN = Reading(system_files=True)


def photo(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(path, "JPEG")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two photos, and in each of the three folders every kind of what systems leave."""
    for place in ("cat", "dog"):
        for number in range(2):
            photo(tmp_path / place / f"{number}.jpg", number)
    for beside in (tmp_path, tmp_path / "cat", tmp_path / "dog"):
        for name in FOLDERS:
            photo(beside / name / "0.jpg" / "thumb.jpg")
        for name in FILES:
            (beside / name).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    return tmp_path


def own(paths: list[Path], folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in paths)


OWN = ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]


def test_each_is_known_by_its_name_and_nobodys_own_name_is_among_them() -> None:
    assert all(left_by_system(name, folder=True) for name in FOLDERS)
    assert all(left_by_system(name, folder=False) for name in FILES)
    assert not [name for name in MINE if left_by_system(name, folder=False)]
    assert not [
        name
        for name in ("cat", "..", "Trash", "thumbnails", "_old", "#1", "@home")
        if left_by_system(name, folder=True)
    ]


def test_the_walk_counts_them_by_name(folder: Path) -> None:
    passed_over = PassedOver()
    assert own(walk_files(folder, passed_over), folder) == OWN
    assert sum(passed_over.counts.values()) == 3 * (len(FOLDERS) + len(FILES))
    told = "\n".join(passed_over.lines())
    for name in ("folders @eaDir", "folders .thumbnails", "files Thumbs.db", "files ._*"):
        assert f" {name}, left by a system (data.system_files true takes them in): {folder}" in told


def test_what_the_page_keeps_beside_the_photos_is_neither_walked_nor_told(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / OWN_FOLDER / "run" / "b.jpg")
    for taken_in in (False, True):
        passed_over = PassedOver(taken_in)
        assert own(walk_files(tmp_path, passed_over), tmp_path) == ["a.jpg"]
        assert passed_over.lines() == []


def test_class_folders_have_no_class_and_no_twin_of_them(folder: Path) -> None:
    rows = load_source("class_folders", folder)["train"]
    assert rows["image_id"][:] == OWN
    assert rows.features["labels"].feature.names == ["cat", "dog"]
    assert "passed over: 3 folders @eaDir" in rows.info.description


def test_what_class_folders_pass_over_is_counted_split_by_split(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "test/cat"):
        photo(tmp_path / place / "a.jpg")
        (tmp_path / place / "Thumbs.db").write_bytes(b"")
    notes = {name: rows.info.description for name, rows in load_source("class_folders", tmp_path).items()}
    assert "passed over: 2 files Thumbs.db" in notes["train"]
    assert "passed over: 1 file Thumbs.db" in notes["test"]


def test_a_setting_takes_them_in(tmp_path: Path) -> None:
    for name in ("cat/0.jpg", "dog/0.jpg", ".thumbnails/0.jpg", "dog/@eaDir/0.jpg"):
        photo(tmp_path / name)
    rows = load_source("class_folders", tmp_path, split="train", reading=TAKEN_IN)
    assert rows.features["labels"].feature.names == [".thumbnails", "cat", "dog"]
    assert len(rows) == len(find_images(str(tmp_path), system_files=True)) == 4
    assert open_inputs(str(tmp_path), None, None, 9, tmp_path / "out", reading=TAKEN_IN).images == 4
    with pytest.raises(ValueError, match=r"data\.separator: data source 'class_folders' has a format of its own"):
        load_source("class_folders", tmp_path, reading=Reading(separator=",", system_files=True))


def test_data_look_says_what_was_passed_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_command.main(["look", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "classes: 2: cat, dog" in out
    assert "passed over: 3 folders #recycle" in out
    assert data_command.main(["look", str(folder), "--data.system_files", "true"]) == 2  # photos lie beside folders


def test_a_job_and_the_page_find_the_photos_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert own(find_images(str(folder)), folder) == OWN
    assert "3 folders lost+found" in caplog.text
    inputs = open_inputs(str(folder), None, None, 9, folder / "out")
    assert inputs.images == 4
    assert any(" .trashed-*" in line for line in inputs.passed_over.lines())
    assert open_inputs(f"file://{folder}", None, None, 9, folder / "out").images == 4


def test_what_a_person_names_is_meant(tmp_path: Path) -> None:
    named = photo(tmp_path / ".thumbnails" / "a.jpg")
    (tmp_path / "list.txt").write_text(".thumbnails/a.jpg\n")
    (tmp_path / "labels.csv").write_text("file_name,labels\n.thumbnails/A.jpg,cat\n")
    assert (
        find_images(str(named)) == find_images(str(named.parent)) == find_images(str(tmp_path / "list.txt")) == [named]
    )
    assert load_source("table", tmp_path / "labels.csv", split="train")[0]["image"].size == (8, 8)


def test_a_label_file_beside_its_shadow_is_one_and_a_name_means_one_file(tmp_path: Path) -> None:
    photo(tmp_path / "A.JPG")
    photo(tmp_path / ".thumbnails" / "a.jpg")
    for name in ("._labels.csv", "~$labels.xlsx"):
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "labels.csv").write_text("file_name,labels\na.jpg,cat\n")
    assert recognise(tmp_path).root == str(tmp_path / "labels.csv")
    assert len(load_source("table", tmp_path / "labels.csv", split="train")) == 1
    (tmp_path / "train").mkdir()
    (tmp_path / "labels.csv").rename(tmp_path / "train" / "metadata.csv")
    photo(tmp_path / "train" / "a.jpg")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "metadata.csv").write_text("")
    assert len(load_source("image_folder", tmp_path, split="train")) == 1


def test_xml_beside_its_shadow(tmp_path: Path) -> None:
    for number in range(2):
        photo(tmp_path / f"{number}.jpg")
        labels = f"<filename>{number}.jpg</filename><object><name>cat</name></object>"
        (tmp_path / f"{number}.xml").write_text(f"<annotation>{labels}</annotation>")
    (tmp_path / "._0.xml").write_bytes(b"\0\5\26\7")
    assert recognise(tmp_path).source == "voc_xml"
    loaded = load_source("voc_xml", tmp_path)
    assert isinstance(loaded, DatasetDict)
    assert "file ._*" in loaded["train"].info.description


def test_shards_beside_and_with_their_shadows(tmp_path: Path) -> None:
    source = photo(tmp_path / "photos" / "a.jpg")
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "0.tar", "w") as tar:
        for name in ("./cat/a.jpg", "__MACOSX/cat/._a.jpg", "cat/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "._cat.jpg"):
            tar.add(source, name)
    (shards / "._0.tar").write_bytes(b"\0\5\26\7")
    for given in (str(shards), f"{shards}/*.tar"):
        assert find_shards(given)[0] == [str(shards / "0.tar")]
        inputs = open_inputs(given, None, None, 9, tmp_path / "out")
        for _ in range(2):  # counted once, however often they are read
            assert [image.name for image in inputs.part(0)] == [f"{shards}/0.tar/./cat/a.jpg"]
        assert sum(inputs.passed_over.counts.values()) == 4
    inputs = open_inputs(str(shards / "0.tar"), None, None, 9, tmp_path / "out", reading=TAKEN_IN)
    assert len(list(inputs.part(0))) == 4


def test_a_folder_of_shards_for_the_hub_reader(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = {"image": [{"bytes": photo(tmp_path / "a.jpg").read_bytes(), "path": None}] * 2, "labels": [["a"], ["b"]]}
    table = Dataset.from_dict(rows)
    for place in (".", "@eaDir", "#recycle"):
        (tmp_path / "set" / place).mkdir(parents=True, exist_ok=True)
        table.to_parquet(tmp_path / "set" / place / "train.parquet")
    assert len(load_source("hub", tmp_path / "set", split="train")) == 2
    assert "1 folder @eaDir" in caplog.text
    assert len(load_source("hub", tmp_path / "set", split="train", reading=TAKEN_IN)) == 6


def test_the_picture_that_a_job_drew_beside_the_photos_is_no_photo_of_the_next_job(tmp_path: Path) -> None:
    for name in ("cat/0.jpg", "dog/0.jpg", "mine/paths.png"):
        photo(tmp_path / name)
    for place in ("out", "."):
        photo(tmp_path / place / "paths.png")
        (tmp_path / place / "labels-00000.parquet").write_bytes(b"")
    inputs = open_inputs(str(tmp_path), None, None, 9, tmp_path / "out")
    assert sorted(inputs) == [f"{tmp_path}/{name}" for name in ("cat/0.jpg", "dog/0.jpg", "mine/paths.png")]
    assert inputs.passed_over.counts["picture drawn by a job"] == 2
    assert label_names(load_source("class_folders", tmp_path, split="train")) == ["cat", "dog", "mine"]


def test_photos_in_folders_beside_shards_are_asked_about(tmp_path: Path) -> None:
    for name in ("cat/0.jpg", "dog/0.jpg", "shards/README.jpg"):
        photo(tmp_path / name)
    (tmp_path / "shards" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"Parquet files \(shards/train\.parquet\) and photos in folders .*say which"):
        recognise(tmp_path)
