"""Image in, labels with scores (and the path that was walked) out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForImageClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from .decisions import probabilities_of
from .given_images import AT_ONCE, images_of, read_image
from .label_answers import Decision, LabelAnswers, Threshold
from .nearest_names import naming_nearest

TASK = "multi-label-image-classification"
WALK = ("paths", "path_scores", "step_scores")


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
            **kwargs: For this call; given to `pipeline` they hold for all calls.
                `threshold`: Least probability of a label that is returned: one for all, one for each (in order, or by
                    name, where labels not named keep the model's own), or "calibrated" for those fitted on held-out
                    data. The model's own (0.5 where it has none) if neither this nor `top_k` is given.
                `top_k`: Return this many labels, whatever their probability, unless `threshold` is given too.
                `beam_width`: Walks that the beam search keeps; the model's own number if None.
                `return_path`: Whether to return the most probable path beside the labels.
                `timeout`: Seconds that an image from the web may take in all; 60 where None.
                `decision`: How the set of returned labels is chosen: "threshold", as above; "expected_f1", the labels
                    with the best expected F1; "path", the labels of the most probable path; or "set", the best guess at
                    the whole set by path and labels together.
                `known`: What is known of the image or of all images of the call: names of labels that it shows (True)
                    or does not show (False). Scores and path are given what is known.
                `ask`: Whether to return `question` too, the open label whose yes or no would tell most of the whole set
                    (None where all is as good as known), as a label and its probability beside `labels`.

        Raises:
            ValueError: A data set has not one column of images, an image cannot be read, or an argument is out of its
                range or names a label that the model does not have.
            TypeError: There is no such argument; the message names the nearest.
        """
        inputs = images_of(inputs, ImageSequence)
        if isinstance(inputs, list | ImageSequence) and not len(inputs):
            return []
        if batch_size is None and self._batch_size is None and isinstance(inputs, list | ImageSequence):
            batch_size = min(len(inputs), AT_ONCE)
        outputs = super().__call__(inputs, *args, batch_size=batch_size, **kwargs)
        return list(outputs) if isinstance(inputs, ImageSequence) else outputs

    @naming_nearest("batch_size", "num_workers")
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
        ask: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Sort the arguments of `__call__` to the stage that takes them.

        Raises:
            ValueError: An argument is out of its range, or names a label that the model does not have.
            TypeError: There is no such argument; the message names the nearest.
        """
        self.answers.check(threshold, top_k, beam_width, decision, timeout, return_path=return_path, ask=ask)
        state = None if known is None else self.known_labels(known)
        given: dict[str, Any] = {"threshold": threshold, "top_k": top_k, "return_path": return_path}
        given |= {"decision": decision, "ask": ask, "known": None if state is None else state[0].numpy()}
        forward = {
            "beam_width": beam_width,
            "return_path": True if decision == "path" else return_path,
            "known_labels": state,
            "sets": True if decision == "set" else None,
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
        return dict(self.image_processor(images=read_image(image, timeout), return_tensors="pt").to(self.dtype))

    def _forward(
        self,
        inputs: dict[str, Any],
        beam_width: int | None = None,
        return_path: bool = False,
        known_labels: torch.Tensor | None = None,
        sets: bool = False,
    ) -> dict[str, torch.Tensor]:
        """The logits and, where asked for, the paths with their scores and the best whole set."""
        if known_labels is not None:
            pixel_values = inputs["pixel_values"]
            known_labels = known_labels.to(pixel_values.device).expand(len(pixel_values), -1)
        with evaluation_of(self.model):
            if not (return_path or sets) and beam_width is None:
                return {"logits": self.model(**inputs, known_labels=known_labels, return_dict=True).logits}
            output = self.model.generate(**inputs, beam_width=beam_width, known_labels=known_labels, sets=sets)
        names = ("logits", *(WALK if return_path else ()), *(("sets",) if sets else ()))
        return {name: output[name] for name in names}

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        **choice: Any,
    ) -> Any:
        """Labels of one image that are chosen, best first, and the path and the next question where asked for."""
        scores = probabilities_of(outputs["logits"][0], self.model)
        walk = {name: outputs[name][0].float().cpu().numpy() for name in (*WALK, "sets") if name in outputs}
        return self.answers.choose(scores.cpu().numpy(), walk, **choice)

    @property
    def answers(self) -> LabelAnswers:
        """What chooses the labels."""
        return LabelAnswers(self.model.config, self.model.rules)

    def known_labels(self, known: Mapping[str, bool]) -> torch.Tensor:
        """What is known (1, C): 1 confirmed, -1 ruled out, 0 open.

        Raises:
            ValueError: The model has no such label, or the answer is neither True nor False.
        """
        return torch.from_numpy(self.answers.known(known)[None])


class ImageSequence(torch.utils.data.Dataset):
    """Images that are read one at a time, when their turn comes."""

    def __init__(self, images: Sequence[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index]


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


# Here, not in the package's own registrations, so that a pipeline of a folder's copy can be saved again.
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=MultiLabelImageClassificationPipeline,
    pt_model=AutoModelForImageClassification,
    type="image",
)
