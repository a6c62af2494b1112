"""Files that a wheel carries inside the package and a checkout keeps at its root."""

from pathlib import Path

PLACES = (Path(__file__).parents[1], Path(__file__).parents[3])  # of an installed package, of a checkout


def shipped_file(name: str) -> Path:
    """The path of a file or folder that ships with the package, such as `model_card.md` or `hub_configs`.

    Raises:
        FileNotFoundError: It is in neither place; the installation is broken.
    """
    for place in PLACES:
        if (place / name).exists():
            return place / name
    raise FileNotFoundError(f"{name} is missing from this installation of cnn-rnn; install the package again")


def bundled_model() -> Path:
    """The folder of the model that ships with the package; `from_pretrained` takes it.

    It knows COCO's 80 labels by their official names, and of the rest Corel5k's words.

    Raises:
        FileNotFoundError: The installation is broken.
    """
    return shipped_file("bundled_model")
