"""Training, from settings to a folder that `from_pretrained` takes."""

import logging
import math
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor
from tqdm.auto import tqdm

from cnn_rnn.data.batching.batches import SIGNALS, loading_errors
from cnn_rnn.data.data_config import train_transform
from cnn_rnn.foundation.hub_errors import HubError
from cnn_rnn.foundation.whole_files import write_json
from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.losses import relevance_loss
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction import Predictions, measure, predict
from cnn_rnn.publishing.push import push_checkpoint

from .agreement import decided_by_main, refuse_other_views, wait_until_seen
from .checkpoints import (
    checkpoint_name,
    load_checkpoint,
    load_weights,
    remove_leftovers,
    save_checkpoint,
    save_weights,
    weights_digest,
)
from .data_record import DataRecord, check_rows
from .faults import disk_advice, memory_advice, non_finite_loss
from .hardware import apply_memory_settings, build_accelerator, reach_sharded, share_buffers, to_memory_format
from .held_out import fit_on_held_out
from .interruption import Interrupted, SignalWatch
from .loaders import build_loaders, epoch_batches
from .model_files import build_model, rules_of_run, save_model
from .optimization import Objective, build_average, build_optimizer, build_schedule
from .records import HEADLINES, Progress, draw_curves, headline_figures, write_environment, write_history
from .remembering import Remembering
from .resuming import flat_settings, own_settings, starting_point, take_folder
from .run_config import RunConfig
from .set_weights import fit_sets
from .training_data import TrainingData, load_training_data, position_seed

logger = logging.getLogger(__name__)


