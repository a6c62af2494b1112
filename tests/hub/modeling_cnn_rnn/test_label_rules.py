"""A model with rules between labels: paths, label scores and losses against all walks that obey, tried one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.hub.random_rules import ANIMALS, NAMES, obeys, random_rules
from torch import Tensor

from cnn_rnn.known_labels import Known

from .small_models import Model, generate

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LONGEST = 3


def ruled_model(rules: dict[str, Any] | None, names: list[str], seed: int = 0, **fields: Any) -> Model:
    """A small model for names under rules, whose steps differ clearly."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "image_size": 32, "max_path_length": LONGEST}
    counts = list(range(1, len(names) + 1))
    model = Model.from_backbone(
        "test_resnet", id2label=names, label_counts=counts, label_rules=rules, **settings | fields
    )
    if model.path_decoder is not None:
        with torch.no_grad():
            model.path_decoder.label_embedding.weight.mul_(4)
    return model.eval()


def known_of(model: Model, known: Tensor | None) -> Known:
    """What is known of images, the rules among it."""
    return Known.of(known, model.config, PIXELS, model.rules)


def all_walks(model: Model, rules: dict[str, Any], image: Tensor, known: Tensor | None) -> dict[tuple[int, ...], float]:
    """The probability of each path that obeys at every step, in its own words: the set so far, and one label more."""
    decoder, names = model.path_decoder, model.config.label_names
    assert decoder is not None
    end, embedded, found = len(names), decoder.embed_image(image), {}
    held = set() if known is None else {names[label] for label in (known[0] > 0).nonzero()[:, 0]}

    def walk(path: tuple[int, ...], probability: float) -> None:
        fed = torch.tensor([[end + 1, *path]])
        logits = decoder(fed, embedded, decoder.start_state(known))[0][0, -1]
        now = held | {names[label] for label in path}
        room = len(now) < LONGEST
        may = [label for label in range(end) if room and names[label] not in now and obeys(rules, now | {names[label]})]
        chances = logits[[*may, end]].softmax(dim=0).tolist()
        found[path] = probability * chances[-1]
        for label, chance in zip(may, chances, strict=False):
            walk((*path, label), probability * chance)

    walk((), 1.0)
    return found


@pytest.mark.parametrize("told", [None, 0, 3], ids=["told nothing", "told 0", "told 3"])
@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_paths_and_label_scores_are_those_of_all_walks_that_obey(seed: int, told: int | None) -> None:
    names = [str(label) for label in range(6)]
    rules = random_rules(seed)
    model = ruled_model(rules, names, seed, known_labels="state")
    known = None
    if told is not None:
        known = torch.zeros(2, 6, dtype=torch.long)
        known[:, told] = 1
        known = known_of(model, known).labels
        assert known is not None
    found = generate(model, PIXELS, beam_width=160, known_labels=known)
    confirmed = [] if known is None else (known[0] > 0).nonzero()[:, 0].tolist()
    for image in range(2):
        features = model.encode_images(PIXELS[image : image + 1])
        walks = all_walks(model, rules, features, None if known is None else known[:1])
        assert sum(walks.values()) == pytest.approx(1, abs=1e-4)
        there = found.path_scores[image] > -torch.inf
        assert there.sum() == len(walks)
        for path, score in zip(found.paths[image][there].tolist(), found.path_scores[image][there], strict=True):
            own = [label for label in path if label < 6]
            assert sorted(own[: len(confirmed)]) == confirmed
            assert score.exp().item() == pytest.approx(walks[tuple(own[len(confirmed) :])], abs=1e-5)
        scores = [sum(chance for path, chance in walks.items() if label in path) for label in range(6)]
        scores = [1.0 if label in confirmed else score for label, score in enumerate(scores)]
        assert found.label_scores[image].tolist() == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("known_labels", ["state", "prefix"])
