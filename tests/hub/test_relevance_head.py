"""Heads that score every label by itself."""

import pytest
import torch
from timm.layers.ml_decoder import MLDecoder

from cnn_rnn.relevance_head import MlpHead, ResidualAttention, build_relevance_head


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("linear", (3, 16)), ("mlp", (3, 16)), ("residual_attention", (3, 9, 16)), ("ml_decoder", (3, 9, 16))],
)
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
    with pytest.raises(ValueError, match="unknown relevance head 'tree', expected 'linear', 'mlp', 'residual_"):
        build_relevance_head("tree", 16, 5, hidden_size=32, dropout=0.1)


def test_the_best_place_counts_half_beside_the_mean() -> None:
    torch.manual_seed(0)
    head = ResidualAttention(4, 3, 3, dropout=0.0).eval()
    places = torch.randn(2, 5, 4)
    alike = places[:, :1].expand(-1, 5, -1)  # every place says the same: no place is better than the mean
    by_mean = MlpHead.forward(head, alike.mean(dim=1))
    torch.testing.assert_close(head(alike), by_mean + 0.5 * head.place_scores(alike[:, 0]))
    order = torch.randperm(5)
    torch.testing.assert_close(head(places[:, order]), head(places))
    one_by_one = torch.stack([head.place_scores(places[:, place]) for place in range(5)]).amax(dim=0)
    torch.testing.assert_close(head(places) - MlpHead.forward(head, places.mean(dim=1)), 0.5 * one_by_one)


@pytest.mark.parametrize("num_labels", [5, 100, 230])  # as many queries as labels, and one for up to three of them
def test_label_queries_give_what_timms_own_head_gives(num_labels: int) -> None:
    torch.manual_seed(0)
    ours = build_relevance_head("ml_decoder", 16, num_labels, hidden_size=32, dropout=0.1).eval().double()
    theirs = MLDecoder(num_labels, decoder_embedding=32, initial_num_features=16).eval().double()
    theirs.load_state_dict(ours.state_dict())  # under the same names
    (layer,) = theirs.decoder.layers
    theirs.decoder.forward = layer.forward  # torch's own asks a layer for what timm's does not have
    places = torch.randn(3, 9, 16, dtype=torch.double)
    expected = theirs(places.clone())
    torch.testing.assert_close(ours(places), expected, atol=1e-12, rtol=1e-12)
    for head in (ours, theirs):
        head(places).square().sum().backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters() if weight.grad is not None}
    assert gradients
    for name, weight in ours.named_parameters():
        if name in gradients:
            torch.testing.assert_close(weight.grad, gradients[name], atol=1e-9, rtol=1e-9)
