"""Photos to read, as large as those that people have."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(folder: Path, number: int) -> list[str]:
    """JPEGs of COCO's size with detail at every scale, some 100 kB each as photos have."""
    folder.mkdir()
    random = np.random.default_rng(0)
    paths = []
    for i in range(number):
        picture = np.zeros((480, 640, 3), np.float32)
        for cells in (4, 16, 60, 240):
            noise = random.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8)
            layer = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
            picture += np.asarray(layer, np.float32) * (0.5 if cells == 4 else 0.17)
        path = folder / f"{i:06d}.jpg"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(str(path))
    return paths
