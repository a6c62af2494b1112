"""The example of the documents, run as it stands, and that links lead somewhere; those for the Hub: `test_push.py`."""

import re
from pathlib import Path

import pytest
from transformers import AutoImageProcessor, AutoModelForImageClassification

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bundled_model/README.md")),
    *sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("hub_configs/results/*.md")]),
]


def example(heading: str) -> str:
    """The first Python block below a heading."""
    section = (ROOT / "docs/training.md").read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_stock_trainer_trains_and_saves(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = example("With the Trainer of transformers")
    small = code.replace('"resnet50", weights="imagenet"', '"test_resnet"').replace("num_train_epochs=5", "max_steps=2")
    assert "imagenet" not in small
    assert "max_steps" in small
    (tmp_path / "photos").symlink_to(photo_folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(small, "README.md", "exec"), names)  # noqa: S102 - our own lines
    assert "train_loss" in capsys.readouterr().out
    model = AutoModelForImageClassification.from_pretrained("runs/trainer")
    assert isinstance(model, CnnRnnForImageClassification)
    assert isinstance(AutoImageProcessor.from_pretrained("runs/trainer"), CnnRnnImageProcessor)
    trained = names["model"]
    assert isinstance(trained, CnnRnnForImageClassification)
    assert {k: v.tolist() for k, v in model.state_dict().items()} == {
        k: v.tolist() for k, v in trained.state_dict().items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_map_names_every_file_of_the_model() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## The model, file by file\n")[1]
    named = re.findall(r"`([a-z_0-9]+)`", section.split("\n## ")[0].split("|---|")[1])
    files = {file.stem for file in (ROOT / "src/cnn_rnn").glob("*.py")} - {"__init__", "modeling_cnn_rnn"}
    assert sorted(named) == sorted(files - {"registration"})  # which is in the table of the rooms
