"""Image in, labels with scores (and the path that was walked) out."""

import base64
import difflib
import io
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from huggingface_hub import get_session
from PIL import Image
from transformers import AutoModelForImageClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from .image_processing_cnn_rnn import FORMATS, to_rgb

TASK = "multi-label-image-classification"
CALIBRATED = "calibrated"
LONGEST_WAIT = 60.0  # seconds for an image from the web
LARGEST_FILE = 2**28  # bytes of an image from the web

Threshold = float | str | Mapping[str, float] | Sequence[float]


class MultiLabelImageClassificationPipeline(Pipeline):
    """Labels of an image: `pipeline("multi-label-image-classification", model=...)`.

    Each image (a path, a URL, encoded bytes, base64 text, a PIL image, an array (h, w, 3) of bytes or an undecoded row
    of an image column), alone, in a list, a generator or a data set, gives `[{"label": ..., "score": ...}, ...]`, best
    first, where the score is the label's probability. With `return_path=True` it gives
    `{"labels": [...as above...], "path": [{"label": ..., "score": ...}, ...], "path_score": ...}`: the labels of the
    most probable path in the order they were walked, each with the probability of its step, and that of the path.
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def _sanitize_parameters(
        self,
        threshold: Threshold | None = None,
        top_k: int | None = None,
        beam_width: int | None = None,
        return_path: bool | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Sort the arguments of a call to the stage that takes them.

        Args:
            threshold: Least probability of a label that is returned: one for all, one for each (in order, or by name,
                where labels not named keep the model's own), or "calibrated" for those fitted on held-out data. The
                model's own (0.5 where it has none) if neither this nor `top_k` is given.
            top_k: Return this many labels, whatever their probability, unless `threshold` is given too.
            beam_width: Walks that the beam search keeps; the model's own number if None.
            return_path: Whether to return the most probable path beside the labels.
            timeout: Seconds that an image from the web may take in all; 60 where None.

        Raises:
            ValueError: An argument is out of its range.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        if threshold is not None:
            self._least(threshold)  # a wrong one is refused before any work is done
        given = {"threshold": threshold, "top_k": top_k, "return_path": return_path}
        forward = {"beam_width": beam_width, "return_path": return_path}
        return (
            {} if timeout is None else {"timeout": timeout},
            {key: value for key, value in forward.items() if value is not None},
            {key: value for key, value in given.items() if value is not None},
        )

    def preprocess(self, image: Any, timeout: float | None = None) -> dict[str, Any]:
        """Pixel values of one image.

        Raises:
            ValueError: There is no image, or it cannot be read; the message names it.
        """
        try:
            picture = read_image(image, timeout)
        except Exception as error:  # Pillow's parsers and the web raise many kinds
            raise ValueError(f"{str(image)[:300]!r} is no readable image: {error}") from error
        return dict(self.image_processor(images=picture, return_tensors="pt").to(self.dtype))

    def _forward(
        self, inputs: dict[str, Any], beam_width: int | None = None, return_path: bool = False
    ) -> dict[str, torch.Tensor]:
        if not return_path and beam_width is None:
            return {"logits": self.model(**inputs).logits}
        output = self.model.generate(**inputs, beam_width=beam_width)
        names = ("logits", "paths", "path_scores", "step_scores") if return_path else ("logits",)
        return {name: output[name] for name in names}

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        threshold: Threshold | None = None,
        top_k: int | None = None,
        return_path: bool = False,
    ) -> Any:
        """Labels of one image above the threshold, best first, and the path where asked for."""
        config = self.model.config
        scores = outputs["logits"][0].float().sigmoid()
        if threshold is None:
            threshold = self._own_thresholds() if top_k is None else 0.0
        chosen = (scores >= torch.tensor(self._least(threshold))).tolist()
        order = scores.argsort(descending=True, stable=True).tolist()[:top_k]
        values = scores.tolist()
        labels = [{"label": config.id2label[index], "score": values[index]} for index in order if chosen[index]]
        if not return_path:
            return labels
        walked = [index for index in outputs["paths"][0, 0].tolist() if index < config.num_labels]
        steps = outputs["step_scores"][0, 0].float().exp().tolist()
        return {
            "labels": labels,
            "path": [
                {"label": config.id2label[index], "score": score}
                for index, score in zip(walked, steps, strict=False)  # the last step is END
            ],
            "path_score": outputs["path_scores"][0, 0].exp().item(),
        }

    def _own_thresholds(self) -> list[float]:
        config = self.model.config
        return list(config.thresholds or [0.5] * config.num_labels)

    def _least(self, threshold: Threshold) -> list[float]:
        """The least probability of each label (C).

        Raises:
            ValueError: It is no probability, or does not fit the model's labels.
        """
        config = self.model.config
        if isinstance(threshold, str):
            if threshold != CALIBRATED:
                raise ValueError(f"threshold is a number, one for each label or {CALIBRATED!r}, got {threshold!r}")
            if config.thresholds is None:
                raise ValueError("this model has no calibrated thresholds; give a number, or one for each label")
            return self._own_thresholds()
        if isinstance(threshold, Mapping):
            least = dict(zip(config.label_names, self._own_thresholds(), strict=True))
            for name, value in threshold.items():
                if name not in least:
                    near = difflib.get_close_matches(str(name), least, n=1)
                    raise ValueError(f"the model has no label {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
                least[name] = value
            values = list(least.values())
        else:
            values = [threshold] * config.num_labels if isinstance(threshold, int | float) else list(threshold)
        if len(values) != config.num_labels:
            raise ValueError(
                f"{len(values)} thresholds for {config.num_labels} labels: give one number, or one for each"
            )
        for value in values:
            if not 0 <= value <= 1:
                raise ValueError(f"threshold is a probability in 0..1, got {value}")
        return [float(value) for value in values]


def read_image(source: Any, timeout: float | None = None) -> Image.Image:
    """The picture as RGB, upright; a format that runs a program to decode itself (EPS) is not read.

    Args:
        source: As `MultiLabelImageClassificationPipeline` takes it.
        timeout: Seconds that an image from the web may take in all; 60 where None.

    Raises:
        Exception: It cannot be read; of many kinds.
    """
    if isinstance(source, Mapping):
        source = source["path"] if source.get("bytes") is None else source["bytes"]
    if isinstance(source, np.ndarray):
        # PIL refuses arrays of fractions, which the processor would take for nearly black images.
        source = Image.fromarray(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        source = fetch(source, timeout or LONGEST_WAIT)
    elif isinstance(source, str) and not os.path.isfile(source):  # noqa: PTH113  # Path raises at a text too long
        source = from_base64(source)
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    picture = source if isinstance(source, Image.Image) else Image.open(source, formats=FORMATS)
    return to_rgb(picture)


def fetch(url: str, timeout: float) -> bytes:
    """What the web answers, of bounded size and within bounded time.

    Raises:
        ValueError: It is too large, or compressed once more, so that its size is not known before it is paid for.
        TimeoutError: It takes longer.
    """
    end = time.monotonic() + timeout
    content = bytearray()
    plain = {"Accept-Encoding": "identity"}
    with get_session().stream("GET", url, timeout=timeout, follow_redirects=True, headers=plain) as response:
        response.raise_for_status()
        packed = response.headers.get("content-encoding", "identity")
        if packed != "identity":
            raise ValueError(f"it comes as {packed}, which was not asked for")
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > LARGEST_FILE:
                raise ValueError(f"it has more than {LARGEST_FILE:,} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"it takes longer than {timeout:g} seconds")
    return bytes(content)


def from_base64(text: str) -> bytes:
    """The bytes that text such as `data:image/png;base64,...` holds.

    Raises:
        FileNotFoundError: It is no base64, so it was meant as a path.
    """
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:image/") else text, validate=True)
    except ValueError as error:
        raise FileNotFoundError("there is no such file, and it is no URL and no base64") from error


# Here, not in the package's own registrations, so that a pipeline of a folder's copy can be saved again.
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=MultiLabelImageClassificationPipeline,
    pt_model=AutoModelForImageClassification,
    type="image",
)
