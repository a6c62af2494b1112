"""What the model in the box says of photos that show none of its labels.

Command: python scripts/bundled/elsewhere.py CV/predictions.parquet --data.root DATA

Of cross-validation, VOC's and COCO's photos by themselves; of Corel5k every fifth photo of train whose words name
nothing that VOC does, asked for VOC's twenty. Not everything is in its words, so a person named there may be right; the
model in the box was trained on these photos, so that only another one's figures are of photos never seen.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from cnn_rnn import bundled_model
from cnn_rnn.data import VOC_CLASSES, label_matrix, label_names, load_coco, load_image_folder
from cnn_rnn.metrics.stored_predictions import read_predictions
from cnn_rnn.prediction import SavedModel

BATCH = 16
EVERY = 5  # photo of Corel5k
SURE = 0.8
OTHER_NAMES = {  # COCO's for VOC's
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle", "pottedplant": "potted plant",
    "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip
# Corel5k's words for what may be one of VOC's twenty, in whole or in part.
MAYBE_THERE = {
    "albatross", "antelope", "athlete", "baby", "bench", "birds", "boats", "boeing", "booby", "bulls", "calf",
    "canoe", "cars", "cat", "ceremony", "chairs", "costume", "cow", "crowd", "dall", "dance", "deer", "dog",
    "eagle", "f-16", "face", "figures", "flight", "foals", "formation", "formula", "furniture", "girl", "goat",
    "guard", "hands", "hawk", "helicopter", "horses", "indian", "interior", "jeep", "jet", "locomotive", "man",
    "mare", "monks", "mule", "nest", "parade", "penguin", "people", "plane", "plants", "pots", "prayer", "prop",
    "prototype", "race", "railroad", "room", "runway", "sailboats", "school", "sheep", "ships", "shops",
    "straightaway", "street", "swimmers", "tables", "tails", "train", "truck", "turn", "vehicle", "vendor",
    "vineyard", "wings", "woman",
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Print how often a label is named where there is none to name, and how often rightly where there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "predictions", type=Path, help="what 'cnn-rnn review' predicted, each photo by a model of others"
    )
    parser.add_argument("--data.root", dest="root", type=Path, required=True, help="folder with coco/ and corel5k/")
    parser.add_argument("--model", default=str(bundled_model()), help="folder of a run (default: the model in the box)")
    known = parser.parse_args(arguments)
    predicted = read_predictions(known.predictions)
    of_coco = {image_id for rows in load_coco(known.root, 2017).values() for image_id in rows["image_id"]}
    theirs = np.array([image_id in of_coco for image_id in predicted.image_ids])
    thresholds = np.array(predicted.info["thresholds"])
    for name, rows in (("VOC", ~theirs), ("COCO", theirs)):
        part = predicted.select(np.flatnonzero(rows))
        figures = part.measure(thresholds=thresholds.tolist())
        print(f"{name}, {len(part.image_ids)} photos: O-F1 by threshold {figures['threshold']['OF1']:.1%}")
        print("\n".join(what_was_named(part.scores, part.truth == 1, thresholds, part.label_names)))
    saved = SavedModel.load(known.model)
    names = saved.model.config.label_names
    asked = [names.index(name) for name in (OTHER_NAMES.get(name, name) for name in VOC_CLASSES) if name in names]
    scores = corel5k_scores(saved, known.root / "corel5k")[:, asked]
    nothing = np.zeros(scores.shape, bool)
    print("Corel5k:")
    thresholds = np.array(saved.model.config.thresholds)[asked]
    print("\n".join(what_was_named(scores, nothing, thresholds, [names[label] for label in asked])))


def corel5k_scores(saved: SavedModel, root: Path) -> NDArray[np.float32]:
    """What the model says (N, C) of the photos that show none of its labels, as far as their words tell."""
    rows = load_image_folder(root, split="train")
    maybe = [name in MAYBE_THERE for name in label_names(rows)]
    chosen = np.flatnonzero(~label_matrix(rows)[:, maybe].any(axis=1))
    rows = rows.select(chosen[chosen % EVERY == 0])
    found = []
    for start in tqdm(range(0, len(rows), BATCH), desc="Corel5k", unit="batch"):
        with torch.inference_mode():
            photos = rows[start : start + BATCH]["image"]
            pixel_values = saved.processor(images=photos, return_tensors="pt")["pixel_values"]
            found.append(saved.model(pixel_values).logits.sigmoid().float().numpy())
    return np.concatenate(found)


def what_was_named(
    probabilities: NDArray[np.float32], there: NDArray[np.bool_], thresholds: NDArray[np.float64], names: list[str]
) -> list[str]:
    """Lines on the photos (N, C) that show none of the labels, and on those that show some."""
    named, sure = probabilities >= thresholds, probabilities >= SURE
    none = np.asarray(~there.any(axis=1))
    lines = []
    if none.any():
        counts = named[none].sum(axis=0)
        often = [f"{names[label]} {counts[label]}" for label in np.argsort(-counts, kind="stable")[:3] if counts[label]]
        at_all, surely = (share(np.asarray(found[none].any(axis=1))) for found in (named, sure))
        lines.append(f"  {none.sum()} show none of the {len(names)} labels: a label is named on {at_all}, with a")
        lines.append(f"  probability of {SURE} or more on {surely}; most often {', '.join(often) or 'none'}")
    if not none.all():
        right, surely_right = (share(there[~none][found[~none]]) for found in (named, sure))
        lines.append(f"  {(~none).sum()} show some, {there.sum()} labels in all: of those named {right} are right,")
        lines.append(f"  with {SURE} or more {surely_right}; of those there {share(named[there])} are named")
    return lines


def share(of: NDArray[np.bool_]) -> str:
    """The share of what is true, in percent; a dash of nothing."""
    return f"{of.mean():.0%}" if of.size else "-"


if __name__ == "__main__":
    main()
