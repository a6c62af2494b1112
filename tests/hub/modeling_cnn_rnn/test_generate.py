"""The paths that a model walks, freely and from what is known."""

import itertools
import math
from typing import Any

import pytest
import torch

from .small_models import NUM_LABELS, PIXELS, VARIANTS, Model, generate, model_of


@pytest.mark.parametrize("fields", [VARIANTS["default"], VARIANTS["attention"], VARIANTS["paper"]], ids=str)
def test_generate_gives_padded_paths_best_first(fields: dict[str, Any]) -> None:
    output = generate(model_of(**fields), beam_width=6, max_path_length=3)
    assert output.paths.shape == (4, 6, 3)
    assert output.path_scores.shape == (4, 6)
    assert output.step_scores.shape == (4, 6, 4)
    assert output.label_scores.shape == output.logits.shape == (4, NUM_LABELS)
    assert output.path_scores.diff(dim=-1).max() <= 0
    torch.testing.assert_close(output.step_scores.sum(-1), output.path_scores)
    for path in output.paths.flatten(0, 1).tolist():
        labels = list(itertools.takewhile(lambda label: label != NUM_LABELS, path))
        assert path == labels + [NUM_LABELS] * (3 - len(labels))
        assert len(set(labels)) == len(labels)


def test_generate_scores_labels_as_forward_does() -> None:
    model = model_of()
    forward, generated = model(PIXELS), generate(model)
    assert torch.equal(generated.label_scores, forward.label_scores)
    assert torch.equal(generated.logits, forward.logits)
    assert generated.paths.shape == (4, model.config.beam_width, NUM_LABELS)  # no path is longer than the labels


