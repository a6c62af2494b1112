"""What was seen of photos, kept beside them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cnn_rnn.learning.feature_store import STORE_FILE, FeatureStore, digest_of_photo

NUMBERS = np.arange(3, dtype=np.float32)


def test_numbers_are_found_by_content_under_another_name_and_damaged_ones_are_not_taken(tmp_path: Path) -> None:
    photo, moved = tmp_path / "a.jpg", tmp_path / "b.jpg"
    photo.write_bytes(b"content")
    store = FeatureStore(tmp_path / "kept")
    content = store.photo_of(photo)
    assert content == digest_of_photo(b"content")
    assert store.find(content, "eyes", 3) is None
    store.keep(content, "eyes", NUMBERS)
    photo.rename(moved)
    again = FeatureStore(tmp_path / "kept")
    found = again.find(again.photo_of(moved), "eyes", 3)
    assert found is not None
    np.testing.assert_array_equal(found, NUMBERS)
    assert again.find(content, "other eyes", 3) is None
    assert again.find(content, "eyes", 4) is None
    again.keep(content, "eyes", np.full(3, np.nan, np.float32))
    assert store.find(content, "eyes", 3) is None
    moved.write_bytes(b"changed")
    assert store.photo_of(moved) != content


def test_where_nothing_can_be_kept_numbers_stay_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / STORE_FILE).write_bytes(b"no table" * 200)
    store = FeatureStore(tmp_path)
    assert "features are not kept there" in caplog.text
    store.keep("photo", "eyes", NUMBERS)
    assert store.find("photo", "eyes", 3) is not None


def test_a_store_never_makes_the_folder_of_the_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FeatureStore(tmp_path / "gone" / ".cnn-rnn" / "features").keep("photo", "eyes", NUMBERS)
    assert not (tmp_path / "gone").exists()
    assert "features are not kept there" in caplog.text


@pytest.mark.parametrize("finds_first", [True, False])
def test_a_store_whose_disk_goes_away_goes_on_in_memory_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, finds_first: bool
) -> None:
    store = FeatureStore(tmp_path / "kept")
    store.keep("a", "eyes", NUMBERS)
    assert not caplog.text
    shutil.rmtree(tmp_path / "kept")
    if finds_first:
        assert store.find("b", "eyes", 3) is None
    for _ in range(2):
        store.keep("b", "eyes", NUMBERS)
    assert store.find("b", "eyes", 3) is not None
    assert caplog.text.count("features are not kept there") == 1
    assert not (tmp_path / "kept").exists()
