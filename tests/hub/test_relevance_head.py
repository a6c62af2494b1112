"""Heads that score every label by itself."""

import pytest
import torch

from cnn_rnn.relevance_head import build_relevance_head


@pytest.mark.parametrize(("kind", "shape"), [("linear", (3, 16)), ("mlp", (3, 16)), ("ml_decoder", (3, 9, 16))])
def test_every_head_gives_a_logit_a_label_and_learns(kind: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = build_relevance_head(kind, 16, 5, hidden_size=32, dropout=0.1).eval()
    features = torch.randn(*shape)
    logits = head(features)
    assert logits.shape == (3, 5)
    torch.testing.assert_close(head(features[1:2]), logits[1:2], atol=1e-5, rtol=1e-4)  # an image alone
    logits.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown relevance head 'tree', expected 'linear', 'mlp' or 'ml_decoder'"):
        build_relevance_head("tree", 16, 5, hidden_size=32, dropout=0.1)
