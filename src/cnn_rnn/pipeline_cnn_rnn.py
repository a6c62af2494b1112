"""Image in, labels with scores (and the path that was walked) out."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
import torch
from transformers import AutoModelForImageClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from .closed_sets import pick_closed, pick_closed_by_expected_f1
from .decisions import is_unfamiliar, pick_by_expected_f1, probabilities_of
from .given_images import ImageSequence, images_of, read_image
from .label_paths import paths_to_labels

TASK = "multi-label-image-classification"
CALIBRATED = "calibrated"
AT_ONCE = 16  # images of a list that the model sees at once

Threshold = float | str | Mapping[str, float] | Sequence[float]
Decision = Literal["threshold", "expected_f1", "path"]


class MultiLabelImageClassificationPipeline(Pipeline):
    """Labels of an image: `pipeline("multi-label-image-classification", model=...)`.

    Each image (a path, a URL, encoded bytes, base64 text, a PIL image, an array (h, w, 3) or tensor (3, h, w) of bytes
    or an undecoded row of an image column), alone, in a list, a column, a stack of arrays, a generator or a data set
    with one column of images, gives `[{"label": ..., "score": ...}, ...]`, best first, where the score is the label's
    probability. With `return_path=True` it gives
    `{"labels": [...as above...], "path": [{"label": ..., "score": ...}, ...], "path_score": ...}`: the labels of the
    most probable path in the order they were walked, each with the probability of its step, and that of the path.
    A model that knows what is like nothing that it was trained on names no label of such an image, unless asked how to
    choose them, and says `"unfamiliar": True` beside the path (of others False).
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        random = getattr(self.model, "weights_left_random", [])
        if random:
            raise ValueError(
                f"the weights hold no {', '.join(random[:3])} that fits, so every label would be chance: train the "
                "model first, or take another one"
            )

    def __call__(self, inputs: Any, *args: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """The labels of an image; a list of them for many, or an iterator where generators and torch data sets stream.

        Args:
            inputs: One or many, as above.
            *args: None.
            batch_size: Images that the model sees at once; where not given 16 of what can be counted, 1 of a stream.
            **kwargs: As `_sanitize_parameters` takes them.

        Raises:
            ValueError: A data set has not one column of images, or an image cannot be read.
        """
        inputs = images_of(inputs)
        if isinstance(inputs, list | ImageSequence) and not len(inputs):
            return []
        if batch_size is None and self._batch_size is None and isinstance(inputs, list | ImageSequence):
            batch_size = min(len(inputs), AT_ONCE)
        outputs = super().__call__(inputs, *args, batch_size=batch_size, **kwargs)
        return list(outputs) if isinstance(inputs, ImageSequence) else outputs

    def _sanitize_parameters(
        self,
        threshold: Threshold | None = None,
        top_k: int | None = None,
        beam_width: int | None = None,
        return_path: bool | None = None,
        *,
        timeout: float | None = None,
        decision: Decision | None = None,
        known: Mapping[str, bool] | None = None,
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
            decision: How the set of returned labels is chosen: "threshold", as above; "expected_f1", the labels with
                the best expected F1; or "path", the labels of the most probable path, the best guess at the whole set.
            known: What is known of the image or of all images of the call: names of labels that it shows (True) or
                does not show (False). Scores and path are given what is known.

        Raises:
            ValueError: An argument is out of its range, or names a label that the model does not have.
        """
        for name, value in (("top_k", top_k), ("beam_width", beam_width)):
            check_whole(name, value)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        if threshold is not None:
            self._least(threshold)  # a wrong one is refused before any work is done
        self._check_decision(decision, threshold, top_k)
        given = {"threshold": threshold, "top_k": top_k, "return_path": return_path, "decision": decision}
        state = None if known is None else self.known_labels(known)
        forward = {
            "beam_width": beam_width,
            "return_path": True if decision == "path" else return_path,
            "known_labels": state,
        }
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
        self,
        inputs: dict[str, Any],
        beam_width: int | None = None,
        return_path: bool = False,
        known_labels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The logits and, where `return_path` asks for them, the paths with their scores."""
        if known_labels is not None:
            pixel_values = inputs["pixel_values"]
            known_labels = known_labels.to(pixel_values.device).expand(len(pixel_values), -1)
        with evaluation_of(self.model):
            if not return_path and beam_width is None:
                return {"logits": self.model(**inputs, known_labels=known_labels).logits}
            output = self.model.generate(**inputs, beam_width=beam_width, known_labels=known_labels)
        names = ("logits", "paths", "path_scores", "step_scores") if return_path else ("logits",)
        return {name: output[name] for name in names}

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        threshold: Threshold | None = None,
        top_k: int | None = None,
        return_path: bool = False,
        decision: Decision | None = None,
    ) -> Any:
        """Labels of one image that are chosen, best first, and the path where asked for."""
        config = self.model.config
        scores = probabilities_of(outputs["logits"][0], self.model)
        rules = self.model.rules
        unfamiliar = is_unfamiliar(scores, config.familiar_from)
        if decision == "path":
            chosen = paths_to_labels(outputs["paths"][:, 0], config.num_labels)[0]
        elif decision == "expected_f1":
            chosen = (
                pick_by_expected_f1(scores[None])[0]
                if rules is None
                else pick_closed_by_expected_f1(rules, scores[None].numpy())[0]
            )
        elif unfamiliar and threshold is None and top_k is None:
            chosen = torch.zeros(config.num_labels, dtype=torch.bool)
        else:
            if threshold is None:
                threshold = self._own_thresholds() if top_k is None else 0.0
            wanted = scores >= torch.tensor(self._least(threshold))
            chosen = (
                wanted if rules is None else pick_closed(rules, scores[None].numpy(), wanted[None].numpy(), top_k)[0]
            )
        order = scores.argsort(descending=True, stable=True).tolist()[: top_k if rules is None else None]
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
            **({"unfamiliar": unfamiliar} if config.familiar_from else {}),
        }

    def _check_decision(self, decision: str | None, threshold: Threshold | None, top_k: int | None) -> None:
        """Refuse a decision that there is not, or one beside another way of choosing labels."""
        if decision is None:
            return
        if decision not in get_args(Decision):
            raise ValueError(f"decision must be one of {', '.join(get_args(Decision))}, got {decision!r}")
        if decision != "threshold" and (threshold is not None or top_k is not None):
            raise ValueError(f"decision={decision!r} chooses the labels by itself: give no threshold and no top_k")
        if decision == "path" and not self.model.config.has_path_decoder:
            raise ValueError("decision='path' needs a path decoder, which this model has not: take 'expected_f1'")

    def known_labels(self, known: Mapping[str, bool]) -> torch.Tensor:
        """What is known (1, C): 1 confirmed, -1 ruled out, 0 open.

        Raises:
            ValueError: The model has no such label, or the answer is neither True nor False.
        """
        if not isinstance(known, Mapping):
            raise ValueError(f"known is {{label: True or False, ...}}, got {str(known)[:60]!r}")  # noqa: TRY004
        config = self.model.config
        state = torch.zeros(1, config.num_labels, dtype=torch.long)
        for name, present in known.items():
            if name not in config.label2id:
                raise ValueError(unknown_label(name, config.label2id))
            if not isinstance(present, bool):
                raise ValueError(f"known[{name!r}] must be True (shown) or False (not shown), got {present!r}")  # noqa: TRY004
            state[0, config.label2id[name]] = 1 if present else -1
        return state

    def _own_thresholds(self) -> list[float]:
        """The threshold of each label: the model's own, or else 0.5."""
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
                    raise ValueError(unknown_label(name, least))
                least[name] = value
            values = list(least.values())
        else:
            given: Any = np.asarray(threshold).tolist()  # numpy's and torch's numbers too
            values = given if isinstance(given, list) else [given] * config.num_labels
        if len(values) != config.num_labels:
            raise ValueError(
                f"{len(values)} thresholds for {config.num_labels} labels: give one number, or one for each"
            )
        for value in values:
            if isinstance(value, bool | str | None) or not 0 <= value <= 1:
                raise ValueError(f"threshold is a probability in 0..1, got {value!r}")
        return [float(value) for value in values]


@contextmanager
def evaluation_of(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode for a while; what was in training mode is so again afterwards."""
    trained = [module for module in model.modules() if module.training] if model.training else []
    if trained:
        model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def check_whole(name: str, value: Any) -> None:
    """Refuse a number of things that is none.

    Raises:
        ValueError: It is no whole number and not None.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise ValueError(f"{name} must be a whole number, got {value!r}")


def unknown_label(name: object, labels: Iterable[str]) -> str:
    """What to say of a label that the model does not have, with the nearest one."""
    near = difflib.get_close_matches(str(name), list(labels), n=1)
    return f"the model has no label {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


# Here, not in the package's own registrations, so that a pipeline of a folder's copy can be saved again.
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=MultiLabelImageClassificationPipeline,
    pt_model=AutoModelForImageClassification,
    type="image",
)
