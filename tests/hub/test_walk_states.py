"""Searches that share walk states, beside the same searches without: same paths, same scores, whatever came before."""

import copy
import pickle
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
import torch
from torch import nn

from cnn_rnn import walk_states
from cnn_rnn.beam_search import BeamSearchResult, Constraints
from cnn_rnn.cooccurrence import CooccurrencePrior
from cnn_rnn.path_decoder import PathDecoder
from cnn_rnn.walking import Walk

CELLS = ["lstm", "gru", "relu_lstm"]
NUM_LABELS, FEATURES = 9, 12
START = NUM_LABELS + 1
ALLOWED = torch.rand(64, NUM_LABELS, generator=torch.Generator().manual_seed(0)) > 0.3
PREFIX = torch.tensor([[4, 0], [7, NUM_LABELS], [NUM_LABELS, NUM_LABELS]]).repeat(22, 1)[:64]


def search(
    decoder: PathDecoder, features: torch.Tensor, constraints: Constraints, width: int, told: tuple[Any, ...] = ()
) -> BeamSearchResult:
    return Walk(decoder, features, *told).search(constraints, width)


def constraints_of(name: str, batch: int) -> Constraints:
    return {
        "free": Constraints(NUM_LABELS, NUM_LABELS),
        "short": Constraints(NUM_LABELS, 2),
        "long": Constraints(NUM_LABELS, 6, min_path_length=4),
        "ruled out": Constraints(NUM_LABELS, 5, allowed=ALLOWED[:batch]),
        "confirmed": Constraints(NUM_LABELS, 5, prefix=PREFIX[:batch]),
    }[name]


def decoder_of(cell: str = "lstm", *, attention: bool = False) -> PathDecoder:
    torch.manual_seed(0)
    decoder = PathDecoder(NUM_LABELS, FEATURES, 8, 16, cell=cell, dropout=0.5, attention=attention).eval()
    with torch.no_grad():
        decoder.image_projection.weight.mul_(3)  # so that walks differ from image to image
    return decoder


def features_of(batch: int, *, attention: bool = False) -> torch.Tensor:
    return torch.randn(batch, 5, FEATURES) if attention else torch.randn(batch, FEATURES)


def shared(decoder: PathDecoder, features: torch.Tensor, constraints: Constraints, width: int = 4) -> BeamSearchResult:
    with torch.no_grad():
        result = search(decoder, features, constraints, width)
    assert len(decoder.walk_states) > 0
    return result


def alone(decoder: PathDecoder, features: torch.Tensor, constraints: Constraints, width: int = 4) -> BeamSearchResult:
    """The search without a tree: gradients could flow through it."""
    known = len(decoder.walk_states)
    with torch.enable_grad():
        result = search(decoder, features, constraints, width)
    assert result.label_scores.requires_grad
    assert len(decoder.walk_states) == known
    return result


def assert_same(found: BeamSearchResult, expected: BeamSearchResult) -> None:
    assert torch.equal(found.paths, expected.paths)
    for name in ("path_scores", "step_scores", "label_scores"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name).detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("constraints", ["free", "short", "long", "ruled out", "confirmed"])
@pytest.mark.parametrize("attention", [False, True], ids=["vector", "attention"])
@pytest.mark.parametrize("cell", CELLS)
def test_shared_states_change_no_result_at_any_batch_size_or_width(
    cell: str, attention: bool, constraints: str
) -> None:
    decoder = decoder_of(cell, attention=attention)
    for batch, width in ((1, 4), (7, 4), (2, 1), (32, 5), (1, 40), (7, 2)):  # 40: more walks than step 1 has labels
        features = features_of(batch, attention=attention)
        held = constraints_of(constraints, batch)
        assert_same(shared(decoder, features, held, width), alone(decoder, features, held, width))


