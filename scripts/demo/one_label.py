"""What one confirmed label changes: python scripts/demo/one_label.py --input FOLDER [--model MODEL].

Of each photo a label that it shows and the model does not expect is confirmed, of photos not listed here the most
probable such label; shown is the photo on which this moves the others most.
"""

import argparse
from pathlib import Path

from cnn_rnn import bundled_model
from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.prediction.input_kinds import find_images

SHOWN_PHOTOS = 5  # labels

THERE = {  # what a person sees on the demo's own photos
    "astronaut": ("flag",),
    "camera": ("grass", "sky", "tree"),
    "coffee": ("cup", "spoon"),
    "flower": ("flowers", "petals"),
    "motorcycle": ("wall",),
    "rocket": ("sky", "tower"),
    "temple": ("roofs", "tree", "temple"),
}


def main() -> None:
    """Print the labels of one photo before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="folder of photos")
    parser.add_argument("--model", default=str(bundled_model()), help="folder of a run (default: the model in the box)")
    known = parser.parse_args()
    tagger = Tagger.load(known.model, "torch")
    found = []
    for file in find_images(known.input):
        sight = tagger.look(Path(file))
        before = tagger.expect(sight, {}).probabilities
        open_labels = [name for name in before if before[name] < tagger.thresholds[name]]
        seen = [name for name in open_labels if name in THERE.get(Path(file).stem, ())]
        label = max(seen or open_labels, key=before.__getitem__)
        after = tagger.expect(sight, {label: True}).probabilities
        others = [name for name in before if name != label]
        moved = sum(abs(after[name] - before[name]) for name in others)
        found.append((moved, Path(file).name, label, before, after, others))
    _, name, label, before, after, others = max(found, key=lambda one: one[0])
    print(f"\n{name}: a person confirms {label!r} (the model gave it {before[label]:.2f})")
    for other in sorted(others, key=lambda one: -abs(after[one] - before[one]))[:SHOWN_PHOTOS]:
        print(f"  {other:<12} {before[other]:.2f} -> {after[other]:.2f}")


if __name__ == "__main__":
    main()
