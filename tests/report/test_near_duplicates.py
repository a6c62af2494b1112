"""Near-duplicates across splits are found in blocks as at once, and shown side by side with their threshold."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cnn_rnn.data.schema import build_dataset, image_paths, label_lists_from_matrix
from cnn_rnn.prediction.predictions import PlacedFeatures
from cnn_rnn.report import near_duplicates
from cnn_rnn.report.near_duplicates import near_duplicate_section, nearest_pairs


def placed(name: str, features: NDArray[np.float32], folder: Path = Path()) -> PlacedFeatures:
    """Features in another order than their rows, whose photos are called by number."""
    order = np.random.default_rng(1).permutation(len(features))
    mixed = np.empty_like(features)
    mixed[order] = features
    paths = [str(folder / f"{name}{row}.jpg") for row in range(len(features))]
    labels = label_lists_from_matrix(np.ones((len(features), 1), dtype=bool))
    rows = build_dataset(image_paths(paths), [f"{name}{row}" for row in range(len(features))], labels, ["<b>"])
    return PlacedFeatures(name, rows, mixed, order)


def test_blocks_give_what_all_cosines_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "COMPARED_AT_ONCE", 7)
    generator = np.random.default_rng(0)
    beside = 3 + generator.random((40, 4, 6), np.float32)
    own = 3 + generator.random((25, 4, 6), np.float32)
    own[3], own[20] = beside[31], beside[5] + 0.01 * generator.random((4, 6), np.float32)
    mean = beside.mean(axis=(0, 1))
    ours, theirs = own.mean(axis=1) - mean, beside.mean(axis=1) - mean
    cosines = (ours @ theirs.T) / np.linalg.norm(ours, axis=1)[:, None] / np.linalg.norm(theirs, axis=1)
    for threshold in (0.5, 0.9, 0.999):
        found = nearest_pairs(placed("own", own), placed("beside", beside), threshold)
        assert {pair.row for pair in found} == set(np.flatnonzero(cosines.max(axis=1) >= threshold))
        assert all(pair.other == cosines[pair.row].argmax() for pair in found)
        np.testing.assert_allclose([pair.cosine for pair in found], [cosines[p.row, p.other] for p in found], atol=1e-4)
    assert [(pair.row, pair.other) for pair in found] == [(3, 31), (20, 5)]


def test_copies_of_other_size_and_quality_are_shown_beside_their_photo(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for row in range(6):
        coarse = Image.fromarray(generator.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        coarse.resize((120, 120), Image.Resampling.BICUBIC).save(tmp_path / f"beside{row}.jpg", quality=95)
        coarse.rotate(90).resize((90, 90), Image.Resampling.BICUBIC).save(tmp_path / f"own{row}.jpg")
    with Image.open(tmp_path / "beside4.jpg") as photo:
        photo.resize((60, 60)).save(tmp_path / "own1.jpg", quality=30)
    with Image.open(tmp_path / "beside2.jpg") as photo:
        photo.resize((40, 40)).save(tmp_path / "own4.jpg", quality=20)
    (tmp_path / "own2.jpg").write_bytes((tmp_path / "beside0.jpg").read_bytes())
    (tmp_path / "own5.jpg").write_bytes(b"broken")

    def features(name: str) -> NDArray[np.float32]:
        """Small pictures, as a backbone that sees the whole."""
        pictures = []
        for row in range(6):
            content = (tmp_path / f"{name}{row}.jpg").read_bytes()
            content = content if content != b"broken" else (tmp_path / "beside3.jpg").read_bytes()
            pictures.append(np.asarray(Image.open(io.BytesIO(content)).resize((8, 8)), np.float32).ravel())
        if name == "own":
            pictures[4] = 0.6 * pictures[4] + 0.4 * pictures[0]  # features that a smaller picture changes more
        return np.stack(pictures)

    section = near_duplicate_section(
        placed("own", features("own"), tmp_path), placed("beside", features("beside"), tmp_path)
    )
    assert "4 of 6 photos of own (66.7 %)" in section.text
    assert "correlate by 0.95 or more" in section.text
    assert "1 are the same file" in section.text
    named = {tuple(photo["name"] for photo in pair["photos"]) for pair in section.pairs}
    assert named == {
        ("own: own1", "beside: beside4"),
        ("own: own2", "beside: beside0"),
        ("own: own4", "beside: beside2"),
        ("own: own5", "beside: beside3"),
    }
    pictures = {photo["name"]: photo["picture"] for pair in section.pairs for photo in pair["photos"]}
    assert pictures.pop("own: own5") is None
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures.values())