class Trainer:
    """One run: model, data, optimiser and progress, on however many processes Accelerate was launched with.

    Args:
        config: The run's settings.
        resume: "auto" for the run's latest checkpoint, if there is one; the path of a checkpoint; or None.
        data: Rows to train on and to hold out; those of the settings where None.

    Raises:
        FileExistsError: The folder holds a run and `resume` is None.
        RunConfigError: Settings are not possible, or not those of the run to go on with.
        ValueError: Data or weights are not what the settings say.
    """

    def __init__(self, config: RunConfig, resume: str | None = None, data: TrainingData | None = None) -> None:
        self.watch = SignalWatch()
        self.config = config
        self.output_dir = Path(config.train.output_dir)
        self.best_weights = self.output_dir / "checkpoints" / "best.safetensors"
        self.accelerator = build_accelerator(config)
        self.lock = take_folder(self.output_dir, self.accelerator)
        try:
            self._prepare(resume, data)
        except BaseException:
            self.lock.abandon()
            raise

    def _prepare(self, resume: str | None, data: TrainingData | None) -> None:
        """Build everything of the run but its folder, and go to where it starts."""
        config, train = self.config, self.config.train
        checkpoint, self.damaged = starting_point(resume, config, self.accelerator)
        set_seed(train.seed)
        self.data = load_training_data(config.data, train.seed) if data is None else data
        refuse_other_views(*self.data.view())
        if checkpoint is not None:
            check_rows(checkpoint, self.output_dir, self.data.record)
        self.data = self.data.obeying(rules_of_run(config, self.data.label_names))
        self.accelerator.print(self.data.description())
        model = build_model(config, self.data)
        self.processor = CnnRnnImageProcessor.from_config(model.config)
        self.transform = train_transform(self.processor, config.data)
        if train.freeze_backbone:
            model.freeze_backbone()
        self.objective = Objective(train, model)
        optimizer = build_optimizer(model, train)
        self.average = build_average(model.to(self.accelerator.device), train)
        apply_memory_settings(model, train)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        reach_sharded(self.model, self.accelerator)
        with memory_advice(train), loading_errors():
            self.train_loader, self.validation_loader = build_loaders(
                config, self.data, self.plain_model, self.transform, self.accelerator
            )
        self.epoch_steps = len(self.train_loader) // train.accumulation_steps
        self.schedule = build_schedule(optimizer, train, train.epochs * self.epoch_steps)
        self.progress = Progress()
        self.accelerator.register_for_checkpointing(self.schedule, self.progress)
        if self.average is not None:
            self.accelerator.register_for_checkpointing(self.average)
        self._start(checkpoint)

    @property
    def plain_model(self) -> CnnRnnForImageClassification:
        """The model without what Accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def measured_model(self) -> Any:
        """The model that is measured and saved: the running average where there is one."""
        return self.model if self.average is None else self.average.module

    def train(self) -> dict[str, Any]:
        """Train to the end and save the model; returns the figures on the held-out part.

        Raises:
            Interrupted: SIGTERM or SIGINT came; a checkpoint is saved. A second signal ends the process at once.
            TrainingError: The run cannot go on: loss not finite, memory or disk full.
            UnreadableImageError: An image cannot be decoded.
            HubError: A stream broke off.
        """
        train = self.config.train
        with self.watch, self.lock.held(), memory_advice(train), loading_errors():
            while not self.progress.is_over(train.epochs, train.early_stopping):
                self._train_epoch()
                share_buffers(self.measured_model, self.accelerator)
                predictions = predict(
                    self.measured_model, self.validation_loader, self.accelerator, "validating", self._leave_if_asked
                )
                self._end_epoch(predictions)
                self._leave_if_asked()
            return self._finish()

    def _start(self, checkpoint: Path | None) -> None:
        """Go to the checkpoint, or begin a new run in an empty folder."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            for leftover in remove_leftovers(self.output_dir, self.damaged):
                self.accelerator.print(f"removed {leftover}, half written or damaged")
            if checkpoint is None:
                self.config.save(self.output_dir / "run_config.yaml")
            if DataRecord.read(self.output_dir) is None:
                self.data.record.write(self.output_dir)
            write_environment(self.output_dir, self.accelerator)
        self.accelerator.wait_for_everyone()
        if checkpoint is not None:
            load_checkpoint(self.accelerator, checkpoint)
            progress = self.progress
            if progress.best_epoch:
                load_weights(self.best_weights)  # asked for at the very end, so that its absence is told now
            self.accelerator.print(f"resumed {checkpoint} at epoch {progress.epoch}, step {progress.batch} of it")
        if self.accelerator.log_with:
            settings = {
                key: value if isinstance(value, int | float | str) else str(value)
                for key, value in flat_settings(self.config).items()
            }
            self.accelerator.init_trackers("cnn-rnn", config=settings)

    def _train_epoch(self) -> None:
        """One pass over the training part, from wherever the progress stands."""
        progress, train = self.progress, self.config.train
        if train.freeze_epochs:  # anew in each epoch, so that a resumed run needs to remember nothing of it
            self.plain_model.backbone.requires_grad_(progress.epoch >= train.freeze_epochs)
        self.model.train()
        done = progress.batch * train.accumulation_steps
        batches = iter(epoch_batches(self.accelerator, self.train_loader, progress.epoch, done))
        with tqdm(
            total=self.epoch_steps,
            initial=progress.batch,
            desc=f"epoch {progress.epoch + 1}/{train.epochs}",
            unit="step",
            disable=not self.accelerator.is_main_process,
            leave=False,
        ) as bar:
            for first in batches:  # to the loader's own end, at which Accelerate tidies up
                loss = self._train_step(chain([first], islice(batches, train.accumulation_steps - 1)))
                progress.finish_step(loss)
                rate = self.schedule.get_last_lr()[-1]
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}", lr=f"{rate:.1e}")
                self.accelerator.log({"train/loss": loss, "train/lr": rate}, step=progress.step)
                if train.save_steps and progress.step % train.save_steps == 0:
                    self._save()
                self._leave_if_asked()

    def _train_step(self, parts: Iterable[dict[str, Any]]) -> float:
        """One optimiser step on the parts of its batch; returns their mean loss over all processes."""
        train, accelerator = self.config.train, self.accelerator
        losses: list[Tensor] = []
        image_ids: list[str] = []
        for part, batch in enumerate(parts):
            image_ids += batch.pop("image_id")
            with accelerator.accumulate(self.model):
                # What dropout does depends on the position in the run alone, so resuming needs no random state.
                torch.manual_seed(position_seed(train.seed, self.progress.step, part, accelerator.process_index))
                with accelerator.autocast():
                    loss = self.objective(self.model, self._inputs(batch))
                accelerator.backward(loss)
                losses.append(loss.detach())
                if accelerator.sync_gradients:
                    mean_loss = float(accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item())
                    if not math.isfinite(mean_loss):
                        self._stop_at(mean_loss, image_ids)
                    self._update_weights()
        return mean_loss

    def _inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with pixel values, in the memory layout of the settings, in place of the loader's bytes."""
        batch = to_memory_format(batch, self.config.train)
        if "pixel_values" in batch:
            batch["pixel_values"] = self.transform.to_pixel_values(batch["pixel_values"])
        return batch

    def _update_weights(self) -> None:
        """Let optimiser, schedule and running average take their step along the gradients."""
        if self.config.train.clip_grad_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.train.clip_grad_norm)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:  # fp16 skips a step whose gradients overflow
            self.schedule.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.plain_model, step=self.progress.step + 1)

    def _stop_at(self, loss: float, image_ids: list[str]) -> None:
        """Write down which images gave a loss that is not finite, and stop."""
        everyone: list[str] = self.accelerator.gather_for_metrics(image_ids, use_gather_object=True)
        path = self.output_dir / "non_finite_loss.json"
        if self.accelerator.is_main_process:
            where = {"epoch": self.progress.epoch + 1, "step": self.progress.step + 1}
            write_json(path, where | {"loss": str(loss), "image_ids": everyone})
        self.accelerator.wait_for_everyone()
        raise non_finite_loss(
            f"the loss is {loss} at step {self.progress.step + 1}",
            self.plain_model,
            f"its {len(everyone)} images are named in {path}",
        )

    def _save(self) -> Path:
        """Save a checkpoint of where the run stands."""
        progress = self.progress
        name = checkpoint_name(progress.step, progress.epoch, progress.batch)
        keep = self.config.train.keep_checkpoints
        return save_checkpoint(self.accelerator, self.output_dir, name, keep, own_settings(self.config))

    def _leave_if_asked(self) -> None:
        """Where any process is asked to leave: save, and leave."""
        own = self.watch.asked
        # one process that left alone would keep the others waiting at their next exchange, so all ask all
        if not int(self.accelerator.reduce(torch.tensor([own], device=self.accelerator.device), reduction="sum")):
            return
        number = own or SIGNALS[0]
        checkpoint = self._save()
        if self.accelerator.is_main_process:
            draw_curves(self.output_dir, self.progress.history)
        raise Interrupted(number, f"stopped by signal {number}; saved {checkpoint}, go on with --resume auto")

    def _end_epoch(self, predictions: Predictions) -> None:
        """Measure on the held-out part, keep the best weights, and record the epoch."""
        progress = self.progress
        figures = headline_figures(measure(predictions, self.data.label_names, rules=self.plain_model.rules))
        figures["held_out_loss"] = relevance_loss(predictions.logits, predictions.targets).item()
        metric = self.config.train.best_metric
        # higher is better; a figure that so small a part does not define counts as 0
        value = -figures["held_out_loss"] if metric == "loss" else figures[metric] or 0.0
        best = progress.finish_epoch(figures, value)
        record = progress.history[-1]
        # in every process: where weights are spread over several, each gives its share
        weights = self.accelerator.get_state_dict(self.measured_model) if best else {}
        if self.accelerator.is_main_process:
            with disk_advice(self.output_dir):
                if best:
                    save_weights(weights, self.best_weights)
                write_history(self.output_dir, progress.history)
            shown = "  ".join(f"{name} {100 * figures[name]:.1f}" for name in HEADLINES if figures[name] is not None)
            loss = f"loss {record['loss']:.3f} (held out {figures['held_out_loss']:.3f})"
            tqdm.write(f"epoch {progress.epoch:3d}  {loss}  {shown}{'  best' if best else ''}")
        logged = {f"held_out/{name}": figure for name, figure in figures.items() if figure is not None}
        self.accelerator.log(logged | {"epoch": progress.epoch}, step=progress.step)
        self._save()
        if self.config.hub.push_checkpoints and self.accelerator.is_main_process:
            self._push_checkpoint()

    def _push_checkpoint(self) -> None:
        """Send the model to the Hub; a failure is told and does not stop the run."""
        hub = self.config.hub
        assert hub.repo is not None
        model = self.accelerator.unwrap_model(self.measured_model)
        try:
            push_checkpoint(model, self.processor, hub.repo, step=self.progress.step, private=hub.private)
        except HubError as error:
            logger.warning("the checkpoint stays at home: %s", error)

    def _finish(self) -> dict[str, Any]:
        """Best weights, with fusion and thresholds fitted on the held-out part, saved for `from_pretrained`."""
        # A model of its own, whole in every process, however training spread the weights.
        model = CnnRnnForImageClassification(self.plain_model.config)
        written = decided_by_main(self.accelerator, lambda: weights_digest(self.best_weights))
        wait_until_seen(self.best_weights, lambda path: weights_digest(path) == written)
        model.load_state_dict(load_weights(self.best_weights))
        model.to(self.accelerator.device)
        remembering = Remembering(model.eval(), self.processor, self.accelerator, self.config.train)
        if model.neighbours is not None:
            train, held_out = (self.data.train, self.train_loader), (self.data.validation, self.validation_loader)
            remembering.fill(train, held_out)
        description = "fitting on the held-out part"
        predictions = predict(model, self.validation_loader, self.accelerator, description, self._leave_if_asked)
        settings = self.config.train
        predictions = fit_on_held_out(model, predictions, settings.thresholds, settings.unfamiliar_share)
        if model.path_decoder is not None:
            fit_sets(model, self.validation_loader, self.accelerator, self._leave_if_asked)
        figures = measure(predictions, self.data.label_names, model.config.thresholds, rules=model.rules)
        if model.neighbours is not None:
            remembering.add_held_out()
        figures |= {"split": "held-out", "best_epoch": self.progress.best_epoch, "run": self.data.counts()}
        if self.accelerator.is_main_process:
            with disk_advice(self.output_dir):
                save_model(model, self.processor, self.output_dir)
                draw_curves(self.output_dir, self.progress.history)
                write_json(self.output_dir / "metrics.json", figures)
        self.accelerator.wait_for_everyone()
        return figures