def probabilities_of_all_paths(model: Model, pixel_values: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every path of one image, from `forward`'s teacher-forced logits alone."""
    model.config.label_order = "given"
    every = {}
    for labels in itertools.chain.from_iterable(
        itertools.combinations(range(NUM_LABELS), n) for n in range(NUM_LABELS + 1)
    ):
        for path in itertools.permutations(labels):
            assert model.path_decoder is not None
            walked = torch.tensor([[NUM_LABELS + 1, *path]])
            image = model.path_decoder.embed_image(model.encode_images(pixel_values))
            logits = model.path_decoder(walked, image)[0][0]
            score = 0.0
            for step, label in enumerate([*path, NUM_LABELS]):
                logits[step, list(path[:step])] = -math.inf
                score += float(logits[step].log_softmax(-1)[label])
            every[path] = math.exp(score)
    return every


@torch.no_grad()
def test_a_wide_beam_knows_every_path_and_the_conditional_probability_of_every_label() -> None:
    model = model_of()
    every = probabilities_of_all_paths(model, PIXELS[:1])
    assert sum(every.values()) == pytest.approx(1, abs=1e-4)
    free = generate(model, PIXELS[:1], beam_width=400)
    best = max(every, key=lambda path: every[path])
    assert tuple(free.paths[0, 0, : len(best)].tolist()) == best
    marginals = [sum(score for path, score in every.items() if label in path) for label in range(NUM_LABELS)]
    assert free.label_scores[0].tolist() == pytest.approx(marginals, abs=1e-4)

    # Confirmed labels open the walk in the configured order, ruled out ones never come; the rest is conditional.
    model.config.label_order = "frequent_first"
    known = torch.tensor([[0, 1, -1, 1, 0]])
    output = generate(model, PIXELS[:1], beam_width=400, known_labels=known)
    open_walks = {path[2:]: score for path, score in every.items() if path[:2] == (3, 1)}
    assert output.label_scores[0, [1, 2, 3]].tolist() == [1, 0, 1]
    # Ruling out renormalises each step over what is left, so it is worked out step by step.
    after = stepwise_without(model, PIXELS[:1], prefix=(3, 1), ruled_out={2})
    assert set(after) == {path for path in open_walks if 2 not in path}
    assert sum(after.values()) == pytest.approx(1, abs=1e-4)
    expected = [sum(score for path, score in after.items() if label in path) for label in (0, 4)]
    assert output.label_scores[0, [0, 4]].tolist() == pytest.approx(expected, abs=1e-4)

    # With confirmed labels alone the scores are Bayes' rule on the free walk.
    output = generate(model, PIXELS[:1], beam_width=400, known_labels=known.clamp(min=0))
    total = sum(open_walks.values())
    for label in (0, 2, 4):
        share = sum(score for path, score in open_walks.items() if label in path) / total
        assert output.label_scores[0, label].item() == pytest.approx(share, abs=1e-4)


def stepwise_without(
    model: Model, pixel_values: torch.Tensor, prefix: tuple[int, ...], ruled_out: set[int]
) -> dict[tuple[int, ...], float]:
    """Probability of what follows a prefix where some labels are ruled out, from the decoder's logits."""
    assert model.path_decoder is not None
    image = model.path_decoder.embed_image(model.encode_images(pixel_values))
    left = [label for label in range(NUM_LABELS) if label not in ruled_out | set(prefix)]
    result = {}
    for labels in itertools.chain.from_iterable(itertools.permutations(left, n) for n in range(len(left) + 1)):
        walked = torch.tensor([[NUM_LABELS + 1, *prefix, *labels]])
        logits = model.path_decoder(walked, image)[0][0, len(prefix) :]
        score = 0.0
        for step, label in enumerate([*labels, NUM_LABELS]):
            logits[step, [*prefix, *ruled_out, *labels[:step]]] = -math.inf
            score += float(logits[step].log_softmax(-1)[label])
        result[labels] = math.exp(score)
    return result


def test_known_labels_hold_on_every_path_of_every_image() -> None:
    known = torch.tensor([[1, 0, -1, 0, 0], [0, 0, 0, 0, 0], [-1, -1, -1, -1, 1], [0, 1, 1, -1, 1]])
    model = model_of()
    output = generate(model, beam_width=3, known_labels=known)
    for row, paths, scores in zip(known, output.paths, output.path_scores, strict=True):
        confirmed = [label for label in (0, 3, 2, 1, 4) if row[label] == 1]  # the most frequent first
        for path, score in zip(paths.tolist(), scores, strict=True):
            if score.isfinite():
                assert path[: len(confirmed)] == confirmed
                assert not set(path) & set((row == -1).nonzero().flatten().tolist())
    assert output.label_scores[known == 1].eq(1).all()
    assert output.label_scores[known == -1].eq(0).all()
    assert output.logits[known == 1].sigmoid().min() > 0.999
    assert output.logits[known == -1].sigmoid().max() < 0.001
    free = generate(model, beam_width=3)
    torch.testing.assert_close(output.label_scores[1], free.label_scores[1])  # nothing is known of this image
    assert not torch.allclose(output.label_scores[3, 0], free.label_scores[3, 0])


def test_path_lengths_keep_their_bounds() -> None:
    model = model_of()
    for fewest, most in ((3, None), (2, 2), (0, 1), (NUM_LABELS + 7, None)):
        paths = generate(model, max_path_length=most, min_path_length=fewest).paths
        lengths = (paths != NUM_LABELS).sum(-1)
        assert lengths.min() >= min(fewest, NUM_LABELS)
        assert lengths.max() <= (most or NUM_LABELS)


@torch.no_grad()
def test_a_beam_of_one_follows_the_most_probable_label() -> None:
    model = model_of()
    assert model.path_decoder is not None
    paths = generate(model, beam_width=1).paths[:, 0].tolist()
    image = model.path_decoder.embed_image(model.encode_images(PIXELS))
    for row, path in enumerate(paths):
        walked = [NUM_LABELS + 1]
        while walked[-1] != NUM_LABELS and len(walked) <= NUM_LABELS:
            logits = model.path_decoder(torch.tensor([walked]), image[row : row + 1])[0][0, -1]
            logits[walked[1:]] = -math.inf
            walked.append(int(logits.argmax()))
        found = [label for label in walked[1:] if label != NUM_LABELS]
        assert path == found + [NUM_LABELS] * (NUM_LABELS - len(found))


def test_impossible_requests_are_refused() -> None:
    model = model_of()
    with pytest.raises(ValueError, match=r"beam_width .* at least 1, got 0"):
        generate(model, beam_width=0)
    with pytest.raises(ValueError, match="min_path_length must be at least 0, got -1"):
        generate(model, min_path_length=-1)
    for argument in ("beam_width", "max_path_length", "min_path_length"):
        wrong: tuple[Any, ...] = (1.5, "3", True)
        for value in wrong:
            with pytest.raises(ValueError, match=f"{argument} must be a whole number, got {value!r}"):
                generate(model, **{argument: value})
    with pytest.raises(ValueError, match="min_path_length 3 exceeds max_path_length 2"):
        generate(model, min_path_length=3, max_path_length=2)
    with pytest.raises(ValueError, match="3 labels are confirmed, but a path holds at most 2"):
        generate(model, max_path_length=2, known_labels=torch.tensor([[1, 1, 1, 0, 0]] * 4))
    with pytest.raises(ValueError, match=r"of shape \(4, 5\)"):
        generate(model, known_labels=torch.zeros(4, 6))
    with pytest.raises(ValueError, match=r"no path decoder .*use forward"):
        generate(model_of(path_loss="none", fusion="relevance"))


def test_generate_takes_no_dropout_even_in_training_mode() -> None:
    model = model_of()
    model.freeze_backbone()
    model.train()
    assert torch.equal(generate(model).path_scores, generate(model).path_scores)
    assert model.training


def test_the_search_exports_with_a_free_batch() -> None:
    class Search(torch.nn.Module):
        def __init__(self, model: Model) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = generate(self.model, pixel_values)
            return output.logits, output.paths, output.path_scores

    search = Search(model_of()).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(search, (PIXELS[:3],), dynamic_shapes=({0: batch},), strict=False).module()
    for size in (1, 4):
        torch.testing.assert_close(exported(PIXELS[:size]), search(PIXELS[:size]))
