"""What a person knows, in every part of the model: exact against all sets of few labels, in whatever order it came."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils import logging as transformers_logging

from cnn_rnn import CnnRnnConfig, CnnRnnForImageClassification, known_labels
from cnn_rnn.known_labels import LARGEST_LOGIT, sample_known

from .small_models import NUM_LABELS, PIXELS, TARGETS, Model, generate, model_of

END = NUM_LABELS
TOGETHER = torch.tensor([[9.0, 4, 1, 2, 0], [4, 5, 0, 1, 1], [1, 0, 6, 3, 0], [2, 1, 3, 7, 1], [0, 1, 0, 1, 2]])
CONDITIONED: dict[str, Any] = {"known_labels": "state", "cooccurrence": True, "relevance_in_path": True}


def conditioned(**fields: Any) -> Model:
    """A model that hears what is known in every part, with weights that show it."""
    model = model_of(**(CONDITIONED | {"relevance_head": "mlp", "neighbours": 4} | fields))
    with torch.no_grad():
        if model.cooccurrence is not None:
            model.cooccurrence.fit(TOGETHER, 20)
        if model.neighbours is not None:
            model.neighbours.fill(model.encode_images(PIXELS), TARGETS)
            model.neighbours.mix.copy_(torch.tensor([0.8, 0.3, -0.1]))
    return model


def probabilities_of_all_walks(model: Model, known: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every walk over the open labels of the first image, step by step from the parts of the model."""
    decoder, prior = model.path_decoder, model.cooccurrence
    assert decoder is not None
    assert prior is not None
    assert decoder.known_state is not None
    features = model.encode_images(PIXELS[:1])
    relevance = model(PIXELS[:1], known_labels=known).relevance_logits[0]
    embeddings = decoder.label_embedding.weight[:NUM_LABELS]
    confirmed, ruled_out = (known[0] == 1).float(), (known[0] == -1).float()
    start = torch.tanh(
        decoder.known_state.confirmed(confirmed @ embeddings) + decoder.known_state.ruled_out(ruled_out @ embeddings)
    )[None]
    image = decoder.embed_image(features)
    every = {}
    free = [label for label in range(NUM_LABELS) if known[0, label] == 0]
    for walk in itertools.chain.from_iterable(itertools.permutations(free, n) for n in range(len(free) + 1)):
        logits = decoder(torch.tensor([[NUM_LABELS + 1, *walk]]), image, (start, start))[0][0]
        score, held = 0.0, [label for label in range(NUM_LABELS) if known[0, label] == 1]
        for step, label in enumerate([*walk, END]):
            assert decoder.relevance_weight is not None
            said = decoder.relevance_weight(relevance) + prior.path_weight * prior.left[[*held, *walk[:step]]].sum(0)
            scores = logits[step] + torch.cat([said, torch.zeros(1)])
            scores[(known[0] != 0).nonzero()[:, 0]] = -math.inf
            scores[list(walk[:step])] = -math.inf
            score += float(scores.log_softmax(-1)[label])
        every[walk] = math.exp(score)
    return every


