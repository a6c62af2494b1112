"""The model in the box on photos of another kind: python scripts/bundled/elsewhere.py --data.root COCO.

COCO's photos, with VOC's names for those of its 80 labels that are the same thing. None of them is trained on.
"""

import argparse

import numpy as np
import torch
from tqdm.auto import tqdm

from cnn_rnn import bundled_model
from cnn_rnn.data import label_matrix, label_names, load_coco
from cnn_rnn.prediction import SavedModel

SAME = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
BATCH = 16
SURE = 0.8


def main() -> None:
    """Print how often a label is named where there is none to name, and how often rightly where there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.root", dest="root", required=True, help="folder that holds COCO's annotations/")
    parser.add_argument("--year", type=int, default=2017)
    parser.add_argument("--model", default=str(bundled_model()), help="folder of a run (default: the model in the box)")
    known = parser.parse_args()
    saved = SavedModel.load(known.model)
    names = saved.model.config.label_names
    scores, truth = [], []
    for split in ("train", "val"):
        rows = load_coco(known.root, year=known.year, split=split)
        theirs = label_names(rows)
        truth.append(label_matrix(rows)[:, [theirs.index(SAME.get(name, name)) for name in names]])
        for start in tqdm(range(0, len(rows), BATCH), desc=split, unit="batch"):
            photos = [photo.convert("RGB") for photo in rows[start : start + BATCH]["image"]]
            with torch.inference_mode():
                pixel_values = saved.processor(images=photos, return_tensors="pt")["pixel_values"]
                scores.append(saved.model(pixel_values).logits.sigmoid().numpy())
    probabilities, there = np.concatenate(scores), np.concatenate(truth)
    named = probabilities >= np.array(saved.model.config.thresholds)
    none = ~there.any(axis=1)
    any_named, any_sure = (found[none].any(axis=1).mean() for found in (named, probabilities >= SURE))
    print(f"{none.sum()} photos show none of the {len(names)} labels:")
    print(f"  a label is named on {any_named:.0%}, one with a probability of {SURE} or more on {any_sure:.0%}")
    counts = named[none].sum(axis=0)
    often = np.argsort(-counts, kind="stable")[:3]
    print(f"  most often: {', '.join(f'{names[label]} {counts[label]}' for label in often)}")
    right, surely_right = (named & there).sum(), there[~none][probabilities[~none] >= SURE].mean()
    precision, recall = right / named[~none].sum(), right / there.sum()
    print(f"{(~none).sum()} photos show some, {there.sum()} labels in all:")
    print(f"  of the labels named {precision:.0%} are right, of those there {recall:.0%} are named")
    print(f"  of the labels with a probability of {SURE} or more {surely_right:.0%} are right")


if __name__ == "__main__":
    main()
