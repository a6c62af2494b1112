"""Photos of every kind: each way into the project finds the same files and sees the same picture, or names the file."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from torchvision.transforms.v2.functional import pil_to_tensor

from cnn_rnn.app.photo_tagger import read_photo
from cnn_rnn.data import decode_image, decode_pixels, load_source
from cnn_rnn.data.own_photos.class_folders import load_class_folders
from cnn_rnn.data.own_photos.kinds import recognise
from cnn_rnn.data.photos import photo_suffixes as suffixes
from cnn_rnn.data.photos.images import UnreadableImageError
from cnn_rnn.given_images import read_image
from cnn_rnn.prediction import found_images
from cnn_rnn.prediction.input_kinds import find_images, open_inputs
from cnn_rnn.upright_rgb import FORMATS

rows, columns = np.mgrid[0:24, 0:32]
RAMP = Image.fromarray(np.stack([rows * 10, columns * 7, rows + columns], axis=2).astype(np.uint8))
OTHER = Image.new("RGB", RAMP.size, "blue")
DEEP = Image.fromarray((rows * 2570).astype(np.uint16))
MANY: dict[str, Any] = {"save_all": True}

PHOTOS: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "plain.avif": (RAMP, "AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    "moving.avif": (RAMP, "AVIF", {"quality": 100, "subsampling": "4:4:4", **MANY}),
    "phone.heic": (RAMP, "HEIF", {"quality": -1}),
    "burst.HEIC": (RAMP, "HEIF", {"quality": -1, **MANY}),
    "deep.tif": (DEEP, "TIFF", {}),
    "pages.tiff": (RAMP, "TIFF", MANY),
    "printed.tif": (RAMP.convert("CMYK"), "TIFF", {}),
    "printed.JPG": (RAMP.convert("CMYK"), "JPEG", {"quality": 100}),
    "moving.webp": (RAMP, "WEBP", {"lossless": True, **MANY}),
    "moving.apng": (RAMP, "PNG", MANY),
    "moving.gif": (RAMP, "GIF", MANY),
    "two.mpo": (RAMP, "MPO", {"quality": 100, **MANY}),
    "scan.jp2": (RAMP, "JPEG2000", {}),
    "old.ppm": (RAMP, "PPM", {}),
    "web.jfif": (RAMP, "JPEG", {"quality": 100}),
}
READ = [name for name, (_, kind, _) in PHOTOS.items() if kind in {*FORMATS, "MPO"}]


def saved(name: str, folder: Path) -> Path:
    image, kind, options = PHOTOS[name]
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this build of Pillow writes no AVIF")
    folder.mkdir(parents=True, exist_ok=True)
    more = {"append_images": [OTHER.copy(), OTHER.copy()]} if "save_all" in options else {}
    image.copy().save(folder / name, kind, **options, **more)  # a copy: Pillow notes in an image how it was saved
    return folder / name


@pytest.mark.parametrize("name", READ)
def test_every_entry_sees_the_first_picture_alike(tmp_path: Path, name: str) -> None:
    path = saved(name, tmp_path)
    entries: list[Callable[[], Any]] = [
        lambda: decode_image(path.read_bytes()),
        lambda: decode_image({"path": str(path), "bytes": None}),
        lambda: read_image(str(path)),
        lambda: read_image(io.BytesIO(path.read_bytes())),
        lambda: read_photo(path),
    ]
    seen = np.asarray(decode_image(path))
    for entry in entries:
        np.testing.assert_array_equal(np.asarray(entry()), seen)
    np.testing.assert_array_equal(decode_pixels(path), pil_to_tensor(Image.fromarray(seen)))
    expected = np.asarray(DEEP) // 257 if name.startswith("deep") else np.asarray(RAMP)
    assert np.abs(seen.mean((0, 1)) - np.atleast_3d(expected).mean((0, 1))).max() < 8  # the first frame, its own tones


@pytest.mark.parametrize("name", READ)
def test_every_search_finds_it(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(name, tmp_path / "photos" / "cat")
    saved(name, tmp_path / "photos" / "dog")
    assert find_images(str(path.parent)) == find_images(str(path)) == [path]
    assert [image.name for image in open_inputs(str(path.parent), None, None, 9, tmp_path / "out").part(0)] == [
        str(path)
    ]
    assert recognise(tmp_path / "photos").source == "class_folders"
    assert load_class_folders(tmp_path / "photos", "train")["image_id"] == [f"cat/{name}", f"dog/{name}"]

    (path.parent / "labels.csv").write_text(f"picture,labels\n{name},cat\n", encoding="utf-8")
    assert load_source("table", path.parent / "labels.csv", split="train")["image_id"] == [name]
    assert recognise(path.parent).source == "table"
    (path.parent / "labels.csv").unlink()

    saved(name, tmp_path / "own" / "train")
    saved("pages.tiff", tmp_path / "own" / "train" / "listed")
    (tmp_path / "own/train/metadata.csv").write_text("file_name,labels\nlisted/pages.tiff,cat\n", encoding="utf-8")
    load_source("image_folder", tmp_path / "own", split="train")
    assert f"1 images are not in the metadata and stay out: {name}" in caplog.text

    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(path, name)
    (image,) = open_inputs(str(tmp_path / "shard.tar"), None, None, 9, tmp_path).part(0)
    assert image.image == path.read_bytes()


@pytest.fixture
def no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """HEIC as it is where no plug-in reads it."""
    monkeypatch.setitem(suffixes.WAYS_TO_READ, ".heic", suffixes.HEIF)
    without = suffixes.READ_SUFFIXES - {".heic"}
    monkeypatch.setattr(suffixes, "READ_SUFFIXES", without)
    monkeypatch.setattr(found_images, "READ_SUFFIXES", without)


@pytest.mark.usefixtures("no_plugin")
def test_a_photo_that_only_a_plugin_reads_is_never_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("cat", "dog"):
        saved("old.ppm", tmp_path / place)
        (tmp_path / place / "phone.heic").write_bytes(b"\0\0\0\x18ftypnone" + bytes(99))
    path = tmp_path / "cat" / "phone.heic"
    way = r"pip install 'cnn-rnn\[heif\]'"
    with pytest.raises(UnreadableImageError, match=rf"phone\.heic: cannot be decoded .*{way} may read it"):
        decode_image(path)
    with pytest.raises(UnreadableImageError, match=rf"phone\.heic: cannot be read .*{way} may read it"):
        read_photo(path)
    assert find_images(str(path)) == [path]  # named by itself it is a photo, not a list of them
    assert [found.name for found in find_images(str(path.parent))] == ["old.ppm"]
    assert f"1 file .heic, not read here ({suffixes.HEIF})" in caplog.text
    assert len(load_class_folders(tmp_path, "train")) == 4
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(path, "phone.heic")
    (image,) = open_inputs(str(tmp_path / "shard.tar"), None, None, 9, tmp_path).part(0)
    with pytest.raises(UnreadableImageError, match=way):
        decode_image(image.image, image.name)


def test_files_of_other_kinds_beside_photos_are_counted(tmp_path: Path) -> None:
    for place in ("cat", "dog"):
        saved("old.ppm", tmp_path / place)
        (tmp_path / place / "raw.dng").write_bytes(b"x")
    told = load_class_folders(tmp_path, "train").info.description
    assert "not read: 2 other files, cat/raw.dng, dog/raw.dng" in told
