"""Whole sets against brute force: every set of few labels, and every walk that ends in it, by a beam that keeps all."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.beam_search import BeamSearchResult
from cnn_rnn.known_labels import Known
from cnn_rnn.label_paths import labels_to_paths, paths_to_labels, sets_to_paths

from .random_rules import closed_sets

NAMES = ["animal", "dog", "cat", "car"]
RULES: dict[str, Any] = {"implies": {"dog": "animal", "cat": "animal"}, "excludes": [["dog", "cat"]]}
EVERY_SET = closed_sets({"implies": {}, "excludes": []}, NAMES)  # (16, 4)
EVERY_WALK = 65  # from label to label, of any length
IMAGES = 3
TOLD = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, -1, 0]])
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "known labels as a state": {"known_labels": "state", "cooccurrence": True, "relevance_in_path": True},
    "known labels in front": {"cooccurrence": True},
    "rules": {"known_labels": "state", "label_rules": RULES},
    "short paths": {"max_path_length": 2},
    "the model's own order": {"label_order": "aligned"},
    "attention": {"pooling": "attention", "known_labels": "state"},
}


def model_of(name: str) -> CnnRnnForImageClassification:
    """A small model with random weights, of which all paths are about as likely."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"embedding_size": 8, "hidden_size": 8, "label_counts": [9, 5, 4, 6]} | MODELS[name]
    model = CnnRnnForImageClassification.from_backbone("test_resnet", id2label=NAMES, **fields).eval()
    if model.cooccurrence is not None:
        model.cooccurrence.fit(torch.eye(4) * 6 + 2, 20)
    return model


class Searched:
    """A search that keeps every walk, and what it was of."""

    def __init__(self, model: CnnRnnForImageClassification, told: Tensor | None, width: int = EVERY_WALK) -> None:
        torch.manual_seed(1)
        self.model = model
        with torch.no_grad():
            self.features = model.encode_images(torch.randn(IMAGES, 3, 64, 64))
            self.known = Known.of(told, model.config, self.features, model.rules)
            self.relevance = self.known.obey(model.relevance(self.features, self.known))
            self.result: BeamSearchResult = model.walker.search(
                self.features, self.relevance, self.known, beam_width=width
            )
            self.logits = self.known.settle(model.fuse(self.result.label_scores, self.relevance))

    def of_set(self, image: int, held: Tensor) -> Tensor:
        """The log probability of each walk (W,) of an image that ends in a set (C,)."""
        ends = (paths_to_labels(self.result.paths[image], len(NAMES)) == held).all(dim=-1)
        scores = self.result.path_scores[image][ends]
        return scores[scores > -torch.inf]


@pytest.mark.parametrize("told", [None, TOLD], ids=["nothing known", "some known"])
@pytest.mark.parametrize("name", MODELS)
def test_the_ordered_walk_to_any_set_has_the_probability_that_the_search_gives_it(
    name: str, told: Tensor | None
) -> None:
    model = model_of(name)
    searched = Searched(model, told)
    known, longest = searched.known, min(model.config.max_path_length, len(NAMES))
    confirmed = torch.zeros(IMAGES, 4, dtype=torch.bool) if known.labels is None else known.labels > 0
    sets = EVERY_SET | confirmed[:, None]
    paths, weighed = model.walker.weigh(sets, searched.features, searched.relevance, known, longest)
    for image in range(IMAGES):
        found = zip(searched.result.paths[image].tolist(), searched.result.path_scores[image].tolist(), strict=True)
        walks = {tuple(path): score for path, score in found if score > -torch.inf}
        for held, path, score in zip(sets[image], paths[image].tolist(), weighed[image].tolist(), strict=True):
            expected = walks.get(tuple(path), -torch.inf) if held.sum() <= longest else -torch.inf
            assert score == pytest.approx(expected, abs=1e-5), (image, held.tolist())


@pytest.mark.parametrize("told", [None, TOLD], ids=["nothing known", "some known"])
@pytest.mark.parametrize("name", MODELS)
def test_walks_that_end_in_the_same_set_are_one_set(name: str, told: Tensor | None) -> None:
    searched = Searched(model_of(name), told)
    weighed = searched.model.weigh_sets(
        searched.features, searched.relevance, searched.known, searched.result, searched.logits
    )
    for image in range(IMAGES):
        possible = weighed.terms[image, :, 0] > -torch.inf
        sets, terms = weighed.sets[image][possible], weighed.terms[image][possible]
        assert len(sets.unique(dim=0)) == len(sets)
        for held, (walks, alone, size) in zip(sets, terms.tolist(), strict=True):
            assert walks == pytest.approx(searched.of_set(image, held).logsumexp(dim=0).item(), abs=1e-5)
            each = torch.where(held, searched.logits[image].sigmoid(), searched.logits[image].neg().sigmoid())
            assert alone == pytest.approx(each.log().sum().item(), abs=1e-4)
            assert size == held.sum()
        assert terms[:, 0].exp().sum() == pytest.approx(1.0, abs=1e-4)  # all walks there are end in one of these


@pytest.mark.parametrize("name", MODELS)
def test_the_best_set_is_the_best_of_all(name: str) -> None:
    searched = Searched(model_of(name), TOLD)
    weighed = searched.model.weigh_sets(
        searched.features, searched.relevance, searched.known, searched.result, searched.logits
    )
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.4, 0.5, 0.3)):
        best = weighed.best(weights)
        for image in range(IMAGES):
            scores = {}
            for held in EVERY_SET:
                walks = searched.of_set(image, held)
                each = torch.where(held, searched.logits[image].sigmoid(), searched.logits[image].neg().sigmoid())
                terms = torch.stack([walks.logsumexp(dim=0), each.log().sum(), held.sum()])
                if len(walks):
                    scores[tuple(held.tolist())] = float(terms @ torch.tensor(weights))
            assert scores[tuple(best[image].tolist())] == pytest.approx(max(scores.values()), abs=1e-4)


@pytest.mark.parametrize("name", ["known labels as a state", "rules"])
def test_a_narrow_beam_gives_sets_that_agree_with_what_is_known(name: str) -> None:
    model = model_of(name)
    with pytest.raises(ValueError, match="saved without set_weights"):
        model.generate(torch.randn(IMAGES, 3, 64, 64), sets=True)
    model.config.set_weights = (0.0, 1.0, 0.0)
    output = model.generate(torch.randn(IMAGES, 3, 64, 64), beam_width=1, known_labels=TOLD, sets=True)
    assert output.sets is not None
    assert output.logits is not None
    assert torch.equal(output.sets, output.logits >= 0)  # by each label alone: those likelier than not


def test_paths_of_sets_are_those_of_their_labels() -> None:
    ranks = torch.tensor([2, 0, 3, 1])
    paths = labels_to_paths(EVERY_SET.float(), ranks)
    assert torch.equal(sets_to_paths(EVERY_SET, ranks), paths[:, :-1])
