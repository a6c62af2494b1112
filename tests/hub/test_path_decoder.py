"""The decoder against the paper's equations, and against itself one step at a time."""

import pytest
import torch
from torch import nn

from cnn_rnn.path_decoder import PathDecoder
from cnn_rnn.recurrent_layer import RecurrentLayer, ReluLstm

CELLS = ["lstm", "gru", "relu_lstm"]
NUM_LABELS, FEATURES, EMBEDDING, HIDDEN = 5, 6, 4, 8
START = NUM_LABELS + 1


def decoder_of(cell: str = "lstm", *, attention: bool = False, dropout: float = 0.5) -> PathDecoder:
    torch.manual_seed(0)
    decoder = PathDecoder(
        NUM_LABELS, FEATURES, EMBEDDING, HIDDEN, cell=cell, dropout=dropout, attention=attention
    ).eval()
    nn.init.normal_(decoder.label_embedding.weight)
    return decoder


def features_of(batch: int, *, attention: bool) -> torch.Tensor:
    return torch.randn(batch, 7, FEATURES) if attention else torch.randn(batch, FEATURES)


PATHS = torch.tensor([[START, 2, 0, 4], [START, 1, 3, 2], [START, 4, 0, 1]])


@pytest.mark.parametrize("attention", [False, True], ids=["vector", "attention"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_label_at_a_time_gives_what_the_whole_path_gives(cell: str, attention: bool) -> None:
    decoder = decoder_of(cell, attention=attention)
    image = decoder.embed_image(features_of(3, attention=attention))
    together, last = decoder(PATHS, image)
    assert together.shape == (3, 4, NUM_LABELS + 1)
    state = decoder.recurrent.initial_state(image)
    for step in range(PATHS.shape[1]):
        logits, state = decoder(PATHS[:, step : step + 1], image, state)
        torch.testing.assert_close(logits[:, 0], together[:, step])
    for carried, behind in zip(state, last, strict=True):
        torch.testing.assert_close(carried, behind)


@pytest.mark.parametrize("attention", [False, True], ids=["vector", "attention"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_later_label_does_not_change_an_earlier_step(cell: str, attention: bool) -> None:
    decoder = decoder_of(cell, attention=attention)
    image = decoder.embed_image(features_of(3, attention=attention))
    other = PATHS.clone()
    other[:, 2] = 3
    before, after = decoder(PATHS, image)[0], decoder(other, image)[0]
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


@pytest.mark.parametrize("attention", [False, True], ids=["vector", "attention"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_recurrent_state_never_sees_the_image(cell: str, attention: bool) -> None:
    decoder = decoder_of(cell, attention=attention)
    one, two = (decoder.embed_image(features_of(3, attention=attention)) for _ in range(2))
    (logits, state), (other_logits, other_state) = decoder(PATHS, one), decoder(PATHS, two)
    assert not torch.allclose(logits, other_logits)
    assert all(torch.equal(tensor, other) for tensor, other in zip(state, other_state, strict=True))


def test_the_relu_cell_is_the_papers_equations() -> None:
    torch.manual_seed(0)
    cell = ReluLstm(EMBEDDING, HIDDEN)
    words = torch.randn(3, 5, EMBEDDING)
    # Gates x, i, f, o of section 3.1, each U_gate w_k(t) + V_gate o(t-1), ReLU throughout and no bias.
    enters = cell.input_gates.weight.split(HIDDEN)
    recurs = cell.hidden_gates.weight.split(HIDDEN)
    memory, output = torch.zeros(3, HIDDEN), torch.zeros(3, HIDDEN)
    expected = []
    for step in range(5):
        gates = [words[:, step] @ u.T + output @ v.T for u, v in zip(enters, recurs, strict=True)]
        x, i, f, o = (gate.clamp(min=0) for gate in gates)
        memory = f * memory + i * x
        output = memory * o
        expected.append(output)
    outputs, (last_memory, last_output) = cell(words, (torch.zeros(3, HIDDEN), torch.zeros(3, HIDDEN)))
    assert torch.stack(expected).abs().max() > 0
    torch.testing.assert_close(outputs, torch.stack(expected, dim=1))
    torch.testing.assert_close(last_memory, memory)
    torch.testing.assert_close(last_output, output)
    assert [name for name, _ in cell.named_parameters() if "bias" in name] == []


@pytest.mark.parametrize(("cell", "one_step"), [("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
def test_the_textbook_cells_are_torchs_step_by_step(cell: str, one_step: type[nn.LSTMCell] | type[nn.GRUCell]) -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(cell, EMBEDDING, HIDDEN)
    reference = one_step(EMBEDDING, HIDDEN)
    reference.load_state_dict({name: layer.layer.state_dict()[f"{name}_l0"] for name in reference.state_dict()})
    words = torch.randn(3, 5, EMBEDDING)
    outputs, state = layer(words, layer.initial_state(words))
    carried = None
    for step in range(5):
        carried = reference(words[:, step], carried)
        hidden = carried[0] if isinstance(carried, tuple) else carried
        torch.testing.assert_close(outputs[:, step], hidden)
    torch.testing.assert_close(state, carried if isinstance(carried, tuple) else (carried,))


def test_the_logits_are_the_papers_joint_embedding() -> None:
    decoder = decoder_of()
    features = features_of(3, attention=False)
    logits, _ = decoder(PATHS, decoder.embed_image(features))
    table = decoder.label_embedding.weight
    hidden, _ = decoder.recurrent.layer(table[PATHS])
    projected = decoder.recurrent_projection(hidden) + decoder.image_projection(features)[:, None]
    torch.testing.assert_close(logits, torch.tanh(projected) @ table[: NUM_LABELS + 1].T)


def test_the_embedding_is_one_parameter_for_input_and_output() -> None:
    decoder = decoder_of()
    image = decoder.embed_image(features_of(1, attention=False))
    before, state = decoder(torch.tensor([[START, 2]]), image)
    with torch.no_grad():
        decoder.label_embedding.weight[2] += 1
    after, new_state = decoder(torch.tensor([[START, 2]]), image)
    changed = (before[0, 0] != after[0, 0]).tolist()
    assert changed == [label == 2 for label in range(NUM_LABELS + 1)]  # as an output, at a step that has not read it
    assert not torch.allclose(state[0], new_state[0])  # as an input
    assert not torch.allclose(before[0, 1, :2], after[0, 1, :2])


def test_whatever_stands_in_for_the_embedding_counts_on_its_output_side_too() -> None:
    decoder = decoder_of()
    image = decoder.embed_image(features_of(3, attention=False))
    decoder.label_embedding.register_forward_hook(lambda _module, _ids, vectors: torch.zeros_like(vectors))
    assert not decoder(PATHS, image)[0].any()  # as where weights are offloaded, adapted or quantised


@pytest.mark.parametrize("attention", [False, True], ids=["vector", "attention"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_number_of_parameters_is_that_of_the_equations(cell: str, attention: bool) -> None:
    e, h, d = EMBEDDING, HIDDEN, FEATURES
    recurrent = {"lstm": 4 * (e * h + h * h + 2 * h), "gru": 3 * (e * h + h * h + 2 * h), "relu_lstm": 4 * h * (e + h)}
    expected = (NUM_LABELS + 2) * e + recurrent[cell] + (h * e + e) + (d * e + e)
    expected += (h * e + e) + e if attention else 0
    assert sum(parameter.numel() for parameter in decoder_of(cell, attention=attention).parameters()) == expected


def test_attention_does_not_mind_the_order_of_the_places() -> None:
    decoder = decoder_of(attention=True)
    features = features_of(3, attention=True)
    shuffled = features[:, torch.randperm(features.shape[1])]
    before, after = (decoder(PATHS, decoder.embed_image(places))[0] for places in (features, shuffled))
    torch.testing.assert_close(before, after)


def test_attention_is_a_weighted_mean_whose_weights_depend_on_the_step() -> None:
    decoder = decoder_of(attention=True)
    assert decoder.attention is not None
    same = torch.randn(2, 1, FEATURES).expand(-1, 7, -1)
    hidden = torch.randn(2, 3, HIDDEN)
    embedded = decoder.embed_image(same)
    torch.testing.assert_close(decoder.attention(hidden, embedded), embedded[:, :3])  # of equal places: that place
    places = decoder.embed_image(features_of(2, attention=True))
    seen = decoder.attention(hidden, places)
    assert not torch.allclose(seen[:, 0], seen[:, 1])
    assert (seen <= places.amax(dim=1, keepdim=True) + 1e-6).all()
    assert (seen >= places.amin(dim=1, keepdim=True) - 1e-6).all()


def test_dropout_is_for_training_only() -> None:
    decoder = decoder_of(dropout=0.5)
    image = decoder.embed_image(features_of(3, attention=False))
    assert torch.equal(decoder(PATHS, image)[0], decoder(PATHS, image)[0])
    decoder.train()
    assert not torch.equal(decoder(PATHS, image)[0], decoder(PATHS, image)[0])
    decoder.dropout.p = 0.0
    torch.testing.assert_close(decoder(PATHS, image)[0], decoder.eval()(PATHS, image)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_every_parameter_is_trained(cell: str) -> None:
    decoder = decoder_of(cell, attention=True)
    decoder(PATHS, decoder.embed_image(features_of(3, attention=True)))[0].square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in decoder.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