@torch.no_grad()
@pytest.mark.parametrize("known", [[0, 0, 0, 0, 0], [0, 1, -1, 1, 0], [1, 0, 0, 0, -1]], ids=str)
def test_a_wide_beam_knows_the_conditional_probability_of_every_label(known: list[int]) -> None:
    model, given = conditioned(), torch.tensor([known])
    every = probabilities_of_all_walks(model, given)
    assert sum(every.values()) == pytest.approx(1, abs=1e-4)
    output = generate(model, PIXELS[:1], beam_width=400, known_labels=given)
    held = [label for label in (0, 3, 2, 1, 4) if known[label] == 1]  # the most frequent first
    best = max(every, key=lambda walk: every[walk])
    assert output.paths[0, 0].tolist() == [*held, *best] + [END] * (NUM_LABELS - len(held) - len(best))
    assert output.path_scores[0, 0].exp().item() == pytest.approx(every[best], abs=1e-5)
    exists = output.path_scores.isfinite()
    torch.testing.assert_close(output.step_scores.sum(-1)[exists], output.path_scores[exists])
    for label in range(NUM_LABELS):
        share = sum(score for walk, score in every.items() if label in walk)
        expected = share if known[label] == 0 else float(known[label] == 1)
        assert output.label_scores[0, label].item() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_the_order_in_which_labels_were_confirmed_changes_nothing() -> None:
    """Known one by one, in any order, or all at once: the state that a walk starts from is that of the set."""
    model = conditioned()
    results = []
    for order in itertools.permutations([(1, 1), (3, 1), (2, -1)]):
        known = torch.zeros(1, NUM_LABELS)
        for label, answer in order:
            known[0, label] = answer
            last = generate(model, PIXELS[:1], known_labels=known)
        results.append(last)
    for other in results[1:]:
        for name in ("paths", "path_scores", "label_scores", "logits"):
            assert torch.equal(other[name], results[0][name])


@torch.no_grad()
@pytest.mark.parametrize("fields", [{}, {"cell": "gru"}, {"path_loss": "none", "fusion": "relevance"}], ids=str)
def test_knowing_nothing_is_not_being_told(fields: dict[str, Any]) -> None:
    no_path = {"relevance_in_path": False} if fields.get("path_loss") == "none" else {}
    model = conditioned(**fields, **no_path)
    untold, told = model(PIXELS), model(PIXELS, known_labels=torch.zeros(4, NUM_LABELS))
    torch.testing.assert_close(told.logits, untold.logits)
    torch.testing.assert_close(told.relevance_logits, untold.relevance_logits)


@torch.no_grad()
def test_what_is_known_moves_every_part_and_holds() -> None:
    model = conditioned()
    known = torch.tensor([[1, 0, -1, 0, 0]]).expand(4, -1)
    untold, told = model(PIXELS), model(PIXELS, known_labels=known)
    still_open = known[0] == 0
    for name in ("logits", "relevance_logits", "label_scores"):
        assert not torch.isclose(told[name][:, still_open], untold[name][:, still_open]).any()
    assert told.logits[:, 0].eq(LARGEST_LOGIT).all()
    assert told.logits[:, 2].eq(-LARGEST_LOGIT).all()
    assert torch.equal(generate(model, known_labels=known).logits, told.logits)


@torch.no_grad()
def test_the_loss_is_of_the_open_labels_alone() -> None:
    model = conditioned()
    known = torch.tensor([[1, -1, 0, 0, 0], [0, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [1, 1, -1, -1, -1]])
    told = model(PIXELS, labels=TARGETS, known_labels=known)
    left_out = torch.where(known != 0, -100.0, TARGETS)
    assert torch.equal(told.loss, model(PIXELS, labels=left_out, known_labels=known).loss)
    flipped = torch.where(known != 0, 1 - TARGETS, TARGETS)
    assert torch.equal(told.loss, model(PIXELS, labels=flipped, known_labels=known).loss)


def test_a_step_of_training_reaches_every_weight_that_hears_what_is_known() -> None:
    model = conditioned().train()
    known = torch.tensor([[1, -1, 0, 0, 0], [0, 1, -1, 0, 0], [-1, 0, 0, 0, 0], [1, 0, -1, -1, -1]])
    model(PIXELS, labels=TARGETS, known_labels=known).loss.backward()
    heard = {
        name: parameter
        for name, parameter in model.named_parameters()
        if "known_state" in name or "cooccurrence" in name or "relevance_weight" in name
    }
    assert len(heard) == 5
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in heard.values())


def test_what_training_tells_is_true_and_of_half_of_the_images() -> None:
    torch.manual_seed(0)
    labels = (torch.rand(2000, 30) < 0.15).float()
    labels[:, 0] = -100.0
    known = sample_known(labels)
    assert known.shape == labels.shape
    assert (labels[known == 1] == 1).all()
    assert (labels[known == -1] == 0).all()
    share = (known != 0).any(dim=1).float().mean()
    assert 0.4 < share < 0.5
    assert 0.2 < (known == 1).sum() / (labels == 1).sum() < 0.3  # a quarter: half of the images, half of the labels


