"""Which names are those of photos: one list for training, tables, prediction and the app."""

from pathlib import PurePath

from PIL import Image

from cnn_rnn.upright_rgb import FORMATS

MPO = "MPO"  # several JPEGs in one file, as phones and 3D cameras make them; read as JPEG
READ_SUFFIXES = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in {*FORMATS, MPO})
HEIF = "pip install 'cnn-rnn[heif]'"
AVIF = "pip install --upgrade Pillow"
WAYS_TO_READ = {
    suffix: way
    for suffix, way in {".heic": HEIF, ".heif": HEIF, ".hif": HEIF, ".avif": AVIF}.items()
    if suffix not in READ_SUFFIXES
}
PHOTO_SUFFIXES = READ_SUFFIXES | WAYS_TO_READ.keys()


def is_photo_name(name: str) -> bool:
    """Whether a name ends as those of photos do, be they read here or not."""
    return PurePath(name).suffix.lower() in PHOTO_SUFFIXES


def way_to_read(name: str) -> str | None:
    """What must be installed before a photo of this name is read; None where nothing is lacking."""
    return WAYS_TO_READ.get(PurePath(name).suffix.lower())
