"""From the probabilities of an image's labels to those that are returned, by numpy alone."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .expected_f1 import chosen_by_expected_f1
from .nearest_names import did_you_mean

if TYPE_CHECKING:  # most models have none
    from .label_rules import LabelRules

CALIBRATED = "calibrated"
UNFAMILIAR = "like nothing that this model has seen"
NO_SET_WEIGHTS = (
    "this model was saved without set_weights, by which whole sets are weighed: train it again, or take decision='path'"
)
LONGEST_TIMEOUT = 86_400.0  # seconds; beyond some size of it the system has no such clock
SURE = 0.01  # a label is not asked about that is less likely wrong

Threshold = float | str | Mapping[str, float] | Sequence[float]
Decision = Literal["threshold", "expected_f1", "path", "set"]


def is_unfamiliar(probabilities: Any, familiar_from: float) -> bool:
    """Whether an image is like nothing that a model was trained on: none of its labels (C) is probable enough."""
    return bool(probabilities.max() < familiar_from)


def most_telling(probabilities: NDArray[Any], known: NDArray[Any] | None = None) -> int | None:
    """The open label whose answer is expected to tell most of the whole set; None where all is as good as known.

    A set decides each of its labels, so that what an answer tells of the set (the expected fall of its entropy) is the
    entropy of the label itself, whatever labels say of each other: the one nearest to one half tells most.

    Args:
        probabilities: Of the labels (C,), given what is known.
        known: 1 confirmed, -1 ruled out, 0 open (C,); None for nothing.
    """
    doubt = np.minimum(probabilities, 1 - probabilities)
    if known is not None:
        doubt = np.where(known == 0, doubt, 0.0)
    most = int(doubt.argmax())
    return most if doubt[most] >= SURE else None


class LabelAnswers:
    """What a model with these labels answers.

    Args:
        config: Its `CnnRnnConfig`, or what has the same labels and thresholds.
        rules: Its rules between labels, or None.
    """

    def __init__(self, config: Any, rules: "LabelRules | None" = None) -> None:
        self.config, self.rules = config, rules

    def check(
        self,
        threshold: Threshold | None = None,
        top_k: int | None = None,
        beam_width: int | None = None,
        decision: Decision | None = None,
        timeout: float | None = None,
        **flags: bool | None,
    ) -> None:
        """Refuse arguments of the pipeline that no answer can be chosen by; `flags` are those that are True or False.

        Raises:
            ValueError: An argument is out of its range, or contradicts another.
        """
        for name, value in (("top_k", top_k), ("beam_width", beam_width)):
            check_whole(name, value)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        seconds: Any = 1 if timeout is None else timeout
        if isinstance(timeout, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TIMEOUT:
            raise ValueError(f"timeout must be a number of seconds above 0, a day at most, got {timeout!r}")
        for name, flag in flags.items():
            if not isinstance(flag, bool | None):
                raise ValueError(f"{name} must be True or False, got {flag!r}")  # noqa: TRY004
        if threshold is not None:
            self.least(threshold)  # a wrong one is refused before any work is done
        for name, asked in (("return_path", bool(flags.get("return_path"))), ("beam_width", beam_width is not None)):
            if asked and not self.config.has_path_decoder:
                raise ValueError(f"{name} needs a path decoder, which this model has not: leave it out")
        self._check_decision(decision, threshold, top_k)

    def choose(
        self,
        scores: NDArray[np.float32],
        walk: Mapping[str, NDArray[Any]],
        *,
        threshold: Threshold | None = None,
        top_k: int | None = None,
        return_path: bool = False,
        decision: Decision | None = None,
        ask: bool = False,
        known: NDArray[np.int64] | None = None,
    ) -> Any:
        """Labels of one image that are chosen, best first, and the path and the next question where asked for.

        `scores` are probabilities (C,). `walk` has `paths` (K, T), `path_scores` (K,) and `step_scores` (K, T + 1),
        where the decision or the path needs them, and `sets` (C,), the best whole set, where the decision is that.
        `known` (C,) is 1 for confirmed, -1 for ruled out, 0 for open. The other arguments are the pipeline's.
        """
        config = self.config
        walked = [int(index) for index in walk["paths"][0] if index < config.num_labels] if "paths" in walk else []
        unfamiliar = is_unfamiliar(scores, config.familiar_from)
        if decision == "path":
            chosen = np.isin(np.arange(config.num_labels), walked)
        elif decision == "set":
            chosen = walk["sets"] > 0
        elif decision == "expected_f1":
            chosen = self._closed_by_expected_f1(scores) if self.rules else chosen_by_expected_f1(scores)
        elif unfamiliar and threshold is None and top_k is None:
            chosen = np.zeros(config.num_labels, bool)
        else:
            if threshold is None:
                threshold = self.own_thresholds() if top_k is None else 0.0
            chosen = scores >= np.array(self.least(threshold), np.float32)
            if known is not None:  # a threshold of 1 or 0, or so many labels, must not say otherwise
                chosen = (chosen | (known > 0)) & (known >= 0)
            if self.rules:
                chosen, top_k = self._closed(scores, chosen, top_k), None
        order = [index for index in np.argsort(-scores, kind="stable").tolist() if chosen[index]]
        values = scores.tolist()
        labels = [{"label": config.id2label[index], "score": values[index]} for index in order[:top_k]]
        answer: dict[str, Any] = {"labels": labels}
        if return_path:
            answer |= self._path(walk, walked) if "paths" in walk else {}  # a plain head has none
            answer |= {"unfamiliar": unfamiliar} if config.familiar_from else {}
        if ask:
            index = most_telling(scores, known)
            answer["question"] = None if index is None else {"label": config.id2label[index], "score": values[index]}
        return answer if return_path or ask else labels

    def _path(self, walk: Mapping[str, NDArray[Any]], walked: Sequence[int]) -> dict[str, Any]:
        """The best path of one image and its probability, from what `choose` is given and the labels on it."""
        steps = np.exp(walk["step_scores"][0].astype(np.float32)).tolist()
        return {
            "path": [
                {"label": self.config.id2label[index], "score": score}
                for index, score in zip(walked, steps, strict=False)  # the last step is END
            ],
            "path_score": float(np.exp(walk["path_scores"][0])),
        }

    def _closed_by_expected_f1(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The labels (C,) of the set with the greatest expected F1 among those that obey the rules."""
        from .closed_sets import pick_closed_by_expected_f1

        assert self.rules is not None
        return pick_closed_by_expected_f1(self.rules, scores[None].astype(np.float64))[0]

    def _closed(self, scores: NDArray[np.float32], wanted: NDArray[np.bool_], most: int | None) -> NDArray[np.bool_]:
        """The labels (C,) that are wanted, and what follows from them by the rules."""
        from .closed_sets import pick_closed

        assert self.rules is not None
        return pick_closed(self.rules, scores[None].astype(np.float64), wanted[None], most)[0]

    def known(self, known: Mapping[str, bool]) -> NDArray[np.int64]:
        """What is known (C,), with all that follows from it by the rules: 1 confirmed, -1 ruled out, 0 open.

        Raises:
            ValueError: The model has no such label, the answer is neither True nor False, the rules do not allow the
                answers together, or more labels are confirmed than a path holds.
        """
        if not isinstance(known, Mapping):
            raise ValueError(  # noqa: TRY004
                f"known is {{label: True or False, ...}} of all images of a call, got {str(known)[:60]!r}: call once "
                "for each image where they differ"
            )
        config = self.config
        for name, present in known.items():
            if name not in config.label2id:
                raise ValueError(unknown_label(name, config.label2id))
            if not isinstance(present, bool | np.bool_):
                raise ValueError(f"known[{name!r}] must be True (shown) or False (not shown), got {present!r}")  # noqa: TRY004
        if self.rules:
            from .ruled_answers import check_answers, complete

            check_answers(self.rules, known)
            known = complete(self.rules, known)
        state = np.zeros(config.num_labels, np.int64)
        for name, present in known.items():
            state[config.label2id[name]] = 1 if present else -1
        if config.has_path_decoder:
            check_confirmed(int((state > 0).sum()), config.max_path_length)
        return state

    def _check_decision(self, decision: str | None, threshold: Threshold | None, top_k: int | None) -> None:
        """Refuse a decision that there is not, or one beside another way of choosing labels."""
        if decision is None:
            return
        if decision not in get_args(Decision):
            raise ValueError(f"decision must be one of {', '.join(get_args(Decision))}, got {decision!r}")
        if decision != "threshold" and (threshold is not None or top_k is not None):
            raise ValueError(f"decision={decision!r} chooses the labels by itself: give no threshold and no top_k")
        if decision in {"path", "set"} and not self.config.has_path_decoder:
            raise ValueError(
                f"decision={decision!r} needs a path decoder, which this model has not: take 'expected_f1'"
            )
        if decision == "set" and self.config.set_weights is None:
            raise ValueError(NO_SET_WEIGHTS)

    def own_thresholds(self) -> list[float]:
        """The threshold of each label: the model's own, or else 0.5."""
        config = self.config
        return list(config.thresholds or [0.5] * config.num_labels)

    def least(self, threshold: Threshold) -> list[float]:
        """The least probability of each label (C).

        Raises:
            ValueError: It is no probability, or does not fit the model's labels.
        """
        config = self.config
        if isinstance(threshold, str):
            if threshold != CALIBRATED:
                raise ValueError(f"threshold is a number, one for each label or {CALIBRATED!r}, got {threshold!r}")
            if config.thresholds is None:
                raise ValueError("this model has no calibrated thresholds; give a number, or one for each label")
            return self.own_thresholds()
        if isinstance(threshold, Mapping):
            least = dict(zip(config.label_names, self.own_thresholds(), strict=True))
            for name, value in threshold.items():
                if name not in least:
                    raise ValueError(unknown_label(name, least))
                least[name] = np.asarray(value).tolist()
            values: list[Any] = list(least.values())
        else:
            given: Any = np.asarray(threshold).tolist()  # numpy's and torch's numbers too
            values = given if isinstance(given, list) else [given] * config.num_labels
        if len(values) != config.num_labels:
            raise ValueError(
                f"{len(values)} thresholds for {config.num_labels} labels: give one number, or one for each"
            )
        for value in values:
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
                raise ValueError(f"threshold is a probability in 0..1, got {value!r}")
        return [float(value) for value in values]


def check_whole(name: str, value: Any) -> None:
    """Refuse a number of things that is none.

    Raises:
        ValueError: It is no whole number and not None.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise ValueError(f"{name} must be a whole number, got {value!r}")


def check_confirmed(confirmed: int, longest: int) -> None:
    """Refuse more confirmed labels than a path can hold.

    Raises:
        ValueError: There are more.
    """
    if confirmed > longest:
        raise ValueError(f"{confirmed} labels are confirmed, but a path holds at most {longest}: raise max_path_length")


def unknown_label(name: object, labels: Iterable[str]) -> str:
    """What to say of a label that the model does not have, with the nearest one."""
    return f"the model has no label {name!r}" + did_you_mean(name, labels, shown=repr, front="; ")
