"""A Space: the page on which photos are labelled, with the model and the package's own files, served by the Hub."""

import importlib.metadata
from pathlib import Path

from huggingface_hub import SpaceCard, SpaceCardData
from packaging.requirements import Requirement

import cnn_rnn
from cnn_rnn.foundation.shipped_files import shipped_file

from .push import Files, saved_model_files

MODEL, PACKAGE = "model", "cnn_rnn"
SUFFIXES = frozenset({".py", ".pyi", ".typed", ".jinja", ".js", ".css"})
APP = '''"""The page on which photos are labelled: drop photos, confirm labels, take the labels away."""

from cnn_rnn.app.page_server import serve
from cnn_rnn.app.photo_tagger import Tagger
from cnn_rnn.app.tagging_page import Desk

serve(Desk(Tagger.load("model")), host="0.0.0.0", port=7860)
'''
ABOUT = """
# {title}

Drop photos, confirm or rule out labels, and see what the model expects of the others; take the labels away as
`metadata.jsonl`, which `cnn-rnn train` reads. Photos are removed after a day. The model knows {labels} labels.
"""


def space_files(folder: Path, repo: str, license_name: str = "apache-2.0") -> Files:
    """Everything that a Space needs: `app.py`, its requirements and card, the model, and the package.

    Args:
        folder: The folder of a finished run.
        repo: Name of the Space on the Hub.
        license_name: Licence of the weights.

    Raises:
        ValueError: The folder is no model of this package.
        FileNotFoundError: A file is missing.
    """
    model = saved_model_files(folder)
    labels = len(cnn_rnn.CnnRnnConfig.from_pretrained(folder).label_names)
    title = repo.rpartition("/")[2]
    data = SpaceCardData(
        title=title,
        sdk="gradio",
        sdk_version=importlib.metadata.version("gradio"),
        app_file="app.py",
        license=license_name,
        tags=["multi-label", "image-classification", "cnn-rnn"],
    )
    card = SpaceCard(f"---\n{data.to_yaml()}\n---\n{ABOUT.format(title=title, labels=labels)}")
    return {
        "README.md": card.content.encode(),
        "app.py": APP.encode(),
        "requirements.txt": "".join(f"{line}\n" for line in requirements()).encode(),
        **{f"{MODEL}/{name}": content for name, content in model.items()},
        **package_files(),
    }


def requirements() -> list[str]:
    """What the page needs beside the package itself; Gradio comes with the Space."""
    found = [Requirement(line) for line in importlib.metadata.requires("cnn-rnn") or ()]
    needed = [one for one in found if one.marker is None or one.marker.evaluate({"extra": "app"})]
    return [f"{one.name}{one.specifier}" for one in needed if one.name != "gradio"]


def package_files() -> Files:
    """The package's own files, so that the Space needs no index that has it."""
    root = Path(cnn_rnn.__file__).parent
    files: Files = {
        f"{PACKAGE}/{path.relative_to(root).as_posix()}": path
        for path in sorted(root.rglob("*"))
        if path.suffix in SUFFIXES or path.name == "py.typed"
    }
    return {**files, f"{PACKAGE}/model_card.md": shipped_file("model_card.md")}
