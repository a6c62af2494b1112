"""The library's common image-processing tests on ours."""

import unittest
from typing import Any

import pytest

from cnn_rnn import CnnRnnImageProcessor

from .modeling_cnn_rnn.library_tests import library_tests

common = library_tests("test_image_processing_common")
if not hasattr(common, "ImageProcessingTester"):
    pytest.skip("the common tests of so early a version ask for other things", allow_module_level=True)


class ImageProcessingTester(common.ImageProcessingTester):  # type: ignore[name-defined]
    """What the common tests ask of a processor: its settings and images."""

    def __init__(self, parent: unittest.TestCase) -> None:
        settings: dict[str, Any] = {
            "size": {"shortest_edge": 20},
            "crop_size": {"height": 18, "width": 18},
            "do_resize": True,
            "do_center_crop": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        }
        super().__init__(parent, **settings)

    def _get_image_processing_classes(self) -> dict[str, type]:
        return {"torchvision": CnnRnnImageProcessor}


class TestCnnRnnImageProcessor(common.ImageProcessingTestMixin, unittest.TestCase):  # type: ignore[name-defined]
    """The common tests."""

    image_processor_tester_class = ImageProcessingTester
