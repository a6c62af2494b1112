"""The memory of neighbours of a trained model: how much it says is fitted on held-out images, which then join it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from cnn_rnn.data.batches import eval_batches
from cnn_rnn.modeling_cnn_rnn import CnnRnnForImageClassification

from .feature_cache import CachedFeatures, collate_features
from .held_out import fit_logistic
from .run_config import TrainConfig
from .training_data import position_seed

IMAGES_AT_ONCE = 256


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

    @torch.no_grad()
    def fill(self, train: tuple[Dataset, DataLoader], held_out: tuple[Dataset, DataLoader]) -> None:
        """Remember the training images, fit on the held-out ones how much their labels say, and add these.

        Args:
            train: Rows and batches of the training part; where these hold cached features, no image is read again.
            held_out: The same of the held-out part.
        """
        memory, head = self.model.neighbours, self.model.relevance_head
        assert memory is not None
        assert head is not None
        features, labels = self._look_at(*train)
        held_out_features, targets = self._look_at(*held_out)
        memory.fill(features, labels)
        parts = held_out_features.split(IMAGES_AT_ONCE)
        logits = torch.cat([head(part) for part in parts])
        odds = torch.cat([memory.log_odds(part) for part in parts])
        mix = torch.tensor(fit_logistic([logits, odds], targets), device=odds.device)
        features, labels = torch.cat([features, held_out_features]), torch.cat([labels, targets])
        kept = self._choose(len(features))
        memory.fill(features[kept], labels[kept])
        memory.mix.copy_(mix)
        self.model.config.neighbours = len(kept)

    def _choose(self, rows: int) -> Tensor:
        """Indices of all rows, or of a random choice where there are more than are to be remembered."""
        most = self.model.config.neighbours
        if rows <= most:
            return torch.arange(rows)
        order = np.random.default_rng(position_seed(self.config.seed)).permutation(rows)
        return torch.from_numpy(np.sort(order[:most]))

    def _look_at(self, rows: Dataset, loader: DataLoader) -> tuple[Tensor, Tensor]:
        """Features (M, D) and multi-hot labels (M, C) of as many of the rows as are remembered."""
        chosen = self._choose(len(rows)).tolist()
        size, accelerator = self.config.batch_size, self.accelerator
        if isinstance(loader.dataset, CachedFeatures):
            cached = Subset(loader.dataset.first_view(), chosen)
            batches: Any = accelerator.prepare(DataLoader(cached, size, collate_fn=collate_features))
        else:
            rows = rows.select(chosen)
            batches = eval_batches(rows, self.processor, size, self.config.num_workers, accelerator)
        features, labels = [], []
        shown = not accelerator.is_main_process
        for batch in tqdm(batches, desc="images to remember", unit="batch", disable=shown, leave=False):
            own = batch.get("image_features")
            if own is None:
                with accelerator.autocast():
                    own = self.model.encode_images(batch["pixel_values"])
            own = own.mean(dim=1) if own.dim() == 3 else own
            features.append(accelerator.gather_for_metrics(own.float().contiguous()))
            labels.append(accelerator.gather_for_metrics(batch["labels"]))
        return torch.cat(features), torch.cat(labels)
