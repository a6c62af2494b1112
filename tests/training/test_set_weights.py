"""The weights of whole sets are those by which the true sets were drawn."""

import pytest
import torch

from cnn_rnn.training.set_weights import FIRST_WEIGHTS, fit_set_weights


@pytest.mark.parametrize("weights", [(0.7, 0.2, 0.5), (0.0, 1.0, 0.0)], ids=str)
def test_they_are_found_again(weights: tuple[float, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    terms = 2 * torch.randn(8000, 6, 3, generator=generator)
    terms[:, 5, 0] = -torch.inf  # no candidate, and it would be the best
    terms[:, 5, 1:] = 100.0
    scores = terms[:, :5] @ torch.tensor(weights)
    drawn = torch.multinomial(scores.softmax(dim=1), 1, generator=generator)
    right = torch.zeros(8000, 6, dtype=torch.bool).scatter(1, drawn, value=True)
    right[:100] = False  # the true set is none of the candidates
    assert fit_set_weights(terms, right) == pytest.approx(weights, abs=0.05)


def test_few_images_leave_the_first_guess() -> None:
    nothing = fit_set_weights(torch.zeros(4, 3, 3), torch.zeros(4, 3, dtype=torch.bool))
    assert nothing == pytest.approx(FIRST_WEIGHTS)
    one = fit_set_weights(torch.randn(1, 3, 3), torch.tensor([[True, False, False]]))
    assert one == pytest.approx(FIRST_WEIGHTS, abs=0.2)
