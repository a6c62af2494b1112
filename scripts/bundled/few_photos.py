"""What starting from a model is worth with few photos of a set that it never saw, beside a fresh start.

Command: python scripts/bundled/few_photos.py --data.root COCO --model RUN --output DIR [--photos 10 50 200] [--seeds 3]

RUN is a model of other photos, such as one of bundled's settings with COCO left out. Some of COCO's photos are kept for
measuring, the same for all; of the others so many are drawn, a seed each. On them are trained, with the settings of
image_folder: from RUN, from its backbone's weights alone, and a plain head on these. Printed, as JSON, is mAP over the
labels that five or more of the photos kept show, and over those of them that RUN has no word for.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from cnn_rnn.commands.train import main as train
from cnn_rnn.commands.validate import main as validate
from cnn_rnn.data import label_names, load_coco
from cnn_rnn.data.schema import label_matrix
from cnn_rnn.training.run_config import run_config_of

KEPT = 150  # photos to measure on
FEWEST = 5  # of these that show a label for it to count


def main() -> None:
    """Train and measure all of it; what is there of an earlier call is not done again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.root", dest="root", type=Path, required=True, help="folder that holds coco/")
    parser.add_argument("--model", type=Path, required=True, help="a run that has not seen these photos")
    parser.add_argument("--output", type=Path, required=True, help="folder for the photos drawn, and the runs")
    parser.add_argument("--photos", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--seeds", type=int, default=3)
    known = parser.parse_args()
    rows = concatenate_datasets(list(load_coco(known.root, 2017).values()))
    order = np.random.default_rng(0).permutation(len(rows))
    kept, others = rows.select(order[:KEPT]), order[KEPT:]
    model = run_config_of(str(known.model)).model
    fresh = [f"--model.{key}={model[key]}" for key in ("backbone", "weights", "image_size")]
    starts = {
        "from the run": [f"--model.weights={known.model}"],
        "fresh": fresh,
        "plain head": [*fresh, "--train.baseline=true"],
    }
    figures: dict[str, dict[int, list[tuple[float, float]]]] = {name: {} for name in starts}
    for photos in known.photos:
        for seed in range(known.seeds):
            folder = known.output / f"{photos}-{seed}"
            chosen = np.random.default_rng(seed + 1).permutation(others)[:photos]
            write_folder(folder, {"train": rows.select(chosen), "test": kept})
            for name, settings in starts.items():
                run = folder / name.replace(" ", "-")
                if not (run / "test" / "metrics.json").is_file():
                    train(
                        ["--config=image_folder", f"--data.root={folder}", f"--train.output_dir={run}",
                         f"--train.feature_cache={known.output / 'features'}", f"--train.seed={seed}", *settings]
                    )  # fmt: skip
                    validate([str(run), "--data.split=test", f"--output={run / 'test'}"])
                figures[name].setdefault(photos, []).append(mean_ap(run / "test" / "metrics.json", known.model))
    print(json.dumps(figures, indent=1))


def write_folder(folder: Path, parts: dict[str, Dataset]) -> None:
    """A folder of photos as `image_folder` reads it, of links."""
    for name, rows in parts.items():
        part = folder / name
        part.mkdir(parents=True, exist_ok=True)
        names, shown = label_names(rows), label_matrix(rows)
        lines = []
        for row, own in zip(
            rows.cast_column("image", rows.features["image"].__class__(decode=False)), shown, strict=True
        ):
            photo = Path(row["image"]["path"])
            if not (part / photo.name).exists():
                (part / photo.name).symlink_to(photo.resolve())
            labels = [label for label, there in zip(names, own, strict=True) if there]
            lines.append(json.dumps({"file_name": photo.name, "labels": labels}) + "\n")
        (part / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "labels.json").write_text(json.dumps(names), encoding="utf-8")


def mean_ap(metrics: Path, model: Path) -> tuple[float, float]:
    """The mean AP over the labels shown often enough, and over those that the model has no word for."""
    known = json.loads((model / "config.json").read_text(encoding="utf-8"))["label2id"]
    found: dict[str, Any] = json.loads(metrics.read_text(encoding="utf-8"))["per_class"]
    counted = {name: one["AP"] for name, one in found.items() if one["positives"] >= FEWEST}
    new = [ap for name, ap in counted.items() if name not in known]
    return float(np.mean([*counted.values()])), float(np.mean(new))


if __name__ == "__main__":
    main()
