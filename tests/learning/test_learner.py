"""What is learnt follows from what is known, not from how it was told; what is said of a photo is said unseen."""

from collections.abc import Mapping

import numpy as np
import pytest

from cnn_rnn import cooccurrence, neighbours
from cnn_rnn.learning import given_known
from cnn_rnn.learning.learner import Learner, Seen

LABELS = ("a", "b", "c", "d")
Told = dict[str, tuple[Seen, Mapping[str, bool]]]


def draw_photos(count: int, seed: int = 0, start: int = 0) -> Told:
    """Photos whose labels follow from their features, but for a part, with some answers left out."""
    draw = np.random.default_rng(seed)
    directions = draw.normal(size=(len(LABELS), 12))
    told: Told = {}
    for index in range(count):
        features = draw.normal(size=12)
        logits = 4 * directions @ features / np.linalg.norm(directions, axis=1) - 1
        there = draw.random(len(LABELS)) < 1 / (1 + np.exp(-logits))
        asked = draw.random(len(LABELS)) < 0.9
        answers = {label: bool(there[place]) for place, label in enumerate(LABELS) if asked[place]}
        seen = Seen(features.astype(np.float32), logits[:start].astype(np.float32), certainties=0)
        told[f"{index}.jpg"] = (seen, answers or {"a": False})
    return told


def said(learner: Learner, told: Told, known: Mapping[str, bool] | None = None) -> dict[str, float]:
    """What is said of a photo that is not among those told."""
    (seen, _) = draw_photos(1, seed=9, start=len(learner.start_labels))["0.jpg"]
    assert learner.photos.keys() <= told.keys()
    return learner.expect(seen, known)


@pytest.mark.parametrize("known", [{}, {"a": True}, {"a": True, "b": False}], ids=["nothing", "one", "two"])
def test_what_is_said_does_not_depend_on_the_order_or_on_how_many_came_at_once(known: Mapping[str, bool]) -> None:
    told = draw_photos(40)
    at_once, one_by_one, turned = Learner(), Learner(), Learner()
    at_once.tell_all(told)
    for photo, (seen, answers) in told.items():
        one_by_one.tell(photo, seen, answers)
        one_by_one.refit()
    for photo in reversed(told):
        turned.tell(photo, *told[photo])
    expected = said(at_once, told, known)
    assert said(one_by_one, told, known) == pytest.approx(expected, abs=1e-4)
    assert said(turned, told, known) == pytest.approx(expected, abs=1e-4)


def test_a_correction_is_as_if_it_had_been_said_at_once_and_what_is_forgotten_was_never_said() -> None:
    told = draw_photos(30)
    plain, mended = Learner(), Learner()
    plain.tell_all(told)
    mended.tell_all(draw_photos(35))
    for photo in list(told)[:5]:
        mended.tell(photo, told[photo][0], {label: not there for label, there in told[photo][1].items()})
        mended.refit()
        mended.tell(photo, *told[photo])
    for index in range(30, 35):
        mended.tell(f"{index}.jpg", told["0.jpg"][0], {})
    assert mended.photos.keys() == told.keys()
    assert said(mended, told) == pytest.approx(said(plain, told), abs=1e-4)


def test_a_label_that_comes_later_is_unknown_before_and_changes_little_of_what_was_said_of_the_others() -> None:
    told = draw_photos(30)
    learner = Learner()
    learner.tell_all(told)
    before = said(learner, told)
    seen = draw_photos(31)["30.jpg"][0]
    learner.tell("30.jpg", seen, {"own": True})
    assert learner.learnt()["labels"]["own"] == 1
    assert learner.expect(seen)["own"] > said(learner, told | {"30.jpg": (seen, {})})["own"] > 0
    assert [said(learner, told | {"30.jpg": (seen, {})})[label] for label in LABELS] == pytest.approx(
        [before[label] for label in LABELS], abs=0.1
    )


def test_when_all_is_forgotten_its_labels_are_still_there_and_improbable() -> None:
    learner = Learner()
    told = draw_photos(1)
    learner.tell("0.jpg", *told["0.jpg"])
    learner.tell("0.jpg", told["0.jpg"][0], {})
    assert learner.photos == {}
    assert all(0 < value < 0.5 for value in learner.expect(told["0.jpg"][0]).values())


def test_what_is_known_is_certain_and_labels_nobody_has_heard_of_are_no_error() -> None:
    learner = Learner()
    told = draw_photos(20)
    assert learner.expect(told["0.jpg"][0], {"never heard": True}) == {"never heard": 1.0}
    learner.tell_all(told)
    found = said(learner, told, {"a": True, "b": False, "new": True})
    assert (found["a"], found["b"], found["new"]) == (1.0, 0.0, 1.0)


def test_before_the_first_answer_it_says_what_its_start_says_and_trusts_it_while_answers_are_few() -> None:
    told = draw_photos(8, start=2)
    learner = Learner(LABELS[:2])
    seen = told["0.jpg"][0]
    first = learner.expect(seen)
    assert list(first.values()) == pytest.approx((1 / (1 + np.exp(-seen.logits))).tolist())
    learner.tell("1.jpg", *told["1.jpg"])
    assert learner.learnt()["weights"]["start"]["start"] == pytest.approx(1, abs=0.1)
    assert learner.expect(seen)["a"] == pytest.approx(first["a"], abs=0.1)


