"""What transformers knows after `import cnn_rnn`, whichever of the two is asked first."""

import subprocess
import sys
from pathlib import Path

import pytest
import transformers

KNOWN = """
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY

config = CONFIG_MAPPING["cnn_rnn"]
known = [
    config, MODEL_MAPPING[config], MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[config],
    IMAGE_PROCESSOR_MAPPING[config]["torchvision"],
    PIPELINE_REGISTRY.check_task("multi-label-image-classification")[1]["impl"],
]
from cnn_rnn import (
    CnnRnnConfig, CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
)
model = CnnRnnForImageClassification
assert known == [CnnRnnConfig, model, model, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline], known
assert config.pipeline_registered
"""
# The slow libraries are loaded once; every beginning is then tried in a copy of that process.
IN_COPIES = """
import os, sys, torch, timm, torchvision
beginnings, known = sys.argv[1:-1], sys.argv[-1]
failed = []
for beginning in beginnings:
    copy = os.fork()
    if copy == 0:
        exec(beginning + known)
        os._exit(0)
    if os.waitpid(copy, 0)[1]:
        failed.append(beginning)
sys.exit("\\n".join(failed) or 0)
"""
BEGINNINGS = [
    "import cnn_rnn",
    "from cnn_rnn import MultiLabelImageClassificationPipeline",
    "from transformers import pipeline; import cnn_rnn",
    "from transformers.pipelines import image_classification, image_feature_extraction; import cnn_rnn",
]
FURTHER_ONES = [
    "from cnn_rnn import CnnRnnForImageClassification",
    "from cnn_rnn import CnnRnnImageProcessor",
    "import cnn_rnn; from transformers import Trainer",
    "import cnn_rnn.training",
]


@pytest.mark.parametrize("beginnings", [BEGINNINGS, pytest.param(FURTHER_ONES, marks=pytest.mark.slow)], ids=len)
def test_all_classes_are_known_whatever_is_imported_first(beginnings: list[str]) -> None:
    subprocess.run([sys.executable, "-c", IN_COPIES, *beginnings, KNOWN], check=True)


@pytest.mark.parametrize("library", ["torch", "timm", "transformers"])
def test_the_import_alone_loads_no_large_library(library: str) -> None:
    code = f"import sys, cnn_rnn; sys.exit({library!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_model_the_one_in_the_box_is_taken_and_no_saved_config_names_its_folder(tmp_path: Path) -> None:
    import cnn_rnn

    classify = transformers.pipeline("multi-label-image-classification")
    assert classify.model.name_or_path == str(cnn_rnn.bundled_model())
    classify.save_pretrained(tmp_path)
    assert str(cnn_rnn.bundled_model()) not in (tmp_path / "config.json").read_text()


def test_an_unknown_name_is_told() -> None:
    import cnn_rnn

    assert set(cnn_rnn.__all__) <= set(dir(cnn_rnn))
    with pytest.raises(AttributeError, match="CnnRnnModel"):
        _ = cnn_rnn.CnnRnnModel  # type: ignore[attr-defined]