@pytest.mark.parametrize("label_order", ["rare_first", "aligned"])
@torch.no_grad()
def test_what_is_known_holds_with_all_that_follows(known_labels: str, label_order: str) -> None:
    model = ruled_model(ANIMALS, NAMES, known_labels=known_labels, label_order=label_order, max_path_length=5)
    known = torch.zeros(2, 6, dtype=torch.long)
    known[0, 2] = 1  # a poodle
    found = generate(model, PIXELS, beam_width=8, known_labels=known)
    scores = found.logits.sigmoid()
    assert (scores[0, :3] > 0.999).all()
    assert (scores[0, [3, 5]] < 0.001).all()  # neither a cat nor nothing
    assert (found.label_scores[0, :3] == 1).all()
    assert found.paths[0, 0, :3].tolist() == [0, 1, 2]
    torch.testing.assert_close(model(PIXELS, known_labels=known).logits[1], found.logits[1], atol=0.5, rtol=0.5)
    known[0, 1] = -1
    with pytest.raises(ValueError, match=r"known_labels \{'dog': False, 'poodle': True\} contradict label_rules"):
        model(PIXELS, known_labels=known)


@pytest.mark.parametrize("beam_width", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_scores_obey_however_narrow_the_beam(seed: int, beam_width: int) -> None:
    rules, names = random_rules(seed + 50), [str(label) for label in range(6)]
    model = ruled_model(rules, names, seed, fusion_weights=[1.3, 0.9, 0.7], relevance_in_path=True, cooccurrence=True)
    found = generate(model, PIXELS, beam_width=beam_width)
    assert model.rules is not None
    for scores in (found.label_scores, found.relevance_logits.sigmoid(), found.logits.sigmoid()):
        for label, implied in model.rules.implied.T.tolist():
            assert (scores[:, label] <= scores[:, implied] + 1e-6).all()
        for group in rules["excludes"]:
            assert (scores[:, [int(name) for name in group]].sum(dim=1) <= 1 + 1e-5).all()
    for path in found.paths[found.path_scores > -torch.inf].tolist():
        held: set[str] = set()
        for label in [one for one in path if one < 6]:
            held |= {names[label]}
            assert obeys(rules, held)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"label_order": "rare_first"},
        {"label_order": "aligned", "path_loss": "remaining_labels"},
        {"known_labels": "state", "cooccurrence": True},
    ],
    ids=["frequent first", "rare first", "remaining labels", "told"],
)
def test_a_model_with_rules_trains_on_labels_that_leave_them_out(fields: dict[str, Any]) -> None:
    model = ruled_model(ANIMALS, NAMES, **fields).train()
    labels = torch.tensor([[0.0, 0, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0]])
    known = torch.zeros(2, 6, dtype=torch.long)
    known[0, 1] = 1
    told = {"known_labels": known} if "known_labels" in fields else {}
    loss = model(PIXELS, labels=labels, **told).loss
    closed = torch.tensor([[1.0, 1, 1, 0, 0, 0], [1, -100, -100, -100, 1, 0]])
    torch.manual_seed(0)
    one = model(PIXELS, labels=labels, **told).loss
    torch.manual_seed(0)
    torch.testing.assert_close(model(PIXELS, labels=closed, **told).loss, one)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    paths, _ = model.walker.follow(closed, model.encode_images(PIXELS), None, known_of(model, None))
    assert paths is not None
    assert paths[0].tolist() == [0, 1, 2, 6]


def test_rules_are_saved_with_the_model_and_have_no_weights(tmp_path: Path) -> None:
    model = ruled_model(ANIMALS, NAMES)
    model.save_pretrained(tmp_path)
    again = Model.from_pretrained(tmp_path)
    assert again.config.label_rules == ANIMALS
    torch.testing.assert_close(again(PIXELS).logits, model(PIXELS).logits)
    assert set(model.state_dict()) == set(ruled_model(None, NAMES).state_dict())
