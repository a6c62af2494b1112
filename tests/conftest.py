"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and labels that the variable ``CNN_RNN_DATA`` names."""
    root = os.environ.get("CNN_RNN_DATA")
    if not root:
        pytest.skip("set CNN_RNN_DATA to the folder that holds VOCdevkit/, coco/ and corel5k/")
    return Path(root)
