"""Who may import whom: the rules of CONTRIBUTING.md as `pyproject.toml` writes them down; siblings by short names."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.commands_by_name import ROOT

PACKAGE = ROOT / "src" / "cnn_rnn"
NOT_FOR_ONE_PHOTO = {"torch", "transformers", "datasets", "pandas", "evaluate", "matplotlib", "cnn_rnn.training"}


def test_nobody_imports_upward_and_the_hub_copy_stands_alone() -> None:
    # in a process of its own: the linter sets up logging, which would silence the loggers of other tests
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_the_top_holds_the_hub_copy_and_registration() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (hub_copy,) = (set(each["source_modules"]) for each in contracts if each["name"].startswith("The Hub copy"))
    own = {name.removeprefix("cnn_rnn.") for name in hub_copy}
    assert {path.stem for path in PACKAGE.glob("*.py")} == own | {"__init__", "registration"}


def test_siblings_import_each_other_by_short_names() -> None:
    alone = {"evaluate_metric.py"}  # evaluate loads it by itself, as the Hub loads the files at the top by theirs
    long = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name not in alone and imports_sibling_by_long_name(path)
    ]
    assert long == []


def imports_sibling_by_long_name(path: Path) -> bool:
    """Whether a file names its own folder in an import."""
    room = ".".join(path.parent.relative_to(PACKAGE.parent).parts)
    return (
        re.search(rf"^\s*(from|import) {re.escape(room)}\.", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


def test_no_file_name_stands_twice() -> None:
    names = [path.name for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_one_photo_from_the_command_line_loads_what_it_needs_and_its_process_ends_at_once() -> None:
    photo = ROOT / "bundled_model" / "example.jpg"
    code = (
        "import atexit, gc, sys; from cnn_rnn.commands.cli import main\n"
        "atexit.register(lambda: print('left alone' if gc.get_freeze_count() else 'searched'))\n"
        f"assert main(['predict', '--input', {str(photo)!r}]) == 0\n"
        f"print(gc.isenabled(), sorted({NOT_FOR_ONE_PHOTO} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[1:] == ["True []", "left alone"]