@pytest.mark.parametrize("cell", CELLS)
def test_known_labels_begin_trees_of_their_own(cell: str) -> None:
    torch.manual_seed(0)
    decoder = PathDecoder(
        NUM_LABELS, FEATURES, 8, 16, cell=cell, dropout=0.5, attention=False, known_state=True, hears_relevance=True
    ).eval()
    prior = CooccurrencePrior(NUM_LABELS)
    prior.left.copy_(torch.randn(NUM_LABELS, NUM_LABELS))
    known = torch.randint(-1, 2, (6, NUM_LABELS), generator=torch.Generator().manual_seed(1))
    known[2], known[3] = 0, known[1]
    features = features_of(6)
    free = shared(decoder, features, constraints_of("free", 6))
    for rows in (slice(0, 6), slice(1, 2), slice(2, 6)):
        told = (torch.randn(6, NUM_LABELS)[rows], known[rows], prior)
        held = Constraints(NUM_LABELS, 5, allowed=known[rows] == 0, taken=(known[rows] > 0).sum(dim=-1))
        with torch.no_grad():
            found = search(decoder, features[rows], held, 4, told)
        with torch.enable_grad():
            assert_same(found, search(decoder, features[rows], held, 4, told))
    told_alone = (None, known)
    with torch.no_grad():
        found = search(decoder, features, constraints_of("free", 6), 4, told_alone)
    assert torch.equal(found.label_scores[2], free.label_scores[2])  # nothing is known of this image
    assert not torch.allclose(found.label_scores[1], free.label_scores[1])


def test_what_was_walked_is_not_walked_again() -> None:
    decoder = decoder_of()
    features, held = features_of(8), constraints_of("free", 8)
    shared(decoder, features, held)
    known = len(decoder.walk_states)
    assert 1 < known <= 1 + 8 * 4 * NUM_LABELS
    shared(decoder, features, held)
    shared(decoder, features[2:5], held)
    assert len(decoder.walk_states) == known


class OwnEmbedding(nn.Embedding):
    """Someone's own kind of embedding, which may do more than look up."""


def test_scores_do_not_tell_what_was_searched_before() -> None:
    """Bit for bit: a prefix is remembered alike whoever came there first, alone or with others."""
    features, held = features_of(16), constraints_of("free", 16)
    fresh, used = decoder_of(), decoder_of()
    for row in range(16):
        shared(used, features_of(1), held)
        shared(used, features[row : row + 1], held)
    found, expected = shared(used, features, held), shared(fresh, features, held)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def change_in_place(decoder: PathDecoder) -> None:
    with torch.no_grad():
        decoder.label_embedding.weight[2] += 1


def change_data(decoder: PathDecoder) -> None:
    decoder.recurrent_projection.weight.data.mul_(-0.7)


def change_data_of_the_layer(decoder: PathDecoder) -> None:
    weight = next(decoder.recurrent.layer.parameters())
    weight.data = weight.data * 1.3


def load_others(decoder: PathDecoder) -> None:
    torch.manual_seed(5)
    decoder.load_state_dict({name: torch.randn_like(value) for name, value in decoder.state_dict().items()})


def assign_others(decoder: PathDecoder) -> None:
    torch.manual_seed(6)
    state = {name: torch.randn_like(value) for name, value in decoder.state_dict().items()}
    decoder.load_state_dict(state, assign=True)


def make_double_and_back(decoder: PathDecoder) -> None:
    decoder.to(torch.bfloat16).to(torch.float32)


def take_an_optimizer_step(decoder: PathDecoder) -> None:
    features = features_of(4, attention=decoder.attention is not None)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.5)
    decoder.train()
    Walk(decoder, features).follow(torch.tensor([[1, 3, NUM_LABELS]] * 4)).square().mean().backward()
    optimizer.step()
    decoder.eval()


CHANGES: list[Callable[[PathDecoder], None]] = [
    change_in_place,
    change_data,
    change_data_of_the_layer,
    load_others,
    assign_others,
    make_double_and_back,
    take_an_optimizer_step,
]


