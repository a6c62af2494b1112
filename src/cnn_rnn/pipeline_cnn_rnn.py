"""Image in, labels with scores (and the path that was walked) out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, Pipeline
from transformers.image_utils import load_image
from transformers.pipelines import PIPELINE_REGISTRY

TASK = "multi-label-image-classification"


class MultiLabelImageClassificationPipeline(Pipeline):
    """Labels of an image: `pipeline("multi-label-image-classification", model=...)`.

    Each image, a path, a URL, a PIL image or an array (h, w, 3) of bytes, gives `[{"label": ..., "score": ...}, ...]`,
    best first, where the score is the label's probability. With `return_path=True` it gives
    `{"labels": [...as above...], "path": [{"label": ..., "score": ...}, ...], "path_score": ...}`: the labels of the
    most probable path in the order they were walked, each with the probability of its step, and that of the path.
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def _sanitize_parameters(
        self,
        threshold: float | None = None,
        top_k: int | None = None,
        beam_width: int | None = None,
        return_path: bool | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Sort the arguments of a call to the stage that takes them.

        Args:
            threshold: Least probability of a label that is returned; the model's own thresholds (0.5 where it has none)
                if neither this nor `top_k` is given.
            top_k: Return this many labels, whatever their probability, unless `threshold` is given too.
            beam_width: Walks that the beam search keeps; the model's own number if None.
            return_path: Whether to return the most probable path beside the labels.
            timeout: Seconds to wait for an image from the web.

        Raises:
            ValueError: An argument is out of its range.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold is a probability in 0..1, got {threshold}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
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
        source = str(image) if isinstance(image, Path) else image
        try:
            # PIL refuses arrays of fractions, which the processor would take for nearly black images.
            image = load_image(Image.fromarray(image) if isinstance(image, np.ndarray) else source, timeout=timeout)
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{str(source)[:300]!r} is no readable image: {error}") from error
        return dict(self.image_processor(images=image, return_tensors="pt").to(self.dtype))

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
        threshold: float | None = None,
        top_k: int | None = None,
        return_path: bool = False,
    ) -> Any:
        """Labels above the threshold, best first, and the path where asked for."""
        config = self.model.config
        scores = outputs["logits"][0].float().sigmoid()
        if threshold is None and top_k is None:
            least = torch.tensor(config.thresholds or [0.5] * config.num_labels)
        else:
            least = torch.full_like(scores, threshold or 0.0)
        order = scores.argsort(descending=True, stable=True).tolist()[:top_k]
        labels = [
            {"label": config.id2label[index], "score": scores[index].item()}
            for index in order
            if scores[index] >= least[index]
        ]
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


# Here, not in the package's own registrations, so that a pipeline of a folder's copy can be saved again.
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=MultiLabelImageClassificationPipeline,
    pt_model=AutoModelForImageClassification,
    type="image",
)