def test_it_learns_and_half_means_half() -> None:
    learner = Learner()
    learner.tell_all(draw_photos(300))
    cells = [
        (value, answers[label])
        for seen, answers in list(draw_photos(600).values())[300:]
        for label, value in learner.expect(seen).items()
        if label in answers
    ]
    said_, there = (np.array(column, float) for column in zip(*cells, strict=True))
    assert ((said_ - there) ** 2).mean() < 0.75 * there.mean() * (1 - there.mean())
    for low, high in ((0, 0.3), (0.3, 0.7), (0.7, 1)):
        among = (said_ >= low) & (said_ < high)
        assert said_[among].mean() == pytest.approx(there[among].mean(), abs=0.08)


def test_counts_and_votes_are_drawn_as_the_models_own() -> None:
    assert (given_known.DRAWN, given_known.NEARER_BY_LABEL) == (cooccurrence.IMAGES_DRAWN, neighbours.SHARED_LABEL)


def losses(learner: Learner, told: Told) -> dict[str, tuple[float, float]]:
    """What the answers of each label cost (log loss), by the learner without each photo, and by the start."""
    found = dict.fromkeys(learner.start_labels, (0.0, 0.0))
    for photo, (seen, answers) in told.items():
        said_ = learner.expect(seen, photo=photo)
        by_start = dict(zip(learner.start_labels, 1 / (1 + np.exp(-seen.logits.astype(float))), strict=True))
        for label in answers.keys() & found.keys():
            pair = [value if answers[label] else 1 - value for value in (said_[label], by_start[label])]
            found[label] = tuple(sum_ - np.log(value) for sum_, value in zip(found[label], pair, strict=True))
    return found


def spoil(told: Told) -> Told:
    """Photos on which the start is right about `a` and says the contrary of `b`, `c` and `d`, which features tell."""
    found: Told = {}
    for photo, (_, answers) in told.items():
        sign = [1 if answers.get(label, False) else -1 for label in LABELS]
        logits = np.array([3 * sign[0], *(-2 * one for one in sign[1:])], np.float32)
        features = np.concatenate([np.random.default_rng(len(found)).normal(size=6), 2.0 * np.array(sign[1:])])
        found[photo] = (Seen(features.astype(np.float32), logits, certainties=0), answers)
    return found


@pytest.mark.parametrize("photos", [5, 20, 80])
def test_no_label_is_told_worse_than_by_the_start_even_where_learning_harms_it(photos: int) -> None:
    told = spoil(draw_photos(photos))
    learner = Learner(LABELS)
    learner.tell_all(told)
    for label, (learnt, started) in losses(learner, told).items():
        assert learnt <= started + 1e-4, label
    harmed = Learner(LABELS, ["choice"])
    harmed.tell_all(told)
    learnt, started = losses(harmed, told)["a"]
    assert learnt > started * 1.05  # so this is where learning harms
    seen = next(iter(spoil(draw_photos(1, seed=8)).values()))[0]
    known = {"b": True}
    assert learner.expect(seen)["a"] == pytest.approx(1 / (1 + np.exp(-seen.logits[0])))
    given = seen.logits + 1
    assert learner.expect(seen, known, given=given)["a"] == pytest.approx(1 / (1 + np.exp(-given[0])))
    assert "a" in learner.learnt()["left_to_the_start"]
    if photos == 80:
        assert losses(learner, told)["b"][0] < 0.7 * losses(learner, told)["b"][1]  # and what helps is kept


@pytest.mark.parametrize("seed", range(5))
def test_no_label_is_told_worse_than_by_the_start_on_any_photos(seed: int) -> None:
    told = draw_photos(25, seed=seed, start=3)
    learner = Learner(LABELS[:3])
    learner.tell_all(told)
    assert all(learnt <= started + 1e-4 for learnt, started in losses(learner, told).values())


def test_what_a_classifier_says_of_its_classes_is_kept_and_not_compared() -> None:
    features = np.array([0.25, -1.0, 0.5, 9.0], np.float32)
    seen = Seen(features, certainties=1)
    np.testing.assert_allclose(seen.vector, np.array([0.5, -1.0, 0.5**0.5]) / 1.75**0.5, rtol=1e-6)
    assert len(Seen(features, certainties=0).vector) == len(seen.features) == 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_of_numbers_that_are_not_finite_nothing_is_learnt_and_that_is_told(value: float) -> None:
    told = draw_photos(20, start=2)
    learner = Learner(LABELS[:2])
    learner.tell_all(told)
    expected = said(learner, told)
    features = np.full(12, value, np.float32)
    for ask in (lambda seen: learner.tell("new", seen, {"a": True}), learner.expect):
        with pytest.raises(ValueError, match="features of this photo are no finite numbers"):
            ask(Seen(features, np.zeros(2, np.float32), certainties=0))
    assert said(learner, told) == expected
    learner.tell("new", Seen(np.ones(12, np.float32), features[:2], certainties=0), {"a": True})
    with pytest.raises(ValueError, match="says of a photo are no finite numbers"):
        said(learner, told | {"new": told["0.jpg"]})
    learner.tell("new", told["0.jpg"][0], {})  # taken back, all is as it was
    assert said(learner, told) == pytest.approx(expected, abs=1e-4)
