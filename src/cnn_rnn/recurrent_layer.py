"""The recurrent layer of a walk (section 3.1): torch's cells and the paper's own with one interface."""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from .walk_states import is_plain

RecurrentState = tuple[Tensor, ...]
"""What a recurrent cell remembers of N sequences: tensors (N, H)."""


class ReluLstm(nn.Module):
    """The paper's recurrent layer (section 3.1): an LSTM, ReLU for all non-linearities, no bias, output r(t) * o."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_gates = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.hidden_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Outputs (N, T, H) for inputs (N, T, E), and the state: memory r and output, (N, H) each."""
        memory, output = state
        outputs = []
        for gates in self.input_gates(inputs).unbind(dim=1):
            candidate, enter, forget, leave = F.relu(gates + self.hidden_gates(output)).chunk(4, dim=-1)
            memory = forget * memory + enter * candidate
            output = memory * leave
            outputs.append(output)
        return torch.stack(outputs, dim=1), (memory, output)


class RecurrentLayer(nn.Module):
    """A recurrent layer over label embeddings, the same face for every cell."""

    def __init__(self, cell: str, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_states = 1 if cell == "gru" else 2
        self.batched = cell != "relu_lstm"  # torch's own layers keep a leading dimension of layers in their state
        layers = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.layer: nn.Module = (
            layers[cell](input_size, hidden_size, batch_first=True)
            if self.batched
            else ReluLstm(input_size, hidden_size)
        )

    def initial_state(self, like: Tensor) -> RecurrentState:
        """State of all zeros, of the dtype and device of `like` (N, ...)."""
        return (like.new_zeros(like.shape[0], self.hidden_size),) * self.num_states

    def forward(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Outputs (N, T, H) for inputs (N, T, E), and the state after the last step."""
        if not self.batched:
            return cast("tuple[Tensor, RecurrentState]", self.layer(inputs, state))
        given = tuple(tensor[None].contiguous() for tensor in state)
        outputs, new = self.layer(inputs, given if len(given) > 1 else given[0])
        return outputs, tuple(tensor[0] for tensor in (new if isinstance(new, tuple) else (new,)))

    def step(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Output (N, H) and state after one input (N, E), as `forward` gives it.

        torch's layers prepare their weights for whole sequences at every call, which costs more than a single step.
        """
        layer = self.layer
        if not is_plain(layer):
            outputs, new = self(inputs[:, None], state)
            return outputs[:, 0], new
        if isinstance(layer, nn.LSTM):
            hidden, memory = torch.lstm_cell(inputs, state, *layer.all_weights[0])
            return hidden, (hidden, memory)
        assert isinstance(layer, nn.GRU)
        hidden = torch.gru_cell(inputs, state[0], *layer.all_weights[0])
        return hidden, (hidden,)

    def leaves(self) -> list[nn.Module]:
        """The modules that hold the weights."""
        return [self.layer] if self.batched else list(self.layer.children())
