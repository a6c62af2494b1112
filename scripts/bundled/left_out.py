"""The model in the box and the plain head on photos of a set that neither has seen, each set in turn.

Command: python scripts/bundled/left_out.py --data.root DATA --output DIR [--seeds 3] [--train.epochs 8 ...]

Both are trained on the other sets with the settings of bundled, the plain head without ImageNet's classes, and measured
on all photos of the set left out, over the words that the others know and that FEWEST photos there show. Printed, as
JSON, is by set and seed: mAP in percent, and how often of the photos "like nothing seen" is said, first of those that
show none of these words, then of the others.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from cnn_rnn.data import label_names
from cnn_rnn.data.batching.batches import example_loader
from cnn_rnn.data.data_config import train_transform
from cnn_rnn.data.labels.choosing import joined_parts
from cnn_rnn.data.schema import targets
from cnn_rnn.metrics import average_precision
from cnn_rnn.prediction import SavedModel, predict
from cnn_rnn.training import RunConfig, load_run_config
from cnn_rnn.training.feature_cache import CachedFeatures, FeatureCache
from cnn_rnn.training.loop import Trainer

SETS = {"COCO": "coco", "VOC": "voc", "Corel5k": "image_folder"}  # by what the names of their parts begin with
FEWEST = {"COCO": 5, "VOC": 10, "Corel5k": 10}  # photos that show a word
MODELS = {"ours": [], "plain": ["--train.baseline=true", "--model.relevance_head=mlp", "--model.pooling=avg"]}


def main() -> None:
    """Train and measure all of it; a run that is there is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.root", dest="root", required=True, help="the folder that bundled's settings describe")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="those left out (default: each)")
    parser.add_argument("--seeds", type=int, default=3)
    known, settings = parser.parse_known_args()
    found: dict[str, dict[str, list[Any]]] = {name: {kind: [] for kind in MODELS} for name in known.sets}
    for seed in range(known.seeds):
        for name in known.sets:
            for kind, own in MODELS.items():
                run = known.output / f"{name}-{kind}-{seed}"
                overrides = [
                    f"--data.root={known.root}",
                    f"--train.output_dir={run}",
                    f"--train.seed={seed}",
                    *own,
                    *settings,
                ]
                config = load_run_config("bundled", overrides)
                others, of_set = split_parts(config, SETS[name])
                if not (run / "metrics.json").is_file():
                    config.data.name, config.data.train_split = others
                    Trainer(config, "auto").train()
                config.data.name, config.data.train_split = of_set
                found[name][kind].append(measure(config, run, FEWEST[name]))
                print(json.dumps(found), flush=True)


def split_parts(config: RunConfig, beginning: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Names and splits of the parts of a run, joined by +: those of other sets, and those of this one."""
    parts = joined_parts(config.data.name, config.data.train_split)
    own = [part for part in parts if part[0].startswith(beginning)]
    others = [part for part in parts if part not in own]
    joined = [tuple("+".join(column) for column in zip(*group, strict=True)) for group in (others, own)]
    return joined[0], joined[1]  # type: ignore[return-value]


def measure(config: RunConfig, run: Path, fewest: int) -> list[float | None]:
    """mAP, and the shares of the photos without and with known words told as unfamiliar, in percent; None of none."""
    saved, accelerator = SavedModel.load(str(run)), Accelerator()
    renamed, config.data.rename_labels = config.data.rename_labels or {}, None  # it names labels of other sets too
    if "+" not in config.data.name:
        config.data.labels_of_others = None
    rows = config.data.load(config.data.train_split)
    cache = FeatureCache(saved.model, train_transform(saved.processor, config.data), accelerator, config)
    loader = example_loader(CachedFeatures(*cache.views_of(rows)), 128)
    found = predict(saved.model, accelerator.prepare(loader), accelerator)
    names, theirs = saved.model.config.label_names, [renamed.get(name, name) for name in label_names(rows)]
    shared = [name for name in theirs if name in names]
    truth = torch.from_numpy(targets(rows))[:, [theirs.index(name) for name in shared]]
    scores = found.logits[:, [names.index(name) for name in shared]].sigmoid()
    often = ((truth == 1).sum(dim=0) >= fewest).numpy()
    precisions = np.asarray(average_precision(scores, truth, mask=truth >= 0))[often]
    unfamiliar = found.logits.sigmoid().amax(dim=1) < saved.model.config.familiar_from
    some = (truth == 1).any(dim=1)
    shares = [float(unfamiliar[own].float().mean()) if own.any() else None for own in (~some, some)]
    return [None if figure is None else round(100 * figure, 1) for figure in (float(precisions.mean()), *shares)]


if __name__ == "__main__":
    main()
