"""A saved model on one split of a data set."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import HFValidationError
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.image_utils import pil_torch_interpolation_mapping

from cnn_rnn.backbone_weights import ask_hub_once
from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.foundation.broken_files import reason, tells_of
from cnn_rnn.foundation.file_kinds import kind_of_file
from cnn_rnn.foundation.hub_errors import HTTP_ERROR, first_line
from cnn_rnn.foundation.one_line import told_in_one_line

if TYPE_CHECKING:  # a model is loaded for a single photo too, which needs no data set
    from datasets import Dataset, IterableDataset

    from .predictions import Predictions

LARGEST_SIDE = 4096  # pixels of what a model sees; four such images are half a gigabyte
MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


@dataclass
class SavedModel:
    """A model and its preprocessing, from a folder or the Hub.

    Attributes:
        name: The folder or Hub name it came from.
        model: A `CnnRnnForImageClassification`.
        processor: Its image processor.
    """

    name: str
    model: Any
    processor: Any

    @classmethod
    def load(cls, name: str | Path) -> "SavedModel":
        """The model of a run's folder or of a Hub name; no code but this package's is run, no pickle is read.

        Raises:
            OSError: There is no such folder or repository, or a file of it is missing.
            ValueError: It holds another kind of model, or weights that are not all there, or not finite.
        """
        checked_config(name)
        # In full precision also where it was saved in half: figures want no ties, and ONNX has no such convolutions.
        try:
            model, found = AutoModelForImageClassification.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except (OSError, ImportError, MemoryError):
            raise
        except Exception as error:  # of shapes that differ, and of settings that no part of a model takes
            if isinstance(error, ValueError) and tells_of(error, name):
                raise  # of weights that are not finite
            raise ValueError(f"{name}: the weights do not fit the config: {reason(error)}") from error
        check_weights(str(name), found)
        model.config.return_dict = True  # whatever the folder says: all that is asked of it is asked by name
        model.backbone.put_channels_innermost()
        return cls(str(name), model.eval(), checked_processor(name))

    def check_labels(self, dataset: "Dataset | IterableDataset") -> None:
        """Refuse a data set whose labels are not the model's, in the same order.

        Raises:
            ValueError: They differ; the message names where.
        """
        from cnn_rnn.data import label_names

        own, theirs = self.model.config.label_names, label_names(dataset)
        if own == theirs:
            return
        only_own = sorted(set(own) - set(theirs))[:5]
        only_theirs = sorted(set(theirs) - set(own))[:5]
        where = (
            f"only the model knows {only_own}, only the data {only_theirs}"
            if only_own or only_theirs
            else "they are the same, but in another order"
        )
        raise ValueError(
            f"{self.name} has {len(own)} labels, the data {len(theirs)}; {where}. "
            "Measure on the data set that the model was trained for, train a model for this one, or bring the labels "
            "together with --data.rename_labels and --data.keep_labels"
        )


def check_weights(name: str, found: Mapping[str, Any]) -> None:
    """Refuse a model that is partly random; it would label all the same.

    Args:
        name: What a message calls it.
        found: What `from_pretrained` says of loading it.

    Raises:
        ValueError: Weights are missing, or of other names or shapes; the message names some.
    """
    for key, told in (
        ("missing_keys", "lacks weights of the model, which would be random"),
        ("mismatched_keys", "holds weights of another shape"),
        ("unexpected_keys", "holds weights that the model does not know"),
        ("error_msgs", "does not load"),
    ):
        names = sorted(map(str, found.get(key) or ()))
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(f"{name}: model.safetensors {told}: {shown}. Save the model again, or take another one")


def predict_dataset(
    saved: SavedModel, dataset: "Dataset | IterableDataset", batch_size: int, num_workers: int
) -> "Predictions":
    """Predictions for every row, over all processes that Accelerate was launched with.

    Raises:
        UnreadableImageError: An image cannot be decoded.
        HubError: A stream broke off.
    """
    from cnn_rnn.data.batching.batches import eval_batches, loading_errors

    from .predictions import launched_accelerator, predict

    saved.check_labels(dataset)
    accelerator = launched_accelerator()
    loader = eval_batches(dataset, saved.processor, batch_size, num_workers, accelerator)
    with loading_errors():
        return predict(saved.model.to(accelerator.device), loader, accelerator, f"predicting with {saved.name}")


def _refuse_other_kinds(folder: Path) -> None:
    """Refuse a file of a model that is something else, such as a pointer of Git LFS."""
    for file in MODEL_FILES:
        if kind := kind_of_file(folder / file):
            raise ValueError(f"{folder / file} {kind}")


@told_in_one_line()
def checked_config(name: str | Path) -> CnnRnnConfig:
    """The config of a folder or a Hub name; nothing else of it is read and no code of it is run.

    Raises:
        ValueError: It is another kind of model's, or no model can be built from it.
        OSError: There is none.
    """
    if Path(name).is_dir() and not (Path(name) / "config.json").exists():
        stopped = (Path(name) / "checkpoints").is_dir()
        way_on = "; its training was not ended, and goes on with --resume auto" if stopped else ""
        raise OSError(f"{name} is no folder of a saved model: it has no config.json{way_on}")
    _refuse_other_kinds(Path(name))
    try:
        if not Path(name).exists():
            with suppress(HFValidationError):  # which is told where it is loaded
                ask_hub_once(str(name), "config.json")
        fields, _ = CnnRnnConfig.get_config_dict(name)
    except (OSError, HTTP_ERROR) as error:
        if Path(name).exists():
            raise OSError(f"{name} is no folder of a saved model: it has no readable config.json") from error
        raise OSError(
            f"there is no folder {name}, and the Hub gives no model of that name: {first_line(error)}"
        ) from error
    except Exception as error:  # of whatever stands there
        raise ValueError(f"{name}: config.json holds no object of settings: {reason(error)}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{name}: config.json holds no object of settings, but {type(fields).__name__}")  # noqa: TRY004
    kind = fields.get("model_type")
    if kind != CnnRnnConfig.model_type:
        raise ValueError(f"{name}: config.json is of a model {kind!r}, not {CnnRnnConfig.model_type!r}")
    try:
        return CnnRnnConfig.from_dict(fields)
    except Exception as error:  # the library trusts some types
        raise ValueError(f"{name}: config.json: {reason(error.__cause__ or error)}") from error


def checked_processor(name: str | Path) -> Any:
    """The preprocessing of a folder or a Hub name; no code of it is run.

    Raises:
        ValueError: No pixel values can be made by it.
        OSError: There is none.
    """
    try:
        processor: Any = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except OSError:
        raise
    except Exception as error:  # of whatever stands there
        raise ValueError(f"{name}: preprocessor_config.json is no object of settings: {reason(error)}") from error
    wrong = list(_wrong_settings(processor))
    if wrong:
        raise ValueError(f"{name}: preprocessor_config.json: {'; '.join(wrong)}. Save the model again")
    return processor


def _wrong_settings(processor: Any) -> Iterator[str]:
    """What of an image processor's settings would end in an error, in no number, or in more memory than there is."""
    for field in ("size", "crop_size"):
        sides = getattr(processor, field, None)
        for side, pixels in (dict(sides) if sides else {}).items():
            if pixels is not None and not (isinstance(pixels, int) and 1 <= pixels <= LARGEST_SIDE):
                yield f"{field}.{side} must lie in 1..{LARGEST_SIDE}, got {pixels}"
    if getattr(processor, "resample", None) not in pil_torch_interpolation_mapping:
        yield f"resample is {processor.resample}, expected one of {', '.join(map(str, range(6)))}"
    for field in ("image_mean", "image_std"):
        values = getattr(processor, field, None)
        least = 0.0 if field == "image_std" else -math.inf
        if (
            not isinstance(values, list | tuple)
            or len(values) != 3
            or not all(_is_above(value, least) for value in values)
        ):
            yield f"{field} must be three numbers{' above 0' if field == 'image_std' else ''}, got {values}"
    if not _is_above(getattr(processor, "rescale_factor", None), 0.0):
        yield f"rescale_factor must be a number above 0, got {processor.rescale_factor}"


def _is_above(value: Any, least: float) -> bool:
    """Whether a value is a finite number above another."""
    return isinstance(value, int | float) and math.isfinite(value) and value > least
