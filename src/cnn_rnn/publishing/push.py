"""Publishing: a run's folder, or a folder of Parquet shards, as one commit on the Hub, with its card.

A push is checked and complete before the first byte leaves, and it is one commit: whoever reads the repository sees all
of it or nothing. Only files that are named here are published; a pickle is none of them.
"""

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import yaml
from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
from huggingface_hub.errors import HFValidationError
from PIL import Image
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_import_files

from cnn_rnn.data import decode_image
from cnn_rnn.foundation.hub_errors import HTTP_ERROR, WAYS_OUT, HubError, reason_of
from cnn_rnn.prediction.kept_graphs import WEIGHTS
from cnn_rnn.prediction.saved_model import SavedModel, checked_config

from .card_figures import CardError, CardFigures
from .model_card import EXAMPLE, Sources, make_card

SAVED_FILES = (WEIGHTS, "config.json", "preprocessor_config.json")
HANDLER = "handler.py"  # the name that Inference Endpoints look for
# What their machines may lack; torch is their own, made for their processors.
REQUIREMENTS = b"timm>=1.0.31\ntransformers>=5.24\n"
CHECKPOINT_BRANCH = "training"
EXAMPLE_SIDE = 640  # pixels of the longer side of a photo to try a model with

Files = dict[str, Path | bytes]
"""What is published, by its path in the repository."""

WAYS_TO_WRITE = WAYS_OUT | {403: "the token may not write there: use one with write access, and a name that is yours"}


def model_files(
    folder: Path,
    repo: str,
    metrics: Path,
    *,
    data_note: str | None = None,
    license_name: str | None = None,
    photo: Path | None = None,
    rival: Path | None = None,
    sources: Sources | None = None,
) -> Files:
    """Everything that is published of a run: model, code, settings, figures and card.

    Args:
        folder: The run's folder.
        repo: Its name on the Hub, such as `org/cnn-rnn-coco`.
        metrics: Figures that `cnn-rnn validate` measured on a test split.
        data_note: Where the training images come from and how that biases the model, see `make_card`.
        license_name: Licence of the weights; that of the run's settings where None.
        photo: A photo to try the model with on its page, which is published with it.
        rival: Figures of a plain head that was trained and measured alike, to stand beside the model's.
        sources: Photos of each label by the set that they come from, see `make_card`.

    Raises:
        UnreadableImageError: The photo cannot be read.
        CardError: Something that the card must say is not known.
        ValueError: The folder is no model of this package.
        FileNotFoundError: A file is missing.
    """
    files = saved_files(folder)
    run = run_settings(folder / "run_config.yaml")
    if license_name:
        run["hub"]["license"] = license_name
    figures = CardFigures(metrics)
    example = {} if photo is None else {EXAMPLE: small_photo(photo)}
    card = make_card(
        repo,
        checked_config(folder),
        figures,
        run,
        data_note=data_note,
        has_example=photo is not None,
        rival=None if rival is None else CardFigures(rival),
        sources=sources,
        read=lines_read(folder),
    )
    SavedModel.load(folder)  # weights that are all there, and finite
    published = {name: value for name, value in figures.content.items() if name != "unreadable_images"}
    return {
        **files,
        **endpoint_files(),
        **example,
        "run_config.yaml": yaml.safe_dump(run, sort_keys=False).encode(),
        "metrics.json": json.dumps(published | {"model": repo}, indent=2).encode(),
        "README.md": card.content.encode(),
    }


def lines_read(folder: Path) -> list[str]:
    """What a run's training read, a line a part, as it printed it; none where the run did not note it."""
    try:
        figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    run = figures.get("run") if isinstance(figures, Mapping) else None
    return [str(line) for line in run.get("read") or ()] if isinstance(run, Mapping) else []


def endpoint_files() -> Files:
    """What Inference Endpoints of the Hub need beside a model: the class that they call, and what it needs."""
    return {HANDLER: Path(__file__).with_name(HANDLER), "requirements.txt": REQUIREMENTS}


def small_photo(photo: Path) -> bytes:
    """A photo small enough for a page, as JPEG without what a camera writes beside it, such as the place."""
    picture = decode_image(photo, str(photo))
    picture.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    out = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(out, "JPEG", quality=88)
    return out.getvalue()


def saved_files(folder: Path) -> Files:
    """Weights, config, preprocessing and code of a saved model, after a look into each.

    Raises:
        ValueError: The weights are no safetensors, or the config is another model's.
        FileNotFoundError: A file is missing.
    """
    return saved_model_files(folder) | {name: folder / name for name in code_files(folder)}


