"""The memory of neighbours of a trained model: how much it says is fitted on held-out images, which then join it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from cnn_rnn.data.batching.batches import eval_batches, example_loader
from cnn_rnn.image_backbone import mean_of_places
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.prediction.predictions import features_of

from .feature_cache import CachedFeatures
from .held_out import fit_logistic
from .run_config import TrainConfig
from .training_data import position_seed

ENCODED_AT_ONCE = 256


class Images(NamedTuple):
    """What the model makes of some images."""

    features: Tensor  # (M, D)
    labels: Tensor  # (M, C) multi-hot
    logits: Tensor | None = None  # (M, C) the relevance head's, where they are asked for


@dataclass
class Remembering:
    """Fills the memory of a model, the same in every process.

    Attributes:
        model: The trained model, in evaluation mode.
        processor: Its image processor.
        accelerator: Processes that share the work.
        config: The run's settings.
    """

    model: CnnRnnForImageClassification
    processor: Any
    accelerator: Accelerator
    config: TrainConfig

    def __post_init__(self) -> None:
        self.most = self.model.config.neighbours

    @torch.no_grad()
    def fill(self, train: tuple[Dataset, DataLoader], held_out: tuple[Dataset, DataLoader]) -> None:
        """Remember the training images, and fit on the held-out ones how much their labels say.

        Args:
            train: Rows and batches of the training part; where these hold cached features, no image is read again.
            held_out: The same of the held-out part.
        """
        memory = self.model.neighbours
        assert memory is not None
        self.train, self.held_out = self._look_at(*train), self._look_at(*held_out, scored=True)
        self._keep(self.train.features, self.train.labels)
        assert self.held_out.logits is not None
        odds = torch.cat([memory.log_odds(part) for part in self.held_out.features.split(ENCODED_AT_ONCE)])
        fitted = fit_logistic([self.held_out.logits, odds], self.held_out.labels, self.model.rules)
        memory.mix.copy_(torch.tensor(fitted))

    @torch.no_grad()
    def add_held_out(self) -> None:
        """Remember the held-out images too, once nothing more is fitted on them: they would find themselves."""
        features = torch.cat([self.train.features, self.held_out.features])
        labels = torch.cat([self.train.labels, self.held_out.labels])
        # No more than before: where not all fit, held-out images take the places of others.
        kept = self._choose(len(features))
        self._keep(features[kept], labels[kept])

    def _keep(self, features: Tensor, labels: Tensor) -> None:
        """Remember these images, and write down how many."""
        assert self.model.neighbours is not None
        self.model.neighbours.fill(features, labels)
        self.model.config.neighbours = len(features)

    def _choose(self, rows: int) -> Tensor:
        """Indices of all rows, or of a random choice where there are more than are to be remembered."""
        if rows <= self.most:
            return torch.arange(rows)
        order = np.random.default_rng(position_seed(self.config.seed)).permutation(rows)
        return torch.from_numpy(np.sort(order[: self.most]))

    def _look_at(self, rows: Dataset, loader: DataLoader, *, scored: bool = False) -> Images:
        """As many of the rows as are remembered; with the head's logits where they are `scored`."""
        chosen = self._choose(len(rows)).tolist()
        size, accelerator = self.config.batch_size, self.accelerator
        if isinstance(loader.dataset, CachedFeatures):
            cached = Subset(loader.dataset.first_view(), chosen)
            batches: Any = accelerator.prepare(example_loader(cached, size))
        else:
            rows = rows.select(chosen)
            batches = eval_batches(rows, self.processor, size, self.config.num_workers, accelerator)
        seen: list[list[Tensor]] = []
        shown = not accelerator.is_main_process
        for batch in tqdm(batches, desc="images to remember", unit="batch", disable=shown, leave=False):
            own = features_of(self.model, batch, accelerator)
            part = [mean_of_places(own).contiguous(), batch["labels"]]
            if scored:
                part.append(self.model.score_alone(own))
            seen.append([accelerator.gather_for_metrics(tensor) for tensor in part])
        return Images(*map(torch.cat, zip(*seen, strict=True)))
