"""What the model in the box says of Corel5k's test part, knowing nothing and told one and two of the labels.

Command: python scripts/bundled/corel5k_test.py --data.root COREL5K [--plain RUN ...]

The words of the test part that the model knows are asked for, under the names that its settings give them. A plain head
of the same labels stands beside it where one is given.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from cnn_rnn import bundled_model
from cnn_rnn.data import label_matrix, label_names, load_image_folder
from cnn_rnn.prediction import SavedModel
from cnn_rnn.prediction.known_measure import measure_known
from cnn_rnn.prediction.predictions import PlacedFeatures
from cnn_rnn.training.run_config import run_config_of

TOLD = (0, 1, 2)
BATCH = 16


def main() -> None:
    """Print mAP over the other labels, and looks until all are confirmed, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.root", dest="root", type=Path, required=True, help="folder with labels.json and test/")
    parser.add_argument("--model", default=str(bundled_model()), help="folder of a run (default: the model in the box)")
    parser.add_argument("--plain", nargs="*", default=[], help="runs of plain heads with the same labels and backbone")
    known = parser.parse_args()
    models = [SavedModel.load(name) for name in (known.model, *known.plain)]
    rows = load_image_folder(known.root, split="test")
    renamed = run_config_of(known.model).data.rename_labels or {}
    names = [renamed.get(name, name) for name in label_names(rows)]
    truth = truth_of(label_matrix(rows), names, models[0].model.config.label_names)
    features, seen = [], {}
    for saved in models:  # plain heads pool otherwise, or alike: what is seen alike is seen once
        pooling = saved.model.config.pooling
        if pooling not in seen:
            seen[pooling] = PlacedFeatures("test", rows, features_of_all(saved, rows), np.arange(len(rows)))
        features.append(seen[pooling])
    figures = measure_known([saved.model for saved in models], features, truth, TOLD)
    told = {
        f"{count} {row} {state}": own[state]["mAP"]
        for count, found in figures["told"].items()
        for row, own in found.items()
        for state in ("untold", "told")
        if state in own
    }
    words = int((truth > 0).any(axis=0).sum())
    print(json.dumps({"photos": len(rows), "words": words, "mAP": told, "looks": figures["looks"]}, indent=2))


@torch.inference_mode()
def features_of_all(saved: SavedModel, rows: Dataset) -> NDArray[np.float32]:
    """The image features (N, D) of the rows, as a model sees them."""
    batches = []
    for start in range(0, len(rows), BATCH):
        pixel_values = saved.processor(images=rows[start : start + BATCH]["image"], return_tensors="pt")["pixel_values"]
        batches.append(saved.model.encode_images(pixel_values).numpy())
    return np.concatenate(batches)


def truth_of(matrix: NDArray[np.bool_], names: list[str], wanted: list[str]) -> NDArray[np.int8]:
    """Whether each photo shows the labels that are wanted (N, C), -1 for those that have no name here."""
    truth = np.full((len(matrix), len(wanted)), -1, np.int8)
    for column, name in zip(matrix.T, names, strict=True):
        if name in wanted:
            own = truth[:, wanted.index(name)]
            np.maximum(own, column, out=own)
    return truth


if __name__ == "__main__":
    main()
