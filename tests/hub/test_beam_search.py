"""The search against brute force: every path of a small label set, its probability worked out one step at a time."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch

from cnn_rnn.beam_search import BeamSearchResult, Constraints, SearchState, beam_search
from cnn_rnn.label_paths import paths_to_labels

STATE_SIZE = 8


class ToyModel:
    """A small recurrent model with random weights; `images` are its initial states (B, S)."""

    def __init__(self, num_labels: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.num_labels = num_labels
        self.embedding = torch.randn(num_labels + 2, STATE_SIZE, generator=generator)
        self.output = torch.randn(STATE_SIZE, num_labels + 1, generator=generator)

    def __call__(self, labels: torch.Tensor, state: SearchState) -> tuple[torch.Tensor, SearchState]:
        """One step, as the search calls it."""
        hidden = torch.tanh(0.5 * state[0] + self.embedding[labels])
        return hidden @ self.output, (hidden,)

    def search(self, images: torch.Tensor, width: int, constraints: Constraints) -> BeamSearchResult:
        """The search's result for these images."""
        state = (images[:, None].expand(-1, width, -1),)
        return beam_search(self, state, torch.full((len(images),), self.num_labels + 1), constraints, width)

    def all_paths(self, image: torch.Tensor, constraints: Constraints) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every path that the constraints admit, with its probability: the definition, one label at a time."""
        allowed = set(range(self.num_labels))
        if constraints.allowed is not None:
            allowed = set(constraints.allowed[0].nonzero().flatten().tolist())
        prefix: list[int] = [] if constraints.prefix is None else constraints.prefix[0].tolist()
        end = self.num_labels

        def extend(path: tuple[int, ...], state: torch.Tensor, score: float) -> Iterator[tuple[tuple[int, ...], float]]:
            hidden = torch.tanh(0.5 * state + self.embedding[path[-1] if path else end + 1])
            if len(path) < len(prefix):
                choices = {prefix[len(path)]}
            else:
                choices = allowed - set(path) if len(path) < constraints.max_path_length else set()
                if len(path) >= constraints.min_path_length or not choices:
                    choices |= {end}
            logits = hidden @ self.output
            total = sum(math.exp(logits[choice].item()) for choice in choices)
            for choice in choices:
                probability = score * math.exp(logits[choice].item()) / total
                if choice == end:
                    yield path, probability
                else:
                    yield from extend((*path, choice), hidden, probability)

        return extend((), image, 1.0)


CONSTRAINTS = {
    "free": Constraints(4, 4),
    "short": Constraints(4, 2),
    "long": Constraints(4, 4, min_path_length=3),
    "ruled out": Constraints(4, 4, allowed=torch.tensor([[True, False, True, True]])),
    "confirmed": Constraints(4, 4, prefix=torch.tensor([[2, 0]])),
    "known": Constraints(4, 3, allowed=torch.tensor([[True, False, True, True]]), prefix=torch.tensor([[3]])),
    "longer than there are labels": Constraints(4, 4, 4, allowed=torch.tensor([[True, False, False, False]])),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("constraints", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_a_beam_that_keeps_everything_is_exact(constraints: Constraints, seed: int) -> None:
    model = ToyModel(4, seed)
    image = torch.randn(1, STATE_SIZE, generator=torch.Generator().manual_seed(seed + 100))
    truth = sorted(model.all_paths(image[0], constraints), key=lambda item: -item[1])
    result = model.search(image, 70, constraints)
    scores = [score for _, score in truth]
    assert sum(scores) == pytest.approx(1)
    assert result.path_scores[0].exp().tolist() == pytest.approx(scores + [0.0] * (70 - len(scores)), abs=1e-6)
    found = [tuple(label for label in path if label < 4) for path in result.paths[0, : len(truth)].tolist()]
    assert found == [path for path, _ in truth]
    marginals = [sum(score for path, score in truth if label in path) for label in range(4)]
    assert result.label_scores[0].tolist() == pytest.approx(marginals, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_path_of_a_wide_beam_is_the_most_probable_of_all(seed: int) -> None:
    model = ToyModel(5, seed)
    image = torch.randn(1, STATE_SIZE, generator=torch.Generator().manual_seed(seed))
    best, score = max(model.all_paths(image[0], Constraints(5, 5)), key=lambda item: item[1])
    result = model.search(image, 12, Constraints(5, 5))
    assert result.path_scores[0, 0].exp().item() == pytest.approx(score, rel=1e-5)
    assert [label for label in result.paths[0, 0].tolist() if label < 5] == list(best)


@pytest.mark.parametrize("seed", range(8))
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    model = ToyModel(6, seed)
    image = torch.randn(STATE_SIZE, generator=torch.Generator().manual_seed(seed))
    state, path, score = image, [7], 0.0
    while path[-1] != 6:
        state = torch.tanh(0.5 * state + model.embedding[path[-1]])
        logits = state @ model.output
        logits[[label for label in path if label < 6]] = -math.inf
        score += logits.log_softmax(0).max().item()
        path.append(int(logits.argmax()))
    result = model.search(image[None], 1, Constraints(6, 6))
    assert [label for label in result.paths[0, 0].tolist() if label < 6] == path[1:-1]
    assert result.path_scores.item() == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("width", [1, 2, 5, 40])
def test_paths_are_distinct_sets_of_steps_in_order_of_score(width: int) -> None:
    images = torch.randn(16, STATE_SIZE)
    result = ToyModel(7, 0).search(images, width, Constraints(7, 5))
    for paths, scores in zip(result.paths.tolist(), result.path_scores, strict=True):
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        assert len({tuple(path) for path in paths}) == width
        for path in paths:
            labels = list(itertools.takewhile(lambda label: label < 7, path))
            assert len(set(labels)) == len(labels)
            assert set(path[len(labels) :]) <= {7}
    assert torch.allclose(result.step_scores.sum(-1), result.path_scores, atol=1e-5)
    assert result.label_scores.min() >= 0
    assert result.label_scores.max() <= 1


def test_an_image_does_not_depend_on_its_batch() -> None:
    model = ToyModel(9, 1)
    images = torch.randn(12, STATE_SIZE) * torch.linspace(0.1, 4, 12)[:, None]
    together = model.search(images, 3, Constraints(9, 9))
    for index in range(len(images)):
        alone = model.search(images[index : index + 1], 3, Constraints(9, 9))
        assert torch.equal(alone.paths[0], together.paths[index])
        assert torch.allclose(alone.path_scores[0], together.path_scores[index], atol=1e-5)
        assert torch.allclose(alone.label_scores[0], together.label_scores[index], atol=1e-5)


def test_a_fixed_number_of_labels_is_always_reached() -> None:
    result = ToyModel(6, 2).search(torch.randn(5, STATE_SIZE), 4, Constraints(6, 3, min_path_length=3))
    assert paths_to_labels(result.paths, 6).sum(-1).eq(3).all()


def test_label_scores_of_a_narrow_beam_come_near_the_exact_ones() -> None:
    images = torch.randn(50, STATE_SIZE)
    model = ToyModel(5, 3)
    exact = model.search(images, 400, Constraints(5, 5)).label_scores
    errors = [
        (model.search(images, width, Constraints(5, 5)).label_scores - exact).abs().mean() for width in (1, 4, 16)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.05


def test_impossible_requests_are_refused() -> None:
    model = ToyModel(3, 0)
    with pytest.raises(ValueError, match="min_path_length 3 exceeds max_path_length 2"):
        model.search(torch.zeros(1, STATE_SIZE), 2, Constraints(3, 2, 3))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        model.search(torch.zeros(1, STATE_SIZE), 0, Constraints(3, 2))
