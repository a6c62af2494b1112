"""A list of settings, trained and compared."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands_by_name import main_of

LIST = """
config: {config}
runs:
  ours: {{}}
  plain head: {{train.baseline: true, train.epochs: 2}}
"""


def test_a_list_becomes_one_table_and_one_json_and_goes_on_where_it_was(
    settings: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = settings(tmp_path / "unused", train__epochs=1)
    config = tmp_path / "shared.yaml"
    config.write_text("{}")
    (tmp_path / "list.yaml").write_text(LIST.format(config=config))
    others = shared[2:] if shared[0] == "--config" else shared
    (tmp_path / "out").mkdir()
    for name in ("table.csv", "ablation.json"):
        (tmp_path / "out" / name).write_text("by hand")
    arguments = [str(tmp_path / "list.yaml"), "--output", str(tmp_path / "out"), "--seeds", "0", "1", *others]
    assert main_of("ablate")(arguments) == 0
    written = json.loads((tmp_path / "out" / "ablation.json").read_text())
    for name, run in written["runs"].items():
        folder = tmp_path / "out" / name.replace(" ", "_")
        own = [json.loads((folder / f"seed-{seed}" / "metrics.json").read_text())["mAP"] for seed in (0, 1)]
        assert run["figures"]["mAP"]["values"] == own
        assert run["figures"]["mAP"]["mean"] == pytest.approx(sum(own) / 2)
    assert written["runs"]["plain head"]["figures"]["exact path"]["mean"] is None  # it walks no path
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/model.safetensors")}
    assert len(before) == 4
    assert main_of("ablate")(arguments) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    kept = {path.name: path.read_text() for path in (tmp_path / "out").glob("*.before*")}
    assert kept == {"table.before.csv": "by hand", "ablation.before.json": "by hand"}  # and of its own nothing
    assert "plain head" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["runs: {}", "config: x", "config: x\nruns: {a: {lr: 1}}", "config: x\nrun: {}"])
def test_what_is_no_such_list_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.yaml").write_text(text)
    assert main_of("ablate")([str(tmp_path / "list.yaml"), "--output", str(tmp_path)]) == 2
    assert "must hold" in capsys.readouterr().err
