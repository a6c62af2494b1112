"""What was seen of photos, kept beside them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_rnn.learning.feature_store import FOLDER, FeatureStore
from cnn_rnn.learning.learner import Seen


@pytest.mark.parametrize("finds_first", [True, False])
def test_a_store_whose_disk_goes_away_goes_on_in_memory_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, finds_first: bool
) -> None:
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    for index, photo in enumerate(photos):
        Image.new("RGB", (8 + index, 8)).save(photo)
    store = FeatureStore(tmp_path, "eyes", (2, 1))
    seen = Seen(np.array([1, 2], np.float32), np.array([3], np.float32))
    store.keep(photos[0], seen)
    assert not caplog.text
    shutil.rmtree(tmp_path / FOLDER)
    if finds_first:
        assert store.find(photos[1]) is None
    for _ in range(2):
        store.keep(photos[1], seen)
    found = store.find(photos[1])
    assert found is not None
    assert found.features.tolist() == [1, 2]
    assert caplog.text.count("features are not kept there") == 1
    assert not (tmp_path / FOLDER).exists()