def saved_model_files(folder: Path) -> Files:
    """Weights, config and preprocessing of a saved model, after a look into each, for where the package is at hand.

    Raises:
        ValueError: The weights are no safetensors, or the config is another model's.
        FileNotFoundError: A file is missing.
    """
    missing = [name for name in SAVED_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}; give the folder of a finished run (cnn-rnn train)"
        )
    checked_config(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as weights:
            weights.keys()
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is no readable safetensors file: {error}") from error
    return {name: folder / name for name in SAVED_FILES}


def code_files(folder: Path) -> list[str]:
    """Names of the code files that the config points to, and of those that these import.

    Raises:
        FileNotFoundError: One of them is missing.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = [*config.get("auto_map", {}).values()]
    named += [pipeline["impl"] for pipeline in config.get("custom_pipelines", {}).values()]
    entries = {f"{reference.partition('.')[0]}.py" for reference in named}
    missing = sorted(name for name in entries if not (folder / name).is_file())
    if missing or not entries:
        raise FileNotFoundError(
            f"{folder} lacks the code that its config names ({', '.join(missing) or 'no auto_map'}); save the model "
            "with its pipeline's save_pretrained"
        )
    imported = {Path(file).name for name in entries for file in get_relative_import_files(str(folder / name))}
    return sorted(entries | imported)


def run_settings(path: Path) -> dict[str, Any]:
    """The settings of a run without the paths of the machine that it ran on.

    Raises:
        CardError: There are none.
    """
    try:
        run: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        run["data"]["root"] = None
        run["train"]["output_dir"] = Path(run["train"]["output_dir"]).name
        run["train"]["feature_cache"] = None
        run = {block: _without_folders(values) for block, values in run.items()}
    except Exception as error:  # of whatever stands there
        raise CardError(f"{path} does not hold the settings of a run ({error!r}); cnn-rnn train writes it") from error
    return run


def _without_folders(value: Any) -> Any:
    """The settings with the bare name in place of every path that only the machine of the run knows."""
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_folders(entry) for entry in value]
    if isinstance(value, str) and (
        value.startswith(("~", "\\\\")) or PureWindowsPath(value).root or PureWindowsPath(value).drive
    ):
        return PureWindowsPath(value).name  # knows both slashes
    return value


def dataset_files(folder: Path) -> Files:
    """The shards and the card of a folder that `cnn_rnn.data.write_parquet` made.

    Raises:
        FileNotFoundError: It holds no shards or no card.
    """
    shards = sorted(folder.glob("data/*.parquet"))
    if not shards or not (folder / "README.md").is_file():
        raise FileNotFoundError(
            f"{folder} holds no data/*.parquet beside a card README.md; cnn-rnn data convert writes both"
        )
    return {"README.md": folder / "README.md", **{f"data/{shard.name}": shard for shard in shards}}


def push(
    files: Files,
    repo: str,
    *,
    message: str,
    repo_type: str = "model",
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    api: HfApi | None = None,
) -> CommitInfo:
    """The one commit that holds all the files; a repository or branch that is not there yet is made.

    Args:
        files: What is published.
        repo: Name on the Hub, such as `org/cnn-rnn-coco`.
        message: What the commit's message says.
        repo_type: "model", "dataset" or "space".
        private: Whether a repository that is made is seen by its owner alone.
        revision: Branch to commit to; main where None.
        create_pr: Propose the commit as a pull request in place of making it.
        api: The client; one of the environment's Hub and token where None.

    Raises:
        HubError: It did not happen, and no revision was changed; the message says why.
    """
    client = api or HfApi()
    with publishing_errors(repo):
        sdk = "gradio" if repo_type == "space" else None
        client.create_repo(repo, repo_type=repo_type, private=private, exist_ok=True, space_sdk=sdk)
        if revision is not None and not create_pr:
            client.create_branch(repo, branch=revision, repo_type=repo_type, exist_ok=True)
        return client.create_commit(
            repo,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
        )


def push_checkpoint(
    model: Any, image_processor: Any, repo: str, *, step: int, private: bool = True, api: HfApi | None = None
) -> CommitInfo:
    """The commit of a model in the middle of its training, on the branch `training`, which main knows nothing of.

    It has no card, since nothing has been measured yet; whoever knows the branch loads it with `revision="training"`.

    Raises:
        HubError: It did not happen. Training need not stop for it: the next checkpoint holds all that this one does.
    """
    from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pipeline = MultiLabelImageClassificationPipeline(
            model=model,
            image_processor=image_processor,
            device=model.device,  # a model in training stays where it is
        )
        pipeline.save_pretrained(folder)
        return push(
            saved_files(folder),
            repo,
            message=f"Training, step {step}",
            private=private,
            revision=CHECKPOINT_BRANCH,
            api=api,
        )


@contextmanager
def publishing_errors(repo: str) -> Iterator[None]:
    """Turn whatever the client raises into one sentence with a way out."""
    try:
        yield
    except HFValidationError as error:
        raise HubError(f"{repo!r} is no name of a repository: {error}; expected org/NAME") from error
    except (HTTP_ERROR, RuntimeError, ValueError, OSError) as error:
        reason = reason_of(error, WAYS_TO_WRITE)
        raise HubError(f"{repo} was not published, no revision was changed; {reason}") from error