@pytest.mark.parametrize("attention", [False, True], ids=["vector", "attention"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_other_weights_begin_a_new_tree(change: Callable[[PathDecoder], None], attention: bool) -> None:
    decoder = decoder_of(attention=attention)
    features, held = features_of(6, attention=attention), constraints_of("free", 6)
    before = shared(decoder, features, held)
    change(decoder)
    after = shared(decoder, features, held)
    assert not torch.allclose(after.label_scores, before.label_scores, atol=1e-6)
    assert_same(after, alone(decoder, features, held))


def hook_the_layer(decoder: PathDecoder) -> None:
    decoder.recurrent.layer.register_forward_hook(lambda *_: None)


def replace_forward(decoder: PathDecoder) -> None:
    plain = decoder.recurrent_projection.forward
    setattr(decoder.recurrent_projection, "forward", lambda hidden: plain(hidden) + 1)  # noqa: B010 - as offloading does


def adapt(decoder: PathDecoder) -> None:
    nn.utils.parametrizations.weight_norm(decoder.recurrent_projection)


def replace_the_embedding(decoder: PathDecoder) -> None:
    decoder.label_embedding = OwnEmbedding(*decoder.label_embedding.weight.shape)


FURTHER = [hook_the_layer, replace_forward, adapt, replace_the_embedding]


@pytest.mark.parametrize("change", FURTHER, ids=lambda change: change.__name__)
def test_modules_that_depend_on_more_than_their_weights_share_nothing(change: Callable[[PathDecoder], None]) -> None:
    decoder = decoder_of()
    change(decoder)
    with torch.no_grad():
        search(decoder, features_of(3), constraints_of("free", 3), 4)
    assert len(decoder.walk_states) == 0


def test_training_and_autocast_and_half_built_models_share_nothing() -> None:
    decoder = decoder_of()
    features, held = features_of(3), constraints_of("free", 3)
    with torch.no_grad():
        search(decoder.train(), features, held, 4)
        assert len(decoder.walk_states) == 0
        assert decoder.training
        with torch.autocast("cpu", dtype=torch.bfloat16):
            search(decoder.eval(), features, held, 4)
    assert len(decoder.walk_states) == 0


def test_inference_mode_and_plain_no_grad_may_take_turns() -> None:
    decoder = decoder_of()
    held = constraints_of("free", 5)
    for batch in range(6):
        features = features_of(5)
        with torch.inference_mode() if batch % 2 == 0 else torch.no_grad():
            found = search(decoder, features, held, 4)
        assert_same(found, alone(decoder, features, held))


def test_frozen_weights_let_a_gradient_through_to_the_image() -> None:
    decoder = decoder_of().requires_grad_(requires_grad=False)
    features = features_of(3).requires_grad_()
    result = search(decoder, features, constraints_of("free", 3), 4)
    assert len(decoder.walk_states) > 0
    (gradient,) = torch.autograd.grad(result.label_scores.sum(), features)
    decoder.recurrent_projection.bias.requires_grad_()  # now the tree is left alone
    expected = search(decoder, features, constraints_of("free", 3), 4)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.label_scores.sum(), features)[0])


def test_memory_is_bounded_and_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of()
    shared(decoder, features_of(1), constraints_of("free", 1))
    row_bytes = walk_states.MOST_BYTES // decoder.walk_states.most_rows
    monkeypatch.setattr(walk_states, "MOST_BYTES", 60 * row_bytes)
    for batch in (1, 4, 2, 6):
        for _ in range(12):
            features, held = features_of(batch), constraints_of("free", batch)
            assert_same(shared(decoder, features, held), alone(decoder, features, held))
            assert len(decoder.walk_states) <= 60 + 4 * batch + 1


def test_a_copy_and_a_pickle_begin_with_an_empty_tree_and_a_saved_state_has_none() -> None:
    decoder = decoder_of()
    features, held = features_of(2), constraints_of("free", 2)
    expected = shared(decoder, features, held)
    for made in (copy.deepcopy(decoder), pickle.loads(pickle.dumps(decoder))):  # noqa: S301 - its own bytes
        assert len(made.walk_states) == 0
        assert_same(shared(made, features, held), expected)
    assert not [name for name in decoder.state_dict() if "walk_states" in name]


def test_threads_do_not_disturb_each_other() -> None:
    decoder = decoder_of()
    batches = [features_of(4) for _ in range(12)]
    held = constraints_of("free", 4)
    found: dict[int, Any] = {}

    def work(numbers: Iterator[int]) -> None:
        for number in numbers:
            with torch.no_grad():
                found[number] = search(decoder, batches[number], held, 4)

    threads = [Thread(target=work, args=(iter(range(first, 12, 3)),)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, features in enumerate(batches):
        assert_same(found[number], alone(decoder, features, held))


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_a_compiled_search_is_the_same_at_batch_sizes_that_change(cell: str) -> None:
    decoder = decoder_of(cell)
    held = constraints_of("short", 4)
    torch.compiler.reset()
    compiled = torch.compile(lambda features: tuple(search(decoder, features, held, 3)), backend="aot_eager")
    for batch in (4, 7, 4, 2):
        features = features_of(batch)
        with torch.no_grad():
            found = compiled(features)
        assert_same(BeamSearchResult(*found), alone(decoder, features, held, 3))
    torch.compiler.reset()
