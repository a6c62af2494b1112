"""Where a run stands."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Progress:
    """Where a run stands; saved with each checkpoint.

    Attributes:
        epoch: Epochs that are complete.
        batch: Optimiser steps of the next epoch that are complete.
        step: Optimiser steps so far.
        loss_sum: Sum of the losses of the next epoch's steps.
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
        for name in asdict(self):
            setattr(self, name, state[name])

    def finish_step(self, loss: float) -> None:
        """Count one more optimiser step and its loss."""
        self.loss_sum += loss
        self.batch += 1
        self.step += 1

    def finish_epoch(self, figures: dict[str, Any], value: float) -> bool:
        """Count one more epoch and record its figures; whether its weights are the best so far."""
        loss = self.loss_sum / max(self.batch, 1)
        self.epoch, self.batch, self.loss_sum = self.epoch + 1, 0, 0.0
        self.history.append({"epoch": self.epoch, "step": self.step, "loss": loss, **figures})
        best = value >= self.best_value  # of equals the last: it was trained longest
        if best:
            self.best_value, self.best_epoch = value, self.epoch
        return best

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or `patience` of them (0 for any number) brought nothing better."""
        return self.epoch >= epochs or bool(patience and self.epoch - self.best_epoch >= patience)
