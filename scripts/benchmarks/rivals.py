"""Heads of other people's ideas on the frozen features that ours has, trained and measured alike.

mlp: the plain head, one hidden layer on the mean of the feature map. two_mlp: two, their logits averaged. ml_decoder:
label queries that attend over the map (Ridnik et al., WACV 2023; timm's). label_tokens: labels, with what is known of
each, as tokens beside the places of the map, through a transformer's layers (C-Tran, Lanchantin et al., CVPR 2021).

Epoch, calibration and thresholds are chosen on a held-out tenth of the training split, as in `cnn-rnn train`; without
--test nothing else is measured on, which is how settings are chosen:

    python scripts/benchmarks/rivals.py voc2007 --heads ml_decoder --lr 1e-3 5e-4 --data.root DATA
    python scripts/benchmarks/rivals.py voc2007 --heads ml_decoder --lr 5e-4 --seeds 0 1 2 --test --data.root DATA
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnn_rnn.data import targets
from cnn_rnn.data.data_config import train_transform
from cnn_rnn.image_processing_cnn_rnn import CnnRnnImageProcessor
from cnn_rnn.known_labels import open_labels, sample_known_share
from cnn_rnn.losses import relevance_loss
from cnn_rnn.metrics import MultiLabelMetrics
from cnn_rnn.metrics.conditioning import reveal_share, told_figures
from cnn_rnn.metrics.thresholds import fit_class_thresholds
from cnn_rnn.prediction.predictions import PlacedFeatures
from cnn_rnn.relevance_head import build_relevance_head
from cnn_rnn.training.feature_cache import CachedFeatures, FeatureCache
from cnn_rnn.training.held_out import FEWEST_POSITIVES, fit_logistic
from cnn_rnn.training.model_files import build_model
from cnn_rnn.training.optimization import build_optimizer, build_schedule
from cnn_rnn.training.run_config import RunConfig, TrainConfig, load_run_config
from cnn_rnn.training.training_data import load_training_data

SHARES = (0.25, 0.5, 0.75)
LAYERS, ATTENTION_HEADS = 2, 4
AT_ONCE = 128


class LabelTokens(nn.Module):
    """Logits of labels from a transformer over the places of the map and one token a label, which says what is known.

    Args:
        feature_size: D.
        size: Of every token.
        num_labels: C.
        dropout: Of what the layers add.
    """

    def __init__(self, feature_size: int, size: int, num_labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.places = nn.Linear(feature_size, size)
        self.labels = nn.Embedding(num_labels, size)
        self.states = nn.Embedding(3, size, padding_idx=0)  # open, present, absent
        layer = nn.TransformerEncoderLayer(
            size, ATTENTION_HEADS, 2 * size, dropout, batch_first=True, norm_first=True, activation="gelu"
        )
        layer.self_attn.dropout = 0.0  # drawing it for each pair of tokens takes a third of a step on a CPU
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(size), enable_nested_tensor=False)
        self.output = nn.Embedding(num_labels, size)
        self.bias = nn.Parameter(torch.full((num_labels,), -3.0))

    def forward(self, places: Tensor, known: Tensor) -> Tensor:
        """Logits (B, C) of places (B, P, D), given what is known (B, C): 1 present, -1 absent, 0 open."""
        tokens = self.labels.weight + self.states(known.long() % 3)
        said = self.layers(torch.cat([self.places(places), tokens], dim=1))[:, places.shape[1] :]
        return (said * self.output.weight).sum(dim=-1) / said.shape[-1] ** 0.5 + self.bias


class PlainHead(nn.Module):
    """A head that hears nothing of what is known."""

    def __init__(self, kind: str, feature_size: int, size: int, num_labels: int) -> None:
        super().__init__()
        self.kind, self.head = kind, build_relevance_head(kind, feature_size, num_labels, size, 0.5)

    def forward(self, places: Tensor, known: Tensor) -> Tensor:
        """Logits (B, C) of places (B, P, D)."""
        del known
        logits: Tensor = self.head(places.mean(dim=1) if self.kind == "mlp" else places)
        return logits


class Parts(NamedTuple):
    """Cached features of the training photos in all views, of those held out, and of the split to measure on."""

    train: CachedFeatures
    held_out: CachedFeatures
    test: CachedFeatures


def load_parts(config: RunConfig, split: str, side: int | None = None) -> Parts:
    """The parts of a run with these settings; its backbone looks at photos that the cache does not hold.

    With a `side` the square map is shrunk to so many places squared, each the mean of those that it stands for.
    """
    data = load_training_data(config.data, config.train.seed)
    model, accelerator = build_model(config, data).eval(), Accelerator()
    transform = train_transform(CnnRnnImageProcessor.from_config(model.config), config.data)
    cache = FeatureCache(model, transform, accelerator, config)
    parts = Parts(*cache.load(data.train, data.validation, config.data.load(split)))
    return parts if side is None else shrink(parts, side)


def shrink(parts: Parts, side: int) -> Parts:
    """The parts with maps (N, P, D) shrunk to (N, side * side, D); views that share an array go on sharing one."""
    shrunk: dict[int, Any] = {}

    def of(view: PlacedFeatures) -> PlacedFeatures:
        key = id(view.features)
        if key not in shrunk:
            starts = range(0, len(view.features), AT_ONCE)
            shrunk[key] = np.concatenate([shrink_maps(view.features[at : at + AT_ONCE], side) for at in starts])
        return replace(view, features=shrunk[key])

    return Parts(*(CachedFeatures(*map(of, part.views), seed=part.seeds.seed) for part in parts))


def shrink_maps(places: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Square maps (N, P, D) -> (N, side * side, D), each place the mean of those that it stands for."""
    grid = torch.from_numpy(np.array(places)).mT.unflatten(-1, (math.isqrt(places.shape[1]), -1))
    shrunk: NDArray[np.float32] = nn.functional.adaptive_avg_pool2d(grid, side).flatten(2).mT.contiguous().numpy()
    return shrunk


