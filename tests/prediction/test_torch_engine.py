"""A backbone that looks at the pieces of a batch side by side: the same features, the same rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from cnn_rnn.image_backbone import ImageBackbone
from cnn_rnn.prediction import onnx_engine
from cnn_rnn.prediction.bulk_prediction import predict_all
from cnn_rnn.prediction.onnx_engine import set_engine
from cnn_rnn.prediction.torch_engine import PIECE, PiecewiseBackbone

from .jobs import job_folder, pipeline_of, small_model

THREADS = 3


@pytest.fixture(params=[1, THREADS], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Torch has one thread, or several."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("images", [1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize(
    ("name", "pooling"), [("test_resnet", "avg"), ("test_resnet", "attention"), ("test_vit", "avg")]
)
def test_pieces_see_what_the_whole_batch_sees(name: str, pooling: str, images: int, threads: int) -> None:
    arguments = {"img_size": 64} if name == "test_vit" else {}
    whole = ImageBackbone(name, pooling, arguments).eval()
    pixel_values = torch.randn(images, 3, 64, 64)
    with torch.no_grad():
        expected, found = whole(pixel_values), PiecewiseBackbone(whole)(pixel_values)
    for field in ("last_hidden_state", "pooler_output"):
        assert_close(found[field], expected[field], rtol=1e-5, atol=1e-6)
    assert found.hidden_states is None
    assert torch.get_num_threads() == threads  # all are there for what follows


def test_pieces_share_the_threads_out(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    look = ImageBackbone.forward

    def spy(backbone: ImageBackbone, piece: torch.Tensor) -> Any:
        seen.append((len(piece), torch.get_num_threads()))
        return look(backbone, piece)

    monkeypatch.setattr(ImageBackbone, "forward", spy)
    backbone = PiecewiseBackbone(ImageBackbone("test_resnet").eval())
    backbone(torch.randn(4 * PIECE, 3, 32, 32))
    assert seen == [(PIECE, 1)] * 4
    seen.clear()
    backbone(torch.randn(PIECE, 3, 32, 32))
    assert seen == [(PIECE, threads)]


def test_it_hands_out_no_hidden_states() -> None:
    with pytest.raises(ValueError, match="no hidden states"):
        PiecewiseBackbone(ImageBackbone("test_resnet").eval())(torch.randn(1, 3, 32, 32), output_hidden_states=True)


def test_an_error_in_a_piece_is_the_batches() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        PiecewiseBackbone(ImageBackbone("test_resnet").eval())(torch.randn(2 * PIECE, 5, 32, 32))


def test_a_job_by_torch_has_the_rows_of_the_plain_backbone(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(str(path) for path in (photo_folder / "train").glob("*.png"))[:9]
    rows = {}
    for way, backbone in (("plain", lambda backbone: backbone), ("pieces", PiecewiseBackbone)):
        monkeypatch.setattr(onnx_engine, "PiecewiseBackbone", backbone)
        classify, folder = pipeline_of(small_model()), job_folder(tmp_path / way, files, part_size=9)
        assert set_engine(classify.model, "any", "torch", torch.device("cpu")) == "engine torch on cpu"
        assert type(classify.model.backbone) is (ImageBackbone if way == "plain" else PiecewiseBackbone)
        predict_all(classify, folder, batch_size=9)
        rows[way] = list(folder.rows())
    assert [row["image_id"] for row in rows["pieces"]] == [row["image_id"] for row in rows["plain"]]
    for found, expected in zip(rows["pieces"], rows["plain"], strict=True):
        assert_same_scores(found["labels"], expected["labels"])
        assert_same_scores(found["path"], expected["path"])
        assert found["path_score"] == pytest.approx(expected["path_score"], rel=1e-5)


def assert_same_scores(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], rel=1e-5)
