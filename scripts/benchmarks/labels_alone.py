"""How far labels alone say each other: models that see no photo, on a data set's complete labels, without its photos.

What such a model gains by being told a share of an image's labels bounds what the labels can add to a photo. It is told
what `validate --known_share` tells, and mAP is over the rest, as there. Models: counts (each label's frequency, and
what the counts of two labels say, also of absent ones), this one (path, known labels and prior on image features that
are all zero) and a hidden layer of 1,024 units that reads what is known of each label; the last two are trained on
random shares of up to 0.75 of all rows of the training split, without any choice.

    python scripts/benchmarks/labels_alone.py voc2007 --root LABELS --train trainval --test test
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.data import count_pairs, label_counts, label_names, load_nus_wide, load_voc, targets
from cnn_rnn.known_labels import open_labels, sample_known_share
from cnn_rnn.losses import relevance_loss
from cnn_rnn.metrics import average_precision
from cnn_rnn.metrics.conditioning import reveal_share
from cnn_rnn.prediction.known_measure import STATISTICS_WEIGHT, said_of_known
from cnn_rnn.relevance_head import build_relevance_head
from cnn_rnn.training.optimization import Objective, build_optimizer, build_schedule
from cnn_rnn.training.run_config import TrainConfig

LOADERS: dict[str, Callable[..., Any]] = {
    "voc2007": lambda root, split: load_voc(root, 2007, split=split, require_images=False),
    "voc2012": lambda root, split: load_voc(root, 2012, split=split, require_images=False),
    "nus-wide-81": lambda root, split: load_nus_wide(root, split=split, require_images=False),
}
SHARES = (0.0, 0.25, 0.5, 0.75)
OURS: dict[str, Any] = {
    "cell": "gru",
    "hidden_size": 256,
    "relevance_in_path": True,
    "known_labels": "state",
    "cooccurrence": True,
}
HIDDEN, AT_ONCE = 1024, 512

LabelScores = Callable[[Tensor], Tensor]
"""From what is known of some images (B, C) to logits (B, C)."""


class StatesHead(nn.Module):
    """Logits (B, C) of what is known alone (B, C), through a hidden layer."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.head = build_relevance_head("mlp", 2 * num_labels, num_labels, HIDDEN, dropout=0.2)

    def forward(self, known: Tensor) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.head(torch.cat([known > 0, known < 0], dim=1).float())
        return logits


def train_labels(
    model: nn.Module, loss_of: Callable[[Tensor], Tensor], labels: Tensor, config: TrainConfig, steps: int
) -> None:
    """Teach a model by the loss of multi-hot labels (B, C), so many steps long."""
    optimizer = build_optimizer(model, config)
    schedule = build_schedule(optimizer, config, steps)
    model.train()
    for _ in tqdm(range(steps), desc="training", leave=False):
        loss = loss_of(labels[torch.randint(len(labels), (config.batch_size,))])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_grad_norm)
        optimizer.step()
        schedule.step()
    model.eval()


def trained_states_head(labels: Tensor, config: TrainConfig, steps: int) -> LabelScores:
    """The hidden layer over what is known."""
    head = StatesHead(labels.shape[1])

    def loss_of(batch: Tensor) -> Tensor:
        known = sample_known_share(batch, config.known_share)
        return relevance_loss(head(known), open_labels(batch, known))

    train_labels(head, loss_of, labels, config, steps)
    return head


def model_of(rows: Any) -> CnnRnnForImageClassification:
    """This model before it is trained, with the counts of the rows."""
    names, counts = label_names(rows), label_counts(rows).tolist()
    model = CnnRnnForImageClassification.from_backbone(
        "test_resnet", id2label=names, label_counts=counts, counted_images=len(rows), **OURS
    )
    model.freeze_backbone()
    assert model.cooccurrence is not None
    model.cooccurrence.fit(*count_pairs(rows))
    return model


def trained_model(labels: Tensor, rows: Any, config: TrainConfig, steps: int) -> LabelScores:
    """This model, with nothing to see."""
    model = model_of(rows)
    nothing, objective = torch.zeros(1, model.backbone.num_features), Objective(config, model)

    def loss_of(batch: Tensor) -> Tensor:
        return objective(model, {"image_features": nothing.expand(len(batch), -1), "labels": batch})

    train_labels(model, loss_of, labels, config, steps)
    return lambda known: model(image_features=nothing.expand(len(known), -1), known_labels=known).logits


def counted(rows: Any) -> LabelScores:
    """Each label's frequency, and what every known label adds to it by the counts."""
    model = model_of(rows)
    alone = torch.logit(torch.from_numpy((label_counts(rows) + 0.5) / (len(rows) + 1)).float())
    return lambda known: alone + STATISTICS_WEIGHT * said_of_known(model, known)


@torch.inference_mode()
def precision_of_labels(scores: LabelScores, truth: NDArray[np.int8], known: NDArray[np.int8]) -> float:
    """MAP over what is not told, over the classes with a positive there."""
    parts = torch.from_numpy(known).long().split(AT_ONCE)
    logits = torch.cat([scores(part) for part in tqdm(parts, desc="asking", leave=False)])
    return float(np.nanmean(average_precision(logits.numpy(), truth, known == 0)))


def main() -> None:
    """Print, as JSON, mAP by share of the labels told, by model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=list(LOADERS))
    parser.add_argument("--root", type=Path, required=True, help="folder of the labels, as the loaders take it")
    parser.add_argument("--train", default="train")
    parser.add_argument("--test", default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500, help="of 128 images each")
    parser.add_argument("--most", type=int, default=10_000, help="images to measure on, drawn at random where more")
    asked = parser.parse_args()
    rows, others = (LOADERS[asked.source](asked.root, split) for split in (asked.train, asked.test))
    others = others.shuffle(seed=0).select(range(min(asked.most, len(others))))
    labels, truth = torch.from_numpy(targets(rows)), targets(others).clip(min=-1).astype(np.int8)
    figures: dict[str, dict[str, list[float]]] = {}
    for seed in asked.seeds:
        torch.manual_seed(seed)
        config = TrainConfig(batch_size=128, lr=2e-3, known_share=0.75, seed=seed)
        models = {
            "counts": counted(rows),
            "ours": trained_model(labels, rows, config, asked.steps),
            "hidden layer": trained_states_head(labels, config, asked.steps),
        }
        for share in SHARES:
            known = reveal_share(others["image_id"], truth, share, seed)
            for name, scores in models.items():
                found = precision_of_labels(scores, truth, known)
                figures.setdefault(name, {}).setdefault(f"{share:g}", []).append(found)
        print(json.dumps({"source": asked.source, "images": [len(labels), len(truth)], "mAP": figures}), flush=True)


if __name__ == "__main__":
    main()
