"""Real photos that installed packages carry, as a folder: python scripts/demo/sample_photos.py --output FOLDER."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

# What scikit-image and scikit-learn carry in themselves; nothing is downloaded.
PHOTOS = {
    "astronaut": data.astronaut,
    "cat": data.chelsea,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "coffee": data.coffee,
    "camera": data.camera,
    "rocket": data.rocket,
    "temple": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
}


def main() -> None:
    """Write the photos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the photos")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, load in PHOTOS.items():
        Image.fromarray(np.asarray(load())).convert("RGB").save(folder / f"{name}.jpg", quality=92)
    print(f"{len(PHOTOS)} photos in {folder}")


if __name__ == "__main__":
    main()
