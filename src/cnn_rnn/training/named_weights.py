"""What `model.weights` names: a backbone's weights, or a whole model to start from."""

from pathlib import Path

from cnn_rnn.foundation.shipped_files import bundled_model

BUNDLED = "bundled"  # the model that ships, wherever it is installed


def is_model(weights: object) -> bool:
    """Whether what `model.weights` names is a saved model: the one that ships, a folder, or a name on the Hub."""
    if not isinstance(weights, str | Path):
        return False
    path = Path(weights)
    if str(weights) == BUNDLED or path.is_dir():
        return True
    name = str(weights)
    return name.count("/") == 1 and not path.suffix and not name.startswith((".", "~", "/")) and not path.exists()


def model_source(weights: str | Path) -> str:
    """The folder or Hub name of the model that `weights` names; `./bundled` is a folder of one's own of that name."""
    return str(bundled_model()) if str(weights) == BUNDLED else str(weights)
