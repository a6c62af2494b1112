"""What a run is: the blocks `model`, `data`, `train` and `hub` of a YAML file, overridden from the command line.

A value lives in one block. A key that no block knows is an error that names the nearest one, since a misspelt key that
is silently ignored costs a night of training.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassFieldValidationError

from cnn_rnn.configuration_cnn_rnn import CnnRnnConfig
from cnn_rnn.data.data_config import DataConfig
from cnn_rnn.foundation.one_line import told_in_one_line
from cnn_rnn.foundation.shipped_files import shipped_file
from cnn_rnn.foundation.whole_files import write_text
from cnn_rnn.nearest_names import did_you_mean

from .declared_settings import declared_settings
from .named_weights import is_model
from .settings_file import RunConfigError, coerce, expected, read_settings, value_of

MODEL_KEYS = sorted(setting.name for setting in declared_settings("model"))


@strict
@dataclass
class TrainConfig:
    """How a model is trained.

    Attributes:
        output_dir: Folder of the run; in the end `from_pretrained` takes it.
        epochs: Passes over the training part.
        batch_size: Images per optimiser step, over all processes and accumulated parts.
        accumulation_steps: Parts that a step's images go through the model in: less memory, the same step.
        lr: Learning rate of decoder and head.
        backbone_lr: Learning rate of the backbone as a multiple of `lr`.
        embedding_lr: Learning rate of the label embedding as a multiple of `lr`.
        optimizer: The paper's is rmsprop.
        momentum: Of sgd and rmsprop.
        weight_decay: Of weight matrices; norms, biases and embeddings have none.
        schedule: How the learning rate falls.
        warmup: Share of all steps over which the learning rate rises.
        clip_grad_norm: Largest norm of the gradient; 0 for no limit.
        freeze_backbone: Leave the backbone as it is.
        freeze_epochs: Leave the backbone as it is for so many epochs, then train it too.
        cache_features: Compute the image features of a frozen backbone once.
        cached_views: Views of every training image of which features are cached: the first as in evaluation, each
            further one augmented as the block `data` says; an epoch takes one of them at random.
        feature_cache: Folder that keeps those features for other runs; None for `features` beside `output_dir`.
        ema_decay: Share that the running average of the weights keeps per step (0.9998, say); it is then the model that
            is measured and saved. 0 for none.
        label_smoothing: How far the targets of the relevance loss move from 0 and 1 towards one half, 0..1.
        mixup: Beta parameter of mixing two images over one another, 0 for never.
        cutmix: Beta parameter of pasting a rectangle of another image, 0 for never.
        known_share: What training tells a model that takes in known labels (`model.known_labels` state): of each image
            a random share of all labels, present and absent alike, up to this one (C-Tran's is 0.75). 0 for what a
            person tells: of half of the images some labels that are there, and that others which look likely are not.
        early_stopping: Epochs without a better held-out figure after which training ends; 0 for never.
        best_metric: Figure on the held-out part by which the best epoch is kept.
        thresholds: "each" gives every label that enough held-out images show a threshold of its own, the one with its
            best F1; "common" gives all labels the one with the best O-F1, which few held-out images fit better.
        unfamiliar_share: Share of the held-out images, those whose best label is the least probable, that may count as
            like nothing that the model was trained on: no label of such images is named. 0 for models that always name
            what they expect.
        mixed_precision: Precision of the forward pass; "no" leaves it to the launcher, float32 where that says nothing.
        compile: Compile the backbone.
        gradient_checkpointing: Compute the backbone's activations again in the backward pass: slower, far less memory.
        channels_last: Keep images as (height, width, channel) in memory; faster for convolutions on a GPU.
        num_workers: Processes that load images, for each training process.
        save_steps: Steps between checkpoints; 0 for one at the end of each epoch.
        keep_checkpoints: How many of the last checkpoints stay.
        trackers: Names for Accelerate (tensorboard, trackio, wandb ...), separated by commas; "auto" for TensorBoard
            where it is installed, "none" for `history.jsonl` alone.
        seed: Of everything random.
        baseline: Train the plain relevance head alone, with all else as the settings say: what the path, the known
            labels, the prior and the neighbours have to beat.
    """

    output_dir: str = "runs/cnn-rnn"
    epochs: int = 20
    batch_size: int = 64
    accumulation_steps: int = 1
    lr: float = 1e-3
    backbone_lr: float = 0.1
    embedding_lr: float = 1.0
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Literal["cosine", "one_cycle", "linear", "constant"] = "cosine"
    warmup: float = 0.05
    clip_grad_norm: float = 1.0
    freeze_backbone: bool = False
    freeze_epochs: int = 0
    cache_features: bool = False
    cached_views: int = 1
    feature_cache: str | None = None
    ema_decay: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    known_share: float = 0.0
    early_stopping: int = 0
    best_metric: Literal["mAP", "CF1", "OF1", "loss"] = "mAP"
    thresholds: Literal["each", "common"] = "each"
    unfamiliar_share: float = 0.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    gradient_checkpointing: bool = False
    channels_last: bool = False
    num_workers: int = 2
    save_steps: int = 0
    keep_checkpoints: int = 2
    trackers: str = "auto"
    seed: int = 0
    baseline: bool = False

    def validate_ranges(self) -> None:
        """Refuse numbers out of range and settings that contradict each other; called when the block is made."""
        least = dict.fromkeys(("epochs", "batch_size", "accumulation_steps", "keep_checkpoints", "cached_views"), 1)
        least |= dict.fromkeys(("lr", "backbone_lr", "embedding_lr", "weight_decay", "clip_grad_norm"), 0)
        least |= dict.fromkeys(("freeze_epochs", "early_stopping", "num_workers", "save_steps", "mixup", "cutmix"), 0)
        least["seed"] = 0
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        for name in ("warmup", "ema_decay", "label_smoothing", "known_share", "unfamiliar_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, got {getattr(self, name)}")
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into accumulation_steps {self.accumulation_steps} parts"
            )
        if self.cache_features and not self.freeze_backbone:
            raise ValueError("cache_features needs freeze_backbone: a trained backbone's features change")
        if self.cached_views > 1 and not self.cache_features:
            raise ValueError("cached_views are views of cached features: they need cache_features")
        if self.cache_features and (self.mixup or self.cutmix):
            raise ValueError("mixup and cutmix mix images: they need cache_features false")
        if self.freeze_backbone and self.freeze_epochs:
            raise ValueError("freeze_backbone freezes for good, freeze_epochs for a while: give one of them")


@dataclass
class FirstWeights:
    """What a model begins with; in the block `model`, beside the fields of `CnnRnnConfig`.

    Attributes:
        weights: "imagenet" for the backbone's own (fetched from the Hub or its cache), "pip:NAME" for the file inside
            an installed package, the path of a weights file of the backbone, or the folder of a run, whose labels are
            matched by name; null for random ones.
    """

    weights: str | None = None


@strict
@dataclass
class HubConfig:
    """Where the model is published.

    Attributes:
        repo: Name on the Hub, such as `org/cnn-rnn-coco`; None keeps it at home.
        private: Whether only the owner sees it.
        license: Licence of the weights, as the Hub writes it.
        push_checkpoints: Push the model after each epoch to the branch `training` of the repository.
    """

    repo: str | None = None
    private: bool = False
    license: str = "apache-2.0"
    push_checkpoints: bool = False


@dataclass
class RunConfig:
    """A whole run; `model` holds what is given of `CnnRnnConfig`'s fields and of `FirstWeights`."""

    model: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    hub: HubConfig = field(default_factory=HubConfig)

    def save(self, path: Path) -> None:
        """Write the resolved settings as YAML, complete, so that the run can be repeated from this file."""
        write_text(path, yaml.safe_dump(asdict(self), sort_keys=False))


BLOCKS: dict[str, type] = {"data": DataConfig, "train": TrainConfig, "hub": HubConfig}


@told_in_one_line()
def load_run_config(config: str | Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings of a YAML file (none for the defaults), with `--block.key value` overrides.

    Where these name an earlier model to start from, its own settings take the place of the file's block `model`.

    Args:
        config: The file, or the bare name of settings that ship with the package, such as `voc2012`.
        overrides: `--block.key value` or `--block.key=value`, as a command line gives them.

    Raises:
        RunConfigError: The file is no YAML, or a block, key or value is not known; the message names the nearest.
        FileNotFoundError: There is no such file.
    """
    blocks: dict[str, dict[str, Any]] = {name: {} for name in ("model", *BLOCKS)}
    source = "the command line"
    if config is not None:
        path = find_settings(config)
        source = str(path)
        for name, values in read_settings(path).items():
            check_key(name, blocks, f"{source}: block")
            if not isinstance(values or {}, dict):
                raise RunConfigError(f"{source}: block {name!r} must hold 'key: value' lines, got {values!r}")
            blocks[name] |= {str(key): value for key, value in (values or {}).items()}
    known = {"model": MODEL_KEYS} | {name: [entry.name for entry in fields(block)] for name, block in BLOCKS.items()}
    for name, values in blocks.items():
        for key in values:
            check_key(key, known[name], f"{source}: key", prefix=f"{name}.")
    hints = {name: {entry.name: entry.type for entry in fields(block)} for name, block in BLOCKS.items()}
    hints["model"] = {entry.name: entry.type for block in (CnnRnnConfig, FirstWeights) for entry in fields(block)}
    of_file, blocks["model"] = blocks["model"], {}
    for name, key, text in parse_overrides(overrides):
        check_key(name, blocks, "the command line: block")
        check_key(key, known[name], "the command line: key", prefix=f"{name}.")
        try:
            blocks[name][key] = value_of(text, hints[name].get(key))
        except ValueError as error:
            raise RunConfigError(f"--{name}.{key}: cannot read the value {text!r}: {error}") from error
    if not is_model(blocks["model"].get("weights")):
        blocks["model"] = of_file | blocks["model"]
    typed = {name: typed_block(block, blocks[name], name) for name, block in BLOCKS.items()}
    if typed["hub"].push_checkpoints and typed["hub"].repo is None:
        raise RunConfigError("hub.push_checkpoints needs hub.repo, the name on the Hub to push to")
    own = hints["model"]
    model = {key: finite(coerce(value, own.get(key)), f"model.{key}") for key, value in blocks["model"].items()}
    typed_block(CnnRnnConfig, {key: model[key] for key in model.keys() - {"weights", "label_rules"}}, "model")
    return RunConfig(model=with_rules(model), **typed)


def find_settings(name: str | Path, folder: str = "hub_configs") -> Path:
    """The settings' file that a path, or the bare name of settings that ship in this folder, names.

    Raises:
        FileNotFoundError: There is neither; the message names what ships.
    """
    path, shipped = Path(name), shipped_file(folder)
    if path.is_file():
        return path
    if (shipped / f"{name}.yaml").is_file():
        return shipped / f"{name}.yaml"
    names = sorted(file.stem for file in shipped.glob("*.yaml"))
    meant = did_you_mean(path.stem, names)
    raise FileNotFoundError(
        f"no settings {str(name)!r}: no such file, and none of the settings that ship ({', '.join(names)})"
        + (f"; {meant}" if meant else "")
    )


def run_config_of(model: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings of a model's `run_config.yaml`, if `model` is a run's folder, else the defaults; with overrides.

    Raises:
        RunConfigError: A block, key or value is not known; the message names the nearest.
    """
    run = Path(model) / "run_config.yaml"
    return load_run_config(run if run.is_file() else None, overrides)


def with_rules(model: dict[str, Any]) -> dict[str, Any]:
    """The block `model` with the rules between labels that a YAML or JSON file holds, where it names one.

    Raises:
        RunConfigError: It is no such file.
    """
    if not isinstance(model.get("label_rules"), str):
        return model
    path = Path(model["label_rules"])
    if not path.is_file():
        raise RunConfigError(f"model.label_rules: there is no file {str(path)!r}; 'cnn-rnn data look' proposes rules")
    rules = read_settings(path, "`implies` and `excludes`")
    if not any(rules.values()):
        raise RunConfigError(f"model.label_rules: {path} holds no rule: write `implies` or `excludes`, or give null")
    return model | {"label_rules": rules}


def parse_overrides(arguments: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    """Block, key and value, as it was typed, of each `--block.key value` or `--block.key=value`."""
    rest = list(arguments)
    while rest:
        name, equals, text = rest.pop(0).partition("=")
        block, dot, key = name.removeprefix("--").partition(".")
        if not name.startswith("--") or not dot:
            raise RunConfigError(f"cannot read {name!r}; settings are written --block.key value, as in --train.lr 1e-4")
        if not equals:
            if not rest:
                raise RunConfigError(f"{name} has no value")
            text = rest.pop(0)
        yield block, key, text


def check_key(key: object, known: Iterable[str], where: str, prefix: str = "") -> None:
    """Refuse a key that is not known, with the nearest ones."""
    names = list(known)
    if key in names:
        return
    meant = did_you_mean(key, names, most=2, cutoff=0.5, shown=lambda name: prefix + name)
    hint = meant or f"known: {', '.join(names)}"
    raise RunConfigError(f"{where} {prefix + str(key)!r} is not known; {hint}")


def typed_block(block: type, values: Mapping[str, Any], name: str) -> Any:
    """The block's dataclass, its values checked against their types."""
    hints = {entry.name: entry.type for entry in fields(block)}
    typed = {key: finite(coerce(value, hints[key]), f"{name}.{key}") for key, value in values.items()}
    try:
        return block(**typed)
    except StrictDataclassFieldValidationError as error:
        key = str(error).split("'", 2)[1]
        raise RunConfigError(f"{name}.{key} is {typed[key]!r}, expected {expected(hints[key])}") from error
    except Exception as error:  # huggingface_hub's validation errors
        raise RunConfigError(f"{name}: {error.__cause__ or error}".replace("\n", " ")) from error


def finite(value: Any, name: str) -> Any:
    """The value; RunConfigError where it is NaN or infinite, with which nothing can be computed."""
    if isinstance(value, float) and not math.isfinite(value):
        raise RunConfigError(f"{name} is {value}; expected a number")
    return value
