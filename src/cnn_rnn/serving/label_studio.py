"""Label Studio's protocol for machine learning backends: tasks in, choices out, annotations learnt."""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cnn_rnn.data.photos.found_files import OWN_FOLDER
from cnn_rnn.learning.feature_store import FeatureStore, digest_of_photo, store_beside
from cnn_rnn.learning.learner import Seen

from .counts import Counts
from .label_config import Control, labels_in
from .refusals import RefusedError
from .service import Service
from .studio_photos import photo_of
from .studio_project import Expected, StudioProject

logger = logging.getLogger(__name__)

MOST_TASKS = 1000  # of one request
MOST_PROJECTS = 16
TASKS_AT_ONCE = 16  # tasks that are in the queue, so that others find room in it
ANNOTATED = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED")
DELETED = "ANNOTATIONS_DELETED"
PROJECT = re.compile(r"\d{1,18}(\.\d{1,18})?")  # as Label Studio calls one: its number, and when it was made


class KeptProjects:
    """Folders of projects, and what was seen of their photos.

    Args:
        folder: Below whose `.cnn-rnn` all lies; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.place = None if folder is None else folder / OWN_FOLDER / "label_studio"
        self.store = FeatureStore(None if folder is None else store_beside(folder))

    def folder(self, name: str) -> Path | None:
        """The folder of a project, made where it is not there; None where nothing can be kept of it."""
        if self.place is None or not PROJECT.fullmatch(name):
            return None
        try:
            self.place.parent.mkdir(exist_ok=True)
            self.place.mkdir(exist_ok=True)
        except OSError as error:
            logger.warning("%s: what Label Studio teaches is not kept there (%s)", self.place, error)
            return None
        return self.place / name

    def name_of(self, project: Mapping[str, Any], others: Iterable[str]) -> str:
        """What a project is called of which a webhook tells; where that does not say when it was made, the latest one.

        Args:
            project: As it is told.
            others: Names of projects that are at work.
        """
        number = str(project.get("id"))[:100]
        try:
            made = int(datetime.fromisoformat(str(project.get("created_at"))).timestamp())
        except (ValueError, OverflowError):
            kept = [] if self.place is None or not self.place.is_dir() else self.place.iterdir()
            in_order = sorted((path for path in kept if path.is_dir()), key=lambda path: path.stat().st_mtime)
            names = [name for name in (*(path.name for path in in_order), *others) if name.split(".")[0] == number]
            return names[-1] if names else number
        return f"{number}.{made}"


class LabelStudio:
    """What answers Label Studio.

    Args:
        service: What sees photos.
        counts: Where annotations are counted that were learnt from.
        folders: Where the photos of tasks may lie.
        kept: Where what is taught is kept, below `.cnn-rnn`; None to keep nothing.
    """

    def __init__(
        self, service: Service, counts: Counts, folders: Sequence[Path] = (), kept: Path | None = None
    ) -> None:
        self.service, self.counts, self.folders = service, counts, folders
        self.kept = KeptProjects(kept)
        self._projects: OrderedDict[str, StudioProject] = OrderedDict()

    def setup(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """What predictions are called now, for a project whose labels can be chosen from.

        Raises:
            RefusedError: It has no choices over a photo.
        """
        return {"model_version": self._project(content.get("project"), content.get("schema")).version}

    def versions(self) -> list[str]:
        """What the predictions of all projects are called."""
        return sorted({self.service.model.version, *(project.version for project in self._projects.values())})

    async def predict(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """What would be chosen in each task; what persons annotated in them is learnt first, where it is new.

        Raises:
            RefusedError: There are no tasks, or it cannot be chosen in this project.
        """
        tasks = content["tasks"]
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RefusedError(422, "tasks must be a list of objects")
        if len(tasks) > MOST_TASKS:
            raise RefusedError(413, f"{len(tasks):,} tasks at once; at most {MOST_TASKS:,}")
        project = self._project(content.get("project"), content.get("label_config"))
        params = content.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        free = asyncio.Semaphore(TASKS_AT_ONCE)

        async def taught(task: Mapping[str, Any]) -> None:
            for annotation in _objects(task.get("annotations")):
                async with free:
                    await self._learn(project, task, annotation)

        async def predicted(task: Mapping[str, Any]) -> dict[str, Any]:
            async with free:
                return await self._predict(project, task, context)

        await asyncio.gather(*map(taught, tasks))
        results = await asyncio.gather(*map(predicted, tasks))
        failed = [result["error"] for result in results if "error" in result]
        if failed:
            logger.warning("Label Studio: %s of %s tasks have no prediction: %s", len(failed), len(tasks), failed[0])
        return {"results": results, "model_version": project.version}

    async def webhook(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Learn what a person annotated, or forget what was deleted; says from how many annotations."""
        action, told = content.get("action"), content.get("project")
        learnt = 0
        if isinstance(told, dict) and action in (*ANNOTATED, DELETED):
            project = self._project(self.kept.name_of(told, self._projects), told.get("label_config"))
            if action == DELETED:
                gone = _objects(content.get("annotations"))
                learnt = sum([await self._learn(project, {}, {**one, "was_cancelled": True}) for one in gone])
            else:
                tasks = {str(task.get("id")): task for task in _objects(content.get("task"))}
                for annotation in _objects(content.get("annotation")):
                    task = tasks.get(str(annotation.get("task"))) or next(iter(tasks.values()), {})
                    learnt += await self._learn(project, task, annotation)
        return {"status": "ok", "learnt": learnt}

    def _project(self, name: Any, xml: Any) -> StudioProject:
        """The project of a name such as `1.1700000000`, with its configuration as it is now.

        Raises:
            RefusedError: It is none that can be labelled here.
        """
        key = str(name)[:100]
        project = self._projects.pop(key, None)
        if project is None:
            try:
                project = StudioProject(self.service.model, xml, self.kept.folder(key), self.kept.store)
            except (ValueError, OSError) as error:
                raise RefusedError(500, f"what project {key} taught cannot be read: {error}") from error
            if project.own:
                logger.warning(
                    "Label Studio, project %s: %s labels are not the model's, and begin with the first annotation: %s",
                    key, len(project.own), ", ".join(project.own[:10]),
                )  # fmt: skip
            if project.unseen:
                logger.warning(
                    "Label Studio, project %s: %s annotated photos were seen by another model or version: each teaches "
                    "again once its task is predicted anew",
                    key, len(project.unseen),
                )  # fmt: skip
        try:
            project.configure(xml)
        finally:
            self._projects[key] = project
        if len(self._projects) > MOST_PROJECTS:
            left, _ = self._projects.popitem(last=False)
            logger.warning("Label Studio, project %s: what it taught is forgotten, %s others came", left, MOST_PROJECTS)
        return project

    async def _learn(self, project: StudioProject, task: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
        """Learn what an annotation says, where that is new; whether anything was."""
        answers = {} if annotation.get("was_cancelled") else project.answers(annotation.get("result"))
        number = _id_of(annotation)
        if number is None or project.knows(str(number), answers):
            return False
        try:
            if not answers:
                return await asyncio.to_thread(project.forget, str(number))
            photo, seen, _ = await self._look(project, task, project.controls[0].field)
            learnt = await asyncio.to_thread(project.learn, str(number), photo, seen, answers)
        except (RefusedError, ValueError, OSError) as error:
            logger.warning("Label Studio, annotation %s: not learnt: %s", number, error)
            return False
        if learnt:
            self.counts.learn()
        else:
            logger.warning("Label Studio, annotation %s: not learnt, the project taught too many already", number)
        return learnt

    async def _look(
        self, project: StudioProject, task: Mapping[str, Any], field: str, known: Mapping[str, bool] | None = None
    ) -> tuple[str, Seen, Seen]:
        """A task's photo, named by both, as the model sees it while nothing is known of it, and given what is known."""
        content = await self._photo(task, field)
        photo = f"task {task.get('id')} {digest_of_photo(content)}"
        seen = await asyncio.to_thread(project.kept, photo)
        asked: list[Mapping[str, bool]] = ([{}] if seen is None else []) + ([known] if known else [])
        found = await self.service.look(content, asked) if asked else []
        if seen is None:
            seen = found[0]
            await asyncio.to_thread(project.keep, photo, seen)
        return photo, seen, found[-1] if known else seen

    async def _photo(self, task: Mapping[str, Any], field: str) -> bytes:
        """The bytes of a task's photo; RefusedError where it cannot be reached."""
        data = task.get("data")
        address = data.get(field) if isinstance(data, dict) else None
        return await asyncio.to_thread(photo_of, address, self.folders, self.service.limits.body)

    async def _predict(self, project: StudioProject, task: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """What would be chosen in one task, or why nothing can be said."""
        results: list[dict[str, Any]] = []
        told = {"result": results, "score": 0.0, "model_version": project.version}
        try:
            for field in dict.fromkeys(control.field for control in project.controls):
                own = [control for control in project.controls if control.field == field]
                chosen = project.named(chosen_in(task, context, own))
                known = dict.fromkeys(chosen, True)
                of_model = {name: True for name in chosen if name in self.service.model.thresholds}
                photo, seen, given = await self._look(project, task, field, of_model)
                expected = await asyncio.to_thread(project.expect, photo, seen, given, known)
                results += [found for one in own if (found := as_result(one, project, expected, known)) is not None]
        except RefusedError as error:
            return told | {"result": [], "error": str(error)}
        scores = [result["score"] for result in results]
        return told | {"score": sum(scores) / len(scores) if scores else 0.0}


def chosen_in(task: Mapping[str, Any], context: Any, controls: Sequence[Control]) -> list[str]:
    """Labels that are chosen so far, by the latest that is known of it: the page at work, a draft, an annotation."""
    for source in (context, *_objects(task.get("drafts"))[-1:], *_objects(task.get("annotations"))[-1:]):
        found = labels_in(source.get("result") if isinstance(source, dict) else None, controls)
        if found:
            return found
    return []


def as_result(
    control: Control, project: StudioProject, expected: Expected, known: Mapping[str, bool]
) -> dict[str, Any] | None:
    """What would be chosen from a control, as an annotation says it, with its mean probability; None for nothing."""
    own = {project.names[path[-1].casefold()]: path for path in control.paths.values()}
    ranked = sorted(expected.present, key=lambda name: -expected.probabilities[name])
    scored = {name: 1.0 if name in known else expected.probabilities[name] for name in [*known, *ranked] if name in own}
    if not scored:
        return None
    if control.single:
        best = max(scored, key=lambda name: scored[name])
        scored = {best: scored[best]}
    return {
        "from_name": control.name,
        "to_name": control.image,
        "type": control.kind,
        "value": control.value([own[name] for name in scored]),
        "score": sum(scored.values()) / len(scored),
    }


def _objects(given: Any) -> list[dict[str, Any]]:
    """The objects that are given, one or a list of them."""
    return [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)]


def _id_of(annotation: Mapping[str, Any]) -> int | str | None:
    """What tells an annotation from others; None where it is no such thing."""
    number = annotation.get("id")
    return number if isinstance(number, int | str) else None
