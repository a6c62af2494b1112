"""A bulk job shared out by Ray Data: the same parts in the same folder, made by actors in place of launched processes.

An actor takes a part as any process does, so rows, resuming and joining in are those of the other engine. An actor that
dies loses the lock of its part, and Ray gives that part to another one. On a cluster all machines need the model, the
images and the output folder under the same names.
"""

from typing import Any

import torch

from .bulk_prediction import make_until_finished, predict_parts
from .job_folder import JobFolder, State
from .worker import JobSettings, open_folder, opened_by_torch, opened_without_torch

ROUNDS_OF_MENDING = 3  # after damaged parts
MOST_BLOCKS = 1000  # that Ray is to keep track of


class ActorFailedError(OSError):
    """Ray's actors stopped; the message has the reason of the one that was the first."""


class PartMaker:
    """An actor that makes the parts whose numbers it is given."""

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.opened = opened_by_torch(settings, device)
        self.folder = open_folder(settings, self.opened)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """How many of the parts were made."""
        parts = [int(part) for part in batch["part"]]
        made = predict_parts(
            self.opened.classify,
            self.folder,
            batch_size=self.settings.batch_size,
            num_workers=self.settings.num_workers,
            parts=parts,
            show=False,
        )
        return {"part": parts[:1], "made": [made]}


def label_with_ray(settings: JobSettings) -> tuple[JobFolder, State | None]:
    """The job's folder, and how it ended; None where it was finished before.

    Raises:
        ImportError: Ray is not installed.
        ActorFailedError: An actor stopped for a reason that the message tells.
        ValueError: A setting stands in the way.
        OSError: A file does.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("--engine ray needs Ray: pip install 'cnn-rnn[ray]'") from error
    opened = opened_without_torch(settings) or opened_by_torch(settings, "cpu")  # once, here: the actors find the graph
    folder = open_folder(settings, opened)
    if folder.is_finished():
        folder.leave()
        return folder, None
    folder.claim()
    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    if not ray.cluster_resources().get("GPU"):
        folder.said.append(opened.engine)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return folder, make_until_finished(folder, lambda: _make_missing(ray, settings, folder), ROUNDS_OF_MENDING)


def _make_missing(ray: Any, settings: JobSettings, folder: JobFolder) -> int:
    """How many parts the actors made."""
    from tqdm.auto import tqdm

    missing, _ = folder.missing()
    if not missing:
        return 0
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    actors = min(settings.actors or gpus or cores, len(missing))
    made = 0
    labelled = ray.data.from_items(
        [{"part": part} for part in missing], override_num_blocks=min(len(missing), MOST_BLOCKS)
    ).map_batches(
        PartMaker,
        fn_constructor_args=(settings,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_gpus=1 if gpus else 0,
        num_cpus=0 if gpus else min(1.0, cores / (actors + 1)),  # a core's share stays for Ray's own tasks
    )
    try:
        with tqdm(total=len(missing), desc=f"predicting ({actors} actors)", unit="part") as bar:
            for row in labelled.iter_rows():
                made += int(row["made"])
                bar.update()
    except ray.exceptions.RayError as error:
        raise ActorFailedError(str(getattr(error, "cause", None) or error).strip().splitlines()[-1]) from error
    return made
