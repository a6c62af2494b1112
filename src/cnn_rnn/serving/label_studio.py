"""Label Studio's protocol for machine learning backends: tasks in, what would be chosen out."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .label_config import Control, read_controls
from .refusals import RefusedError
from .service import Service
from .studio_photos import photo_of

logger = logging.getLogger(__name__)

MOST_TASKS = 1000  # of one request
AT_ONCE = 16  # of them that are in the queue, so that others find room in it


@dataclass(frozen=True)
class Expected:
    """What is expected of a photo: the probability of each label, and which of them are taken for present."""

    probabilities: Mapping[str, float]
    present: Sequence[str]


class LabelStudio:
    """What answers Label Studio.

    Args:
        service: What labels photos.
        folders: Where the photos of tasks may lie.
    """

    def __init__(self, service: Service, folders: Sequence[Path] = ()) -> None:
        self.service, self.folders = service, folders
        self._told = ""

    def version(self) -> str:
        """What predictions are called; another one once something was learnt, so that they are asked for again."""
        return self.service.model.version

    def setup(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The model's version, for a project whose labels can be chosen from.

        Raises:
            RefusedError: It has no choices over a photo.
        """
        self._tell_unknown(read_controls(content.get("schema")))
        return {"model_version": self.version()}

    async def predict(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """What would be chosen in each task.

        Raises:
            RefusedError: There are no tasks, or it cannot be chosen in this project.
        """
        tasks = content["tasks"]
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RefusedError(422, "tasks must be a list of objects")
        if len(tasks) > MOST_TASKS:
            raise RefusedError(413, f"{len(tasks):,} tasks at once; at most {MOST_TASKS:,}")
        controls = read_controls(content.get("label_config"))
        context = (content.get("params") or {}).get("context") if isinstance(content.get("params"), dict) else None
        free = asyncio.Semaphore(AT_ONCE)

        async def predicted(task: Mapping[str, Any]) -> dict[str, Any]:
            async with free:
                return await self._predict(task, controls, context)

        results = await asyncio.gather(*map(predicted, tasks))
        failed = [result["error"] for result in results if "error" in result]
        if failed:
            logger.warning("Label Studio: %s of %s tasks have no prediction: %s", len(failed), len(tasks), failed[0])
        return {"results": results, "model_version": self.version()}

    async def webhook(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of what happened in Label Studio."""
        return {"status": "ok", "action": str(content.get("action"))[:100]}

    def _tell_unknown(self, controls: Sequence[Control]) -> None:
        """Name the choices that are no labels of the model, once for a project that asks again and again."""
        told = "; ".join(
            f"{len(unknown)} of {len(control.paths)} labels of {control.name} are not the model's: "
            f"{', '.join(unknown[:10])}"
            for control in controls
            if (unknown := [label for label in control.labels if label.casefold() not in self.service.model.ids])
        )
        if told != self._told:
            logger.warning("Label Studio: %s", told)
            self._told = told

    async def _predict(self, task: Mapping[str, Any], controls: Sequence[Control], context: Any) -> dict[str, Any]:
        """What would be chosen in one task, or why nothing can be said."""
        told = {"result": [], "score": 0.0, "model_version": self.version()}
        data = task.get("data")
        try:
            results = []
            for field in dict.fromkeys(control.field for control in controls):
                address = data.get(field) if isinstance(data, dict) else None
                photo = await asyncio.to_thread(photo_of, address, self.folders, self.service.limits.body)
                own = [control for control in controls if control.field == field]
                chosen = chosen_in(task, context, own)
                expected = await self._expect(photo, chosen)
                results += [result for control in own if (result := as_result(control, expected, chosen)) is not None]
        except RefusedError as error:
            return told | {"error": str(error)}
        scores = [result["score"] for result in results]
        return told | {"result": results, "score": sum(scores) / len(scores) if scores else 0.0}

    async def _expect(self, photo: bytes, chosen: Sequence[str]) -> Expected:
        """What is expected of a photo in which labels are chosen already."""
        model = self.service.model
        known = {name: True for label in chosen if (name := model.ids.get(label.casefold())) is not None}
        answer = await self.service.label(photo, {"known": known, "threshold": 0.0})
        probabilities = {one["label"]: one["score"] for one in answer["labels"]}
        present = [name for name, value in probabilities.items() if value >= model.thresholds[name]]
        return Expected(probabilities, present)


def chosen_in(task: Mapping[str, Any], context: Any, controls: Sequence[Control]) -> list[str]:
    """Labels that are chosen so far, by the latest that is known of it: the page at work, a draft, an annotation."""
    sources = [context, *_last(task.get("drafts")), *_last(task.get("annotations"))]
    for source in sources:
        results = source.get("result") if isinstance(source, dict) else None
        found = labels_in(results, controls)
        if found:
            return found
    return []


def labels_in(results: Any, controls: Sequence[Control]) -> list[str]:
    """Labels that an annotation's results choose."""
    by_name: dict[Any, Control] = {control.name: control for control in controls}
    found: dict[str, None] = {}
    for result in results if isinstance(results, list) else ():
        control = by_name.get(result.get("from_name")) if isinstance(result, dict) else None
        if control is not None:
            found |= dict.fromkeys(control.labels_of(result.get("value")))
    return list(found)


def as_result(control: Control, expected: Expected, chosen: Sequence[str]) -> dict[str, Any] | None:
    """What would be chosen from a control, as an annotation says it, with its mean probability; None for nothing."""
    certain = {label.casefold() for label in chosen}
    scored: dict[tuple[str, ...], float] = {}
    for label in [*chosen, *sorted(expected.present, key=lambda name: -expected.probabilities[name])]:
        path = control.chosen(label)
        if path is not None:
            scored.setdefault(path, 1.0 if label.casefold() in certain else expected.probabilities[label])
    if not scored:
        return None
    if control.single:
        best = max(scored, key=lambda path: scored[path])
        scored = {best: scored[best]}
    return {
        "from_name": control.name,
        "to_name": control.image,
        "type": control.kind,
        "value": control.value(list(scored)),
        "score": sum(scored.values()) / len(scored),
    }


def _last(given: Any) -> Iterator[Any]:
    """The last of a list; nothing of anything else."""
    if isinstance(given, list) and given:
        yield given[-1]
