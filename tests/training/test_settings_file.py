"""Settings from anybody: whatever a file of YAML tries, it is read as plain values, or refused in one line at once."""

from pathlib import Path

import pytest

from cnn_rnn.training import RunConfigError, load_run_config
from cnn_rnn.training.settings_file import read_settings

LAUGHS = ["&a [x,x,x,x,x,x,x,x,x]", *(f"&{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(9))]
HOSTILE = {
    "many laughs": ("data:\n  class_names:\n" + "".join(f"    - {line}\n" for line in LAUGHS), "unfolds to more than"),
    "itself": ("model: &a\n  backbone_args: *a\n", "unfolds to more than 100,000 values"),
    "deep": ("model: " + "[" * 20_000, "nested too deep"),
    "code": ("model: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    "twice": ("train:\n  lr: 1\n  epochs: 3\n  lr: 2\n", "'lr' stands there twice"),
    "blocks twice": ("train:\n  lr: 1\ntrain:\n  epochs: 2\n", "'train' stands there twice"),
    "digits": ("train:\n  epochs: " + "9" * 5000 + "\n", "4300 digits"),
    "nan": ("train:\n  lr: .nan\n", r"train\.lr is nan; expected a number"),
    "infinite": ("model:\n  image_mean: 0.5\n  crop_pct: .inf\n", r"model\.crop_pct is inf"),
    "a list": ("- train\n", "must hold the blocks model, data, train and hub, got list"),
}


@pytest.mark.parametrize(("text", "told"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_settings_are_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RunConfigError, match=told):
        load_run_config(tmp_path / "a.yaml")


def test_what_is_repeated_within_reason_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: &m {backbone: resnet50}\nother: {<<: *m, image_size: 64}\n")
    assert read_settings(tmp_path / "a.yaml")["other"] == {"backbone": "resnet50", "image_size": 64}
    (tmp_path / "a.yaml").write_text("")
    assert read_settings(tmp_path / "a.yaml") == {}
