"""Training, from settings to a folder that `from_pretrained` takes."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from cnn_rnn.data import collate
from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .checkpoints import latest_checkpoint, save_checkpoint, write_json
from .evaluation import fit_on_held_out, measure
from .inputs import (
    CachedFeatures,
    SeededExamples,
    TrainingData,
    collate_features,
    eval_loader,
    load_training_data,
    position_seed,
    train_examples,
)
from .optimization import build_optimizer, build_schedule
from .prediction import Predictions, extract_features, predict
from .run_config import RunConfig

logger = logging.getLogger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss is NaN or infinite; the message names the images of the batch."""


@dataclass
class Progress:
    """Where a run stands; saved with each checkpoint.

    Attributes:
        epoch: Epochs that are complete.
        batch: Batches of the next epoch that are complete.
        step: Optimiser steps so far.
        loss_sum: Sum of the losses of those batches.
        best_value: Best figure on the held-out part so far, higher is better.
        best_epoch: Epoch that reached it, from 1.
        history: A record an epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_value: float = float("-inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """All of it, for Accelerate's checkpoints."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a checkpoint stood."""
        for name, value in state.items():
            setattr(self, name, value)


class Trainer:
    """One run: model, data, optimiser and progress, on however many processes Accelerate was launched with.

    Args:
        config: The run's settings.
        resume: "auto" for the run's latest checkpoint, if there is one; the path of a checkpoint; or None.
    """

    def __init__(self, config: RunConfig, resume: str | None = None) -> None:
        self.config = config
        self.output_dir = Path(config.train.output_dir)
        self.best_weights = self.output_dir / "checkpoints" / "best.safetensors"
        self.accelerator = Accelerator(
            mixed_precision=config.train.mixed_precision,
            dataloader_config=DataLoaderConfiguration(
                split_batches=True, use_seedable_sampler=True, data_seed=config.train.seed
            ),
        )
        set_seed(config.train.seed)
        self.data = load_training_data(config.data, config.train.seed)
        model = build_model(config, self.data)
        self.processor = CnnRnnImageProcessor.from_config(model.config)
        if config.train.freeze_backbone:
            model.freeze_backbone()
        optimizer = build_optimizer(model, config.train)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.train_loader, self.validation_loader = self._loaders()
        self.schedule = build_schedule(optimizer, config.train, config.train.epochs * len(self.train_loader))
        self.progress = Progress()
        self.accelerator.register_for_checkpointing(self.schedule, self.progress)
        self._start(resume)

    @property
    def plain_model(self) -> CnnRnnForImageClassification:
        """The model without what Accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    def train(self) -> dict[str, Any]:
        """Train to the end and save the model; returns the figures on the held-out part."""
        while self.progress.epoch < self.config.train.epochs:
            self._train_epoch()
            predictions = predict(self.model, self.validation_loader, self.accelerator, "validating")
            self._end_epoch(predictions)
        return self._finish()

    def _loaders(self) -> tuple[Any, Any]:
        """Batches to train on, shuffled, and those held out, over all processes."""
        train, data = self.config.train, self.data
        validation = eval_loader(data.validation, self.processor, train.batch_size, train.num_workers)
        batch_size = min(train.batch_size, len(data.train))
        if not train.cache_features:
            examples = train_examples(data.train, self.processor, self.config.data, train.seed)
            loader = DataLoader(
                examples, batch_size, shuffle=True, num_workers=train.num_workers, collate_fn=collate, drop_last=True
            )
            return self.accelerator.prepare(loader, validation)
        if not train.freeze_backbone:
            raise ValueError("train.cache_features needs train.freeze_backbone: a trained backbone's features change")
        in_order = eval_loader(data.train, self.processor, batch_size, train.num_workers)
        cached = [
            CachedFeatures(*extract_features(self.model, self.accelerator.prepare(loader), self.accelerator, name))
            for name, loader in (("training features", in_order), ("held-out features", validation))
        ]
        return self.accelerator.prepare(
            DataLoader(cached[0], batch_size, shuffle=True, collate_fn=collate_features, drop_last=True),
            DataLoader(cached[1], train.batch_size, collate_fn=collate_features),
        )

    def _start(self, resume: str | None) -> None:
        """Go to a checkpoint, or begin a new run in an empty folder."""
        checkpoint = latest_checkpoint(self.output_dir) if resume == "auto" else resume and Path(resume)
        if checkpoint:
            self.accelerator.load_state(str(checkpoint))
            self.accelerator.print(f"resumed {checkpoint} at epoch {self.progress.epoch}, batch {self.progress.batch}")
            return
        if resume is None and (self.output_dir / "history.jsonl").exists():
            raise FileExistsError(
                f"{self.output_dir} holds a run; continue it with --resume auto or choose another --train.output_dir"
            )
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self.config.save(self.output_dir / "run_config.yaml")

    def _train_epoch(self) -> None:
        """One pass over the training part, from wherever the progress stands."""
        progress, train = self.progress, self.config.train
        self.model.train()
        loader = self.train_loader
        loader.set_epoch(progress.epoch)
        if isinstance(loader.dataset, SeededExamples):
            loader.dataset.epoch = progress.epoch
        total = len(loader)
        batches = self.accelerator.skip_first_batches(loader, progress.batch) if progress.batch else loader
        with tqdm(
            total=total,
            initial=progress.batch,
            desc=f"epoch {progress.epoch + 1}/{train.epochs}",
            unit="batch",
            disable=not self.accelerator.is_main_process,
            leave=False,
        ) as bar:
            for batch in batches:
                loss = self._train_step(batch)
                progress.loss_sum += loss
                progress.batch += 1
                progress.step += 1
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}", lr=f"{self.schedule.get_last_lr()[-1]:.1e}")
                if train.save_steps and progress.step % train.save_steps == 0:
                    save_checkpoint(self.accelerator, self.output_dir, progress.step, train.keep_checkpoints)

    def _train_step(self, batch: dict[str, Any]) -> float:
        """One optimiser step; returns the mean loss over all processes."""
        train = self.config.train
        image_ids = batch.pop("image_id")
        # What dropout does depends on the position in the run alone, so resuming needs no random state.
        torch.manual_seed(position_seed(train.seed, self.progress.step, self.accelerator.process_index))
        loss: Tensor = self.model(**batch).loss
        mean_loss = self.accelerator.reduce(loss.detach(), reduction="mean").item()
        if not torch.isfinite(torch.tensor(mean_loss)):
            raise NonFiniteLossError(
                f"the loss is {mean_loss} at step {self.progress.step} (images {', '.join(image_ids)}); "
                "lower train.lr, or train with --train.mixed_precision no"
            )
        self.accelerator.backward(loss)
        if train.clip_grad_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), train.clip_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(mean_loss)

    def _end_epoch(self, predictions: Predictions) -> None:
        """Measure on the held-out part, keep the best weights, and record the epoch."""
        progress, train = self.progress, self.config.train
        figures = measure(predictions, self.data.label_names)
        headline = headline_figures(figures)
        train_loss = progress.loss_sum / max(progress.batch, 1)
        value = -train_loss if train.best_metric == "loss" else headline[train.best_metric] or 0.0
        progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
        record = {"epoch": progress.epoch, "step": progress.step, "loss": train_loss, **headline}
        progress.history.append(record)
        best = value >= progress.best_value  # of equals the last: it was trained longest
        if best:
            progress.best_value, progress.best_epoch = value, progress.epoch
        if self.accelerator.is_main_process:
            if best:
                temporary = self.best_weights.with_suffix(".tmp")
                temporary.parent.mkdir(parents=True, exist_ok=True)
                save_file(self.plain_model.state_dict(), temporary)
                temporary.replace(self.best_weights)
            lines = "".join(json.dumps(record) + "\n" for record in progress.history)
            (self.output_dir / "history.jsonl").write_text(lines, encoding="utf-8")
            shown = "  ".join(f"{name} {100 * value:.1f}" for name, value in headline.items() if value is not None)
            tqdm.write(f"epoch {progress.epoch:3d}  loss {train_loss:.3f}  {shown}{'  best' if best else ''}")
        save_checkpoint(self.accelerator, self.output_dir, progress.step, train.keep_checkpoints)

    def _finish(self) -> dict[str, Any]:
        """Best weights, with fusion and thresholds fitted on the held-out part, saved for `from_pretrained`."""
        model = self.plain_model
        model.load_state_dict(load_file(self.best_weights, device=str(self.accelerator.device)))
        predictions = predict(self.model, self.validation_loader, self.accelerator, "fitting on the held-out part")
        predictions = fit_on_held_out(model, predictions)
        figures = measure(predictions, self.data.label_names, model.config.thresholds)
        figures |= {"split": "held-out", "best_epoch": self.progress.best_epoch, "run": self.data.counts()}
        if self.accelerator.is_main_process:
            save_model(model, self.processor, self.output_dir)
            write_json(self.output_dir / "metrics.json", figures)
        self.accelerator.wait_for_everyone()
        return figures


def headline_figures(figures: dict[str, Any]) -> dict[str, float | None]:
    """The figures that stand for the rest: mAP, and CF1 and OF1 of the predicted set, by path where there is one."""
    sets = figures.get("path") or figures["threshold"]
    return {"mAP": figures["mAP"], "CF1": sets["CF1"], "OF1": sets["OF1"]}


def build_model(config: RunConfig, data: TrainingData) -> CnnRnnForImageClassification:
    """A new model for the data's labels."""
    fields = dict(config.model)
    backbone = fields.pop("backbone", "resnet50")
    return CnnRnnForImageClassification.from_backbone(
        backbone, fields.pop("weights", None), id2label=data.label_names, label_counts=data.label_counts, **fields
    )


def save_model(model: CnnRnnForImageClassification, processor: CnnRnnImageProcessor, folder: Path) -> None:
    """Write weights, config, preprocessing and code, each file whole or not at all."""
    from cnn_rnn.pipeline_cnn_rnn import MultiLabelImageClassificationPipeline

    temporary = folder / ".saving"
    shutil.rmtree(temporary, ignore_errors=True)
    MultiLabelImageClassificationPipeline(model=model, image_processor=processor).save_pretrained(temporary)
    for file in sorted(temporary.iterdir()):
        file.replace(folder / file.name)
    temporary.rmdir()
