"""Decoding: odd files come out right, broken ones are refused by name."""

import contextlib
import errno
import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from datasets import Dataset
from datasets import Image as Datasets
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from cnn_rnn import CnnRnnImageProcessor, upright_rgb
from cnn_rnn.app.photo_tagger import read_photo
from cnn_rnn.data import (
    EvalTransform,
    TrainTransform,
    UnreadableImageError,
    build_dataset,
    decode_image,
    decode_pixels,
    drop_unreadable,
)
from cnn_rnn.data import images as by_name
from cnn_rnn.data.photos.images import LostImageError
from cnn_rnn.data.schema import image_paths, label_lists_from_matrix
from cnn_rnn.given_images import read_image
from cnn_rnn.upright_rgb import FORMATS, to_rgb


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp() -> Image.Image:
    """An RGB picture that is not symmetric."""
    rows, columns = np.mgrid[0:24, 0:32]
    return Image.fromarray(np.stack([rows * 10, columns * 7, rows + columns], axis=2).astype(np.uint8))


def test_a_path_bytes_a_row_and_a_picture_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(ramp()))
    row = {"path": str(path), "bytes": None}
    for image in (path, str(path), path.read_bytes(), row, {"path": None, "bytes": path.read_bytes()}, ramp()):
        np.testing.assert_array_equal(decode_image(image), ramp())


def test_cmyk_comes_out_in_its_own_colours() -> None:
    colours = {"red": (0, 255, 255, 0), "white": (0, 0, 0, 0), "black": (0, 0, 0, 255)}
    for name, ink in colours.items():
        decoded = decode_image(encode(Image.new("CMYK", (16, 16), ink), "JPEG"))
        np.testing.assert_allclose(np.asarray(decoded), np.asarray(Image.new("RGB", (16, 16), name)), atol=6)


def test_sixteen_bits_keep_their_tones() -> None:
    tones = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        decoded = np.asarray(decode_image(encode(Image.fromarray(tones), kind)))
        np.testing.assert_array_equal(decoded, np.repeat(np.rint(tones / 257)[..., None], 3, axis=2))


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="32-bit pixels"):
        decode_image(encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


def test_transparency_is_laid_on_white() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    palette.putpixel((0, 0), 0)
    clear = decode_image(encode(palette, transparency=0))
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    assert clear.getpixel((2, 2)) == (200, 10, 10)
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    np.testing.assert_allclose(np.asarray(decode_image(encode(half)))[0, 0], (255, 127, 127), atol=1)
    faint = Image.new("LA", (4, 4), (0, 0))
    assert decode_image(encode(faint)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_laid_on_white_band_by_band_it_is_as_laid_at_once(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 7, 4), np.uint8)
    picture = Image.fromarray(pixels, "RGBA")
    if mode == "LA":
        picture = picture.convert("LA")
    if mode == "P":
        picture = picture.convert("RGB").quantize(16)
        picture.info["transparency"] = 3
    layer = picture.convert("RGBA")
    at_once = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    monkeypatch.setattr(upright_rgb, "BAND", 16)
    assert np.array_equal(np.asarray(to_rgb(picture)), np.asarray(at_once))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_rotation_is_undone(orientation: int) -> None:
    turns = [
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
    ]  # fmt: skip  # how the camera stored what its tag 1..8 describes
    turn = turns[orientation - 1]
    stored = ramp() if turn is None else ramp().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_image(encode(stored, exif=exif)), ramp())


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_a_turned_tiff_is_read_from_a_file_as_from_its_bytes(mode: str, tmp_path: Path) -> None:
    """Pillow maps these modes into memory where they come as a file."""
    picture = Image.effect_noise((40, 30), 99).convert(mode if mode != "P" else "L")
    for turn in range(1, 9):
        content = encode(picture if mode != "P" else picture.quantize(9), "TIFF", exif=exif_tags(Orientation=turn))
        (tmp_path / "a.tif").write_bytes(content)
        whole = np.asarray(decode_image(content, "a.tif"))
        np.testing.assert_array_equal(decode_image(tmp_path / "a.tif"), whole)
        assert whole.shape == ((30, 40, 3) if turn < 5 else (40, 30, 3))


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "LAB"])
def test_every_other_mode_becomes_rgb(mode: str) -> None:
    image = (
        Image.new("RGB", (8, 8), "white").convert(mode) if mode != "LAB" else Image.new("LAB", (8, 8), (255, 128, 128))
    )
    # Pillow 12.3 cannot read its own YCbCr where it is not compressed
    stored = encode(image, "TIFF", compression="tiff_lzw") if mode in {"YCbCr", "LAB"} else encode(image, "PNG")
    decoded = decode_image(stored)
    assert decoded.mode == "RGB"
    np.testing.assert_allclose(np.asarray(decoded), 255, atol=2)


