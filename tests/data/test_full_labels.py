"""The complete official label sets, unpacked from the archives of real data, against counts made straight from them."""

import tarfile
from pathlib import Path

import pytest

from cnn_rnn.data import VOC_CLASSES, label_counts, label_names, load_nus_wide, load_voc

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def full_labels(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all VOC and NUS-WIDE labels, no images."""
    folder = tmp_path_factory.mktemp("labels")
    for name in ("voc-labels-full.tar.xz", "nus-wide-labels.tar.xz"):
        with tarfile.open(real_data / name) as archive:
            archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize(
    ("year", "sizes"),
    [
        (2007, {"train": 2501, "val": 2510, "trainval": 5011, "test": 4952}),
        (2012, {"train": 5717, "val": 5823, "trainval": 11540}),
    ],
)
def test_voc_has_its_official_size_and_the_counts_of_its_lists(
    full_labels: Path, year: int, sizes: dict[str, int]
) -> None:
    data = load_voc(full_labels, year, require_images=False)
    assert {name: len(rows) for name, rows in data.items()} == sizes
    lists = full_labels / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Main"
    for split, rows in data.items():
        texts = [(lists / f"{name}_{split}.txt").read_text() for name in VOC_CLASSES]
        for column, state in (("labels", "1"), ("difficult", "0")):
            counted = [sum(line.split()[1] == state for line in text.splitlines()) for text in texts]
            assert label_counts(rows, column).tolist() == counted


def test_nus_wide_has_its_official_size_and_sky(full_labels: Path) -> None:
    root = full_labels / "NUS-WIDE"
    data = load_nus_wide(root, require_images=False)
    assert {name: len(rows) for name, rows in data.items()} == {"train": 161_785, "test": 107_859}
    counts = label_counts(data["train"]) + label_counts(data["test"])
    for index, name in enumerate(label_names(data)):
        files = (root / "Groundtruth" / "TrainTestLabels" / f"Labels_{name}_{part}.txt" for part in ("Train", "Test"))
        assert counts[index] == sum(file.read_text().count("1") for file in files)
    assert counts[label_names(data).index("sky")] == 74_190
