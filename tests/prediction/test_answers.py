"""What people know of images, from its file to the rows of a prediction."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from tests.commands_by_name import main_of

from cnn_rnn import CnnRnnForImageClassification, CnnRnnImageProcessor, MultiLabelImageClassificationPipeline
from cnn_rnn.prediction.answers import read_answers

LABELS = ["blue", "green", "red"]


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_predict_takes_what_is_known_and_writes_it_beside_the_labels(photo_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32, "known_labels": "state"}
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=LABELS, **sizes)
    processor = CnnRnnImageProcessor.from_config(model.config)
    MultiLabelImageClassificationPipeline(model, image_processor=processor).save_pretrained(tmp_path / "model")
    images = sorted(path.name for path in (photo_folder / "test").glob("*.png"))
    arguments = ["--model", str(tmp_path / "model"), "--input", str(photo_folder / "test"), "--num_workers", "0"]
    arguments += ["--threshold", "0", "--engine", "torch"]
    assert main_of("predict")([*arguments, "--output", str(tmp_path / "untold")]) == 0
    ids = pq.read_table(tmp_path / "untold" / "labels.parquet").column("image_id").to_pylist()
    assert len(ids) == len(images)
    answers = write(tmp_path / "known.jsonl", {"image_id": ids[1], "known": {"red": True, "blue": False}})
    assert main_of("predict")([*arguments, "--output", str(tmp_path / "told"), "--known", str(answers)]) == 0
    untold, told = (pq.read_table(tmp_path / name / "labels.parquet").to_pylist() for name in ("untold", "told"))
    for before, after in zip(untold, told, strict=True):
        if after["image_id"] != ids[1]:
            assert {entry["label"]: entry["score"] for entry in after["labels"]} == pytest.approx(
                {entry["label"]: entry["score"] for entry in before["labels"]}, abs=1e-5
            )
            assert after["known"] is None
            continue
        scores = {entry["label"]: entry["score"] for entry in after["labels"]}
        assert scores["red"] > 0.999
        assert "blue" not in scores  # not even with a threshold of 0
        assert after["path"][0]["label"] == "red"
        assert after["known"] == [{"label": "red", "present": True}, {"label": "blue", "present": False}]
    write(answers, {"image_id": ids[1], "known": {"red": True}})  # another answer is another job
    assert main_of("predict")([*arguments, "--output", str(tmp_path / "told"), "--known", str(answers)]) == 0
    again = pq.read_table(tmp_path / "told" / "labels.parquet").to_pylist()
    assert again[1]["known"] == [{"label": "red", "present": True}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ({"image_id": "1.png"}, "line 2 must be"),
        ("[" * 100_000 + "]" * 100_000, "line 2 is nested too deep"),
        ({"image_id": "7.png", "known": {}}, "line 2: there is no image '7.png'; did you mean '"),
        ({"image_id": "3.png", "known": {}}, "no image '3.png'; did you mean 'below/3.png'"),
        ({"image_id": ["1.png"], "known": {}}, r"image_id must be an image's name, got \['1.png'\]"),
        ({"image_id": "2.png", "known": {"rad": True}}, "no label 'rad'; did you mean 'red'"),
        ({"image_id": "2.png", "known": {"red": 1}}, "'red' must be true or false, got 1"),
        ({"image_id": "1.png", "known": {"red": True}}, "'1.png' was named before"),
        ('{"image_id": "2.png", "known": {"red": true, "red": false}}', "line 2 is not JSON: 'red' stands there twice"),
        ('{"image_id": "2.png", "image_id": "3.png", "known": {}}', "'image_id' stands there twice"),
    ],
    ids=lambda case: str(case)[:40],
)
def test_a_line_that_says_nothing_clear_is_refused(tmp_path: Path, line: Any, message: str) -> None:
    path = write(tmp_path / "known.jsonl", {"image_id": "1.png", "known": {"red": False}}, line)
    with pytest.raises(ValueError, match=message):
        read_answers(path, ["1.png", "2.png", "below/3.png"], LABELS)


def test_a_mark_at_the_beginning_and_names_of_any_sign_are_read(tmp_path: Path) -> None:
    names = ["a\u2028b.jpg", "c\x85d.jpg"]
    lines = [json.dumps({"image_id": name, "known": {"cat": True}}, ensure_ascii=False) for name in names]
    path = tmp_path / "known.jsonl"
    path.write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    assert read_answers(path, names, ["cat"]) == {name: {"cat": True} for name in names}
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"known\.jsonl is not UTF-8"):
        read_answers(path, names, ["cat"])