def bomb() -> bytes:
    """A PNG of a few bytes that declares 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"<html>429 Too Many Requests</html>",
    "cut.jpg": encode(ramp().resize((256, 256)), "JPEG")[:2000],
    "cut.png": encode(ramp().resize((256, 256)))[:300],
    "bomb.png": bomb(),
    "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("decode", [decode_image, partial(decode_image, least_size=1), decode_pixels])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, name: str, decode: Callable[..., Any]) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with pytest.raises(UnreadableImageError, match=rf"{name}: cannot be decoded"):
        decode({"path": str(path), "bytes": None})
    with pytest.raises(UnreadableImageError, match="row 7: cannot be decoded"):
        decode(BROKEN[name], "row 7")


def test_the_path_of_a_stream_is_read_where_it_lies() -> None:
    with fsspec.open("memory://photos/a.png", "wb") as file:
        file.write(encode(ramp()))
    for decode in (decode_image, decode_pixels):
        assert np.asarray(decode({"path": "memory://photos/a.png", "bytes": None})).size == 24 * 32 * 3
        with pytest.raises(UnreadableImageError, match=r"memory://photos/gone\.png: cannot be read"):
            decode({"path": "memory://photos/gone.png", "bytes": None})


def odd_images() -> dict[str, bytes]:
    """One image of each kind that the fast way must either decode alike or leave to Pillow."""
    turned = Image.Exif()
    turned[0x0112] = 6
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8))
    return {
        "jpeg": encode(noise, "JPEG", quality=90),
        "progressive": encode(noise, "JPEG", progressive=True),
        "subsampled": encode(noise, "JPEG", subsampling=2),
        "grey": encode(noise.convert("L"), "JPEG"),
        "cmyk": encode(noise.convert("CMYK"), "JPEG"),
        "turned": encode(noise, "JPEG", exif=turned),
        "comment": encode(noise, "JPEG", comment=b"x" * 60_000),
        "png": encode(noise),
        "transparent": encode(noise.convert("RGBA")),
        "webp": encode(noise, "WEBP"),
    }


@pytest.mark.parametrize("kind", odd_images())
def test_fast_pixels_are_those_of_the_picture(kind: str) -> None:
    content = odd_images()[kind]
    picture = np.asarray(decode_image(content))
    np.testing.assert_array_equal(decode_pixels(content).permute(1, 2, 0), picture)


def jpeg_with(*segments: bytes) -> bytes:
    """A JPEG of the ramp, with these APP1 segments in front of all others."""
    plain = encode(ramp(), "JPEG")
    return plain[:2] + b"".join(b"\xff\xe1" + (len(one) + 2).to_bytes(2) + one for one in segments) + plain[2:]


def exif_tags(**tags: Any) -> bytes:
    """EXIF with tags by name."""
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    return b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")


def xmp_tags(orientation: str) -> bytes:
    """XMP as an APP1 segment holds it."""
    head = b"http://ns.adobe.com/xap/1.0/\0"
    return head + f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{orientation}</x:xmpmeta>".encode()


def turned_images() -> dict[str, bytes]:
    """One image of each way in which a file can say how it is to be turned."""
    six, none, stays = exif_tags(Orientation=6), exif_tags(Make="Camera"), exif_tags(Orientation=1)
    as_attribute, as_element = xmp_tags('<a tiff:Orientation="6"/>'), xmp_tags("<tiff:Orientation>6</tiff:Orientation>")
    png_text = PngInfo()
    png_text.add_itxt("XML:com.adobe.xmp", as_element.decode().partition("\0")[2])
    files = {
        **{f"jpeg exif {number}": jpeg_with(exif_tags(Orientation=number)) for number in (0, *range(1, 10))},
        "jpeg exif, xmp": jpeg_with(six, xmp_tags("")),
        "jpeg xmp, exif": jpeg_with(xmp_tags(""), six),
        "jpeg other segment, exif": jpeg_with(b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 60_000, six),
        "jpeg xmp attribute": jpeg_with(as_attribute),
        "jpeg xmp element": jpeg_with(as_element),
        "jpeg xmp in single quotes": jpeg_with(xmp_tags("<a tiff:Orientation='6'/>")),
        "jpeg exif stays, xmp turns": jpeg_with(stays, as_attribute),
        "jpeg xmp stays, exif turns": jpeg_with(xmp_tags('<a tiff:Orientation="1"/>'), six),
        "jpeg exif without orientation, xmp": jpeg_with(none, as_attribute),
        "jpeg exif twice": jpeg_with(stays, six),
        "jpeg exif cut off": jpeg_with(six[:18]),
        "jpeg exif of noise": jpeg_with(b"Exif\0\0" + b"noise" * 9),
        "jpeg orientation of two numbers": jpeg_with(exif_tags(Orientation=(6, 6))),
        "jpeg exif after comment": encode(ramp(), "JPEG", exif=six, comment=b"c" * 300),
        "png exif": encode(ramp(), exif=six),
        "png xmp": encode(ramp(), pnginfo=png_text),
        **{f"{kind} exif": encode(ramp(), kind, exif=six) for kind in ("WEBP", "TIFF", "MPO")},
        "WEBP xmp": encode(ramp(), "WEBP", lossless=True, xmp=as_element.partition(b"\0")[2]),
    }
    others = [kind for kind in ("AVIF", "HEIF") if kind in FORMATS and kind in Image.SAVE]
    return files | {f"{kind} exif": encode(ramp(), kind, exif=six) for kind in others}


@pytest.mark.parametrize("kind", turned_images())
def test_training_validation_prediction_and_page_turn_a_photo_alike(kind: str, tmp_path: Path) -> None:
    content = turned_images()[kind]
    path = tmp_path / "photo"
    path.write_bytes(content)
    predicted = np.asarray(decode_image(path))
    processor = CnnRnnImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    train = TrainTransform(processor)
    seen = {
        "training, file": train.decode(str(path), "a").permute(1, 2, 0),
        "training, bytes": train.decode({"bytes": content, "path": None}, "a").permute(1, 2, 0),
        "pixels": decode_pixels(path).permute(1, 2, 0),
        "smaller copy": decode_image(path, least_size=24),
        "page": read_photo(path),
        "pipeline": read_image(content),
        "datasets": to_rgb(Datasets().decode_example({"bytes": content, "path": None})),
    }
    for name, pixels in seen.items():
        np.testing.assert_array_equal(pixels, predicted, err_msg=name)
    values = processor(Image.open(path), return_tensors="pt")["pixel_values"]
    assert torch.equal(values[0], EvalTransform(processor)(decode_image(path)))


def test_a_large_jpeg_comes_out_smaller_but_never_below_the_least_size() -> None:
    content = encode(ramp().resize((640, 400)), "JPEG")
    sizes = {least: tuple(decode_pixels(content, least_size=least).shape[1:]) for least in (50, 51, 150, 201, 999)}
    assert sizes == {50: (50, 80), 51: (100, 160), 150: (200, 320), 201: (400, 640), 999: (400, 640)}
    small = decode_pixels(content, least_size=50).float()
    whole = decode_pixels(content).float().unfold(1, 8, 8).unfold(2, 8, 8).mean((3, 4))
    np.testing.assert_allclose(small, whole, atol=4)


@pytest.mark.parametrize("seed", range(30))
def test_spoilt_bytes_never_raise_anything_else(seed: int) -> None:
    random = np.random.default_rng(seed)
    for content in odd_images().values():
        spoilt = bytearray(content)
        for place in random.integers(0, min(len(spoilt), 700), 4):
            spoilt[place] = random.integers(256)
        for decode in (decode_image, decode_pixels):
            with contextlib.suppress(UnreadableImageError):
                decode(bytes(spoilt))


def test_a_row_without_image_says_so() -> None:
    with pytest.raises(UnreadableImageError, match="there is no image, only labels"):
        decode_image(None, "000001")


@pytest.mark.parametrize("image", [[b"PNG"], {"bytes": [1]}, 7, {"path": 0.5}], ids=str)
def test_what_is_no_image_is_called_by_its_kind(image: Any) -> None:
    for decode in (decode_image, decode_pixels):
        with pytest.raises(UnreadableImageError, match=r"row 7: .*\(it is a (list|int|float), expected a path"):
            decode(image, "row 7")


def test_unreadable_rows_are_dropped_and_each_is_named_with_its_reason(tmp_path: Path) -> None:
    files = BROKEN | {f"good{i}.jpg": encode(ramp(), "JPEG") for i in range(3)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    names = sorted(files)
    present = np.eye(len(names), dtype=bool)
    labels = label_lists_from_matrix(present)
    rows: Dataset = build_dataset(image_paths([str(tmp_path / n) for n in names]), names, labels, names)
    kept, reasons = drop_unreadable(rows)
    assert kept["image_id"][:] == ["good0.jpg", "good1.jpg", "good2.jpg"]
    assert [names[ids[0]] for ids in kept["labels"]] == kept["image_id"][:]
    assert set(reasons) == set(BROKEN)
    assert all(name in reason for name, reason in reasons.items())


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 2_100)])
def test_a_side_far_longer_than_the_other_is_refused_before_it_is_paid_for(size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImageError, match="a side over 1000 times the other is no photo"):
        decode_image(encode(Image.new("RGB", size)), "strip.png")
    decode_image(encode(Image.new("RGB", (1, 1000))), "strip.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path, kind in (
        (tmp_path / "pipe.png", "a pipe"),
        (tmp_path / "folder.png", "a folder"),
        ("/dev/zero", "a device"),
    ):
        for decode in (decode_image, decode_pixels):
            with pytest.raises(UnreadableImageError, match=rf"it is {kind}, no file"):
                decode(path)


def test_what_is_not_there_is_lost_and_not_unreadable(tmp_path: Path) -> None:
    for image in (str(tmp_path / "gone.png"), "memory://gone.png", "a\0.png", str(tmp_path / ("x" * 300))):
        for decode in (decode_image, decode_pixels):
            with pytest.raises(LostImageError):
                decode(image)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(tmp_path / "broken.png")
    assert not isinstance(caught.value, LostImageError)


def test_a_file_far_larger_than_a_photo_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(UnreadableImageError, match="1,073,741,825 bytes"):
        decode_pixels(tmp_path / "large.jpg")


@pytest.mark.parametrize("address", ["file://{}", "local://{}", "simplecache::file://{}", "zip://a.png::{}"])
def test_a_pipe_is_not_waited_for_whatever_its_address(address: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="it is a pipe"):
        decode_image(address.format(tmp_path / "a.png"))


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes) -> bytes:
    """A PNG of 8 x 8 pixels with one more chunk, behind its head."""
    whole = encode(Image.new("RGB", (8, 8)))
    return whole[:33] + chunk(name, content) + whole[33:]


PACKED = zlib.compress(bytes(50_000_000), 9)
MUCH_FROM_LITTLE = {
    "icc profile": with_chunk(b"iCCP", b"x\0\0" + PACKED),
    "text": with_chunk(b"zTXt", b"Comment\0\0" + PACKED),
    "international text": with_chunk(b"iTXt", b"Comment\0\1\0\0\0" + PACKED),
}


@pytest.mark.parametrize("kind", MUCH_FROM_LITTLE)
def test_what_is_packed_beside_the_pixels_is_not_unpacked_without_bound(kind: str) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(UnreadableImageError):
            decode_image(MUCH_FROM_LITTLE[kind])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_of_many_frames_the_first_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue") * 200]
    content = io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(content, kind, save_all=True, append_images=frames[1:], **lossless)
    assert decode_image(content.getvalue()).getpixel((4, 4)) == (255, 0, 0)


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """A grey TIFF of 8 x 8 pixels with more tags: number, type, count, value."""
    own = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    own += [(277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted([*own, *tags]))
    return b"II*\0" + struct.pack("<IH", 8, len(own) + len(tags)) + entries + struct.pack("<I", 8) + bytes(64)


@pytest.mark.parametrize("tag", [(270, 2, 4_000_000_000, 8), (33434, 3, 2_000_000_000, 8), (320, 3, 3_000_000_000, 8)])
def test_a_tag_that_claims_to_be_gigabytes_is_not_believed(tag: tuple[int, int, int, int]) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(UnreadableImageError):
            decode_image(tiff(tag))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_photo_that_the_system_does_not_hand_out_may_be_had_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("cnn_rnn.data.photos.images.Image.open", refuse)
    with pytest.raises(LostImageError, match=r"a\.png: cannot be read \("):
        decode_image(path, "a.png")


def test_the_decoders_are_found_where_others_import_them() -> None:
    assert (by_name.decode_image, by_name.decode_pixels) == (decode_image, decode_pixels)