def test_too_many_confirmed_labels_are_refused() -> None:
    known = torch.tensor([[1, 1, 1, 0, 0]])
    with pytest.raises(ValueError, match="3 labels are confirmed, but a path holds at most 2: raise max_path_length"):
        generate(conditioned(), PIXELS[:1], known_labels=known, max_path_length=2)
    output = generate(conditioned(), PIXELS[:1], known_labels=known, max_path_length=3)
    assert output.paths[0, 0].tolist() == [0, 2, 1]  # full: nothing can be added
    asks: tuple[Any, ...] = (model_of(), model_of().generate)
    for ask in asks:
        with pytest.raises(TypeError, match="there is no argument 'known_label'; did you mean known_labels"):
            ask(PIXELS, known_label=known)


def test_a_model_that_was_not_trained_for_it_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(known_labels.logger, "warning", said.append)
    transformers_logging.warning_once.cache_clear()  # another test may have had it said
    model = model_of()
    known = torch.tensor([[1, 0, -1, 0, 0]]).expand(4, -1)
    output = generate(model, known_labels=known)
    assert torch.equal(model(PIXELS, known_labels=known).logits, output.logits)
    assert len(said) == 1
    assert "was not trained with known labels" in said[0]
    plain = model_of(path_loss="none", fusion="relevance")
    for _ in range(2):
        plain(PIXELS, known_labels=known)
    assert len(said) == 2
    assert "what is known changes nothing but its own labels" in said[1]


@torch.no_grad()
def test_a_folder_of_before_loads_and_gives_what_it_gave(tmp_path: Path) -> None:
    """Its config has none of the newer fields, its weights none of the newer parts."""
    model = model_of()
    before = model(PIXELS)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    newer = {"relevance_head", "relevance_hidden_size", "relevance_dropout", "relevance_in_path"}
    newer |= {"known_labels", "cooccurrence", "neighbours", "counted_images", "class_weights"}
    (tmp_path / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in newer}))
    loaded = CnnRnnForImageClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(PIXELS).logits, before.logits)
    parts = {name for name in loaded.state_dict() if not name.startswith("backbone.")}
    cell = {f"path_decoder.recurrent.layer.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    projections = {
        f"{part}.{kind}"
        for part in ("path_decoder.recurrent_projection", "path_decoder.image_projection", "relevance_head")
        for kind in ("weight", "bias")
    }
    assert parts == cell | projections | {"path_decoder.label_embedding.weight"}


@torch.no_grad()
def test_a_saved_folder_keeps_prior_and_neighbours(tmp_path: Path) -> None:
    model = conditioned()
    known = torch.tensor([[1, 0, -1, 0, 0]]).expand(4, -1)
    model.save_pretrained(tmp_path)
    loaded = CnnRnnForImageClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(PIXELS, known_labels=known).logits, model(PIXELS, known_labels=known).logits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"relevance_head": "ml_decoder"}, "set pooling='attention'"),
        ({"relevance_head": "residual_attention", "pooling": "max"}, "reads the feature map: set pooling='attention'"),
        ({"relevance_head": "ml_decoder", "pooling": "attention", "relevance_hidden_size": 20}, "multiple of 8"),
        ({"neighbours": -1}, "number of images to remember"),
        ({"neighbours": 5, "relevance_loss": "none", "fusion": "path"}, "neighbours=5 needs a relevance head"),
        ({"relevance_in_path": True, "path_loss": "none", "fusion": "relevance"}, "needs a path decoder"),
        ({"relevance_dropout": 1.0}, r"relevance_dropout must lie in \[0, 1\)"),
    ],
    ids=str,
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match="(?s)" + message):
        CnnRnnConfig(num_labels=3, **fields)