def truth_of(part: CachedFeatures) -> Tensor:
    """Multi-hot labels (N, C)."""
    return torch.from_numpy(targets(part.rows.with_format(None), part.num_labels))


@torch.inference_mode()
def ask(head: nn.Module, part: CachedFeatures, known: Tensor | None = None, rows: Any = None) -> Tensor:
    """Logits (M, C) of some rows of a part, given what is known of them (M, C)."""
    chosen = np.arange(len(part)) if rows is None else rows
    known = torch.zeros(len(chosen), part.num_labels, dtype=torch.long) if known is None else known
    parts = [chosen[start : start + AT_ONCE] for start in range(0, len(chosen), AT_ONCE)]
    pairs = zip(parts, known.split(AT_ONCE), strict=True)
    return torch.cat([head(torch.from_numpy(part.views[0].take(own)), told) for own, told in pairs])


def average(heads: Sequence[nn.Module], *asked: Any) -> Tensor:
    """The mean of what heads say, as `ask` has it."""
    return torch.stack([ask(head, *asked) for head in heads]).mean(dim=0)


def train_head(kind: str, size: int, parts: Parts, config: TrainConfig) -> nn.Module:
    """A head as it was after its best epoch, by mAP on the held-out part."""
    torch.manual_seed(config.seed)
    labels, wanted = truth_of(parts.train), truth_of(parts.held_out)
    feature_size = parts.train.features.shape[-1]
    head: nn.Module = (
        LabelTokens(feature_size, size, labels.shape[1])
        if kind == "label_tokens"
        else PlainHead(kind, feature_size, size, labels.shape[1])
    )
    steps = len(labels) // config.batch_size
    optimizer = build_optimizer(head, config)
    schedule = build_schedule(optimizer, config, config.epochs * steps)
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    for epoch in tqdm(range(config.epochs), desc=f"{kind}, epochs", leave=False):
        head.train()
        parts.train.set_epoch(epoch)
        for rows in torch.randperm(len(labels))[: steps * config.batch_size].split(config.batch_size):
            places = torch.stack([one["image_features"] for one in parts.train.__getitems__(rows.tolist())])
            known = sample_known_share(labels[rows], 0.75 if kind == "label_tokens" else 0.0)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.mixed_precision == "bf16"):
                logits = head(places, known)
            loss = relevance_loss(logits.float(), open_labels(labels[rows], known))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), config.clip_grad_norm)
            optimizer.step()
            schedule.step()
        head.eval()
        reached = figures_of(ask(head, parts.held_out), wanted)["mAP"]
        if reached > best[0]:
            best = reached, {name: value.clone() for name, value in head.state_dict().items()}
    head.load_state_dict(best[1])
    return head


