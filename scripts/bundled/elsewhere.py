"""The model in the box on photos of another kind: python scripts/bundled/elsewhere.py --data.root COCO.

COCO's photos, with VOC's names for those of its 80 labels that are the same thing. None of them is trained on.
"""

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
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


def main(arguments: list[str] | None = None) -> None:
    """Print how often a label is named where there is none to name, and how often rightly where there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.root", dest="root", required=True, help="folder that holds COCO's annotations/")
    parser.add_argument("--year", default="2017")
    parser.add_argument("--model", default=str(bundled_model()), help="folder of a run (default: the model in the box)")
    known = parser.parse_args(arguments)
    saved = SavedModel.load(known.model)
    names = saved.model.config.label_names
    scores, truth = [], []
    for split, rows in load_coco(known.root, year=known.year).items():
        theirs = label_names(rows)
        truth.append(label_matrix(rows)[:, [theirs.index(SAME.get(name, name)) for name in names]])
        for start in tqdm(range(0, len(rows), BATCH), desc=split, unit="batch"):
            photos = rows[start : start + BATCH]["image"]
            with torch.inference_mode():
                pixel_values = saved.processor(images=photos, return_tensors="pt")["pixel_values"]
                scores.append(saved.model(pixel_values).logits.sigmoid().numpy())
    thresholds = np.array(saved.model.config.thresholds)
    print("\n".join(what_was_named(np.concatenate(scores), np.concatenate(truth), thresholds, names)))


def what_was_named(
    probabilities: NDArray[np.float32], there: NDArray[np.bool_], thresholds: NDArray[np.float64], names: list[str]
) -> list[str]:
    """Lines on photos (N, C) that show none of the labels, and on those that show some.

    Raises:
        ValueError: There are none of either kind.
    """
    named, sure = probabilities >= thresholds, probabilities >= SURE
    none = np.asarray(~there.any(axis=1))
    if none.all() or not none.any():
        raise ValueError(f"{none.sum()} of {len(none)} photos show none of the labels: both kinds are needed")
    counts = named[none].sum(axis=0)
    often = [label for label in np.argsort(-counts, kind="stable")[:3] if counts[label]]
    right, surely_right = (found & there for found in (named, sure))
    at_all, at_all_sure = (np.asarray(found[none].any(axis=1)) for found in (named, sure))
    precision, recall = share(right[~none][named[~none]]), share(named[there])
    return [
        f"{none.sum()} photos show none of the {len(names)} labels:",
        f"  a label is named on {share(at_all)}, one with a probability of {SURE} or more on {share(at_all_sure)}",
        f"  most often: {', '.join(f'{names[label]} {counts[label]}' for label in often) or 'none'}",
        f"{(~none).sum()} photos show some, {there.sum()} labels in all:",
        f"  of the labels named {precision} are right, of those there {recall} are named",
        f"  of the labels with a probability of {SURE} or more {share(surely_right[~none][sure[~none]])} are right",
    ]


def share(of: NDArray[np.bool_]) -> str:
    """The share of what is true, in percent; a dash of nothing."""
    return f"{of.mean():.0%}" if of.size else "-"


if __name__ == "__main__":
    main()