def figures_of(logits: Tensor, truth: Tensor, **settings: Any) -> dict[str, Any]:
    """The figures of `MultiLabelMetrics`."""
    metrics = MultiLabelMetrics(**settings)
    metrics.update(logits.sigmoid(), truth)
    return metrics.compute()


def measure(heads: list[nn.Module], parts: Parts, seed: int, min_positives: int) -> dict[str, Any]:
    """The figures of one head, or of several whose logits are averaged, on the part to measure on."""
    held_out, test = (average(heads, part) for part in parts[1:])
    wanted, truth = truth_of(parts.held_out), truth_of(parts.test)
    slope, bias = fit_logistic([held_out], wanted)
    thresholds = fit_class_thresholds((slope * held_out + bias).sigmoid(), wanted, min_positives=FEWEST_POSITIVES)
    computed = figures_of(slope * test + bias, truth, thresholds=thresholds, min_positives=min_positives, top_k=5)
    figures = {"mAP": computed["mAP"]}
    for way in ("threshold", "expected_f1"):
        figures |= {f"{key} {way}": computed[way][key] for key in ("OF1", "exact_match")}
    figures |= {f"{key} top 5": computed["top_k"][key] for key in ("CF1", "N_plus")}
    states = truth.clamp(min=-1).to(torch.int8).numpy()

    def score(known: Any, rows: Any) -> Any:
        given = torch.from_numpy(known)
        return (slope * average(heads, parts.test, given, rows) + bias).sigmoid().numpy()

    for share in SHARES:
        known = reveal_share(parts.test.rows.with_format(None)["image_id"], states, share, seed)
        told = told_figures(score, states, known, np.arange(len(states)), min_positives=min_positives)
        figures |= {f"{state} {share:.0%}": told[state]["mAP"] for state in ("untold", "told") if state in told}
    return figures


def main() -> None:
    """Print, as a line of JSON each, the figures of every head, learning rate and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="settings that ship, such as voc2007: photos, backbone, views")
    parser.add_argument("--heads", nargs="+", default=["mlp", "ml_decoder", "label_tokens"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256], help="hidden units, or size of the tokens")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cached", default="test", help="split whose features are cached beside the training split's")
    parser.add_argument("--side", type=int, help="shrink the maps to so many places squared, where labels are many")
    parser.add_argument("--test", action="store_true", help="measure on that split")
    parser.add_argument("--min_positives", type=int, default=1)
    asked, others = parser.parse_known_args()
    for seed in asked.seeds:
        config = load_run_config(asked.config, [*others, "--model.pooling", "attention", "--train.seed", str(seed)])
        parts = load_parts(config, asked.cached, asked.side)
        wanted = truth_of(parts.held_out)
        for kind, size, rate in product(asked.heads, asked.sizes, asked.lr):
            train = replace(config.train, lr=rate, epochs=asked.epochs)
            members = [seed, seed + 100] if kind == "two_mlp" else [seed]
            heads = [train_head(kind.removeprefix("two_"), size, parts, replace(train, seed=one)) for one in members]
            reached = figures_of(average(heads, parts.held_out), wanted)
            told: dict[str, Any] = {"head": kind, "size": size, "lr": rate, "seed": seed}
            told["weights"] = sum(parameter.numel() for head in heads for parameter in head.parameters())
            told["held_out"] = {"mAP": reached["mAP"], "exact": reached["expected_f1"]["exact_match"]}
            if asked.test:
                told["test"] = measure(heads, parts, seed, asked.min_positives)
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
