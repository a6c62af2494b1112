"""Label Studio's configuration says what can be chosen, and by which name."""

import pytest

from cnn_rnn.serving.label_config import read_controls
from cnn_rnn.serving.refusals import RefusedError

IMAGE = '<Image name="img" value="$image"/>'
CHOICES = (
    '<Choices name="what" toName="img" choice="multiple"><Choice value="Cat"/><Choice value="b" alias="dog"/></Choices>'
)
TREE = (
    '<Taxonomy name="tree" toName="img"><Choice value="animal"><Choice value="cat"/><Choice value="dog">'
    '<Choice value="poodle"/></Choice></Choice><Choice value="car"/></Taxonomy>'
)


def test_choices_and_trees_are_read_as_annotations_name_them() -> None:
    what, tree = read_controls(f"<View>{IMAGE}<Header value='x'/><View>{CHOICES}{TREE}</View></View>")
    assert (what.kind, what.name, what.image, what.field, what.single) == ("choices", "what", "img", "image", False)
    assert (what.labels, what.chosen("CAT"), what.chosen("dog"), what.chosen("b")) == (
        ["Cat", "dog"], ("Cat",), ("dog",), None,
    )  # fmt: skip
    assert what.value([("Cat",), ("dog",)]) == {"choices": ["Cat", "dog"]}
    assert what.labels_of({"choices": ["dog", "bird", 3]}) == ["dog"]
    assert (tree.kind, tree.single) == ("taxonomy", False)
    assert tree.chosen("poodle") == ("animal", "dog", "poodle")
    assert tree.value([("animal", "cat"), ("car",)]) == {"taxonomy": [["animal", "cat"], ["car"]]}
    assert tree.labels_of({"taxonomy": [["animal", "dog", "poodle"], ["car"]]}) == ["animal", "dog", "poodle", "car"]


@pytest.mark.parametrize(
    ("attributes", "single"),
    [('choice="multiple"', False), ('choice="single"', True), ('choice="single-radio"', True), ("", True)],
    ids=["multiple", "single", "radio", "by default"],
)
def test_at_most_one_is_chosen_where_the_project_says_so(attributes: str, single: bool) -> None:
    (what,) = read_controls(
        f'<View>{IMAGE}<Choices name="w" toName="img" {attributes}><Choice value="a"/></Choices></View>'
    )
    assert what.single is single


def test_a_name_that_stands_twice_is_not_guessed(caplog: pytest.LogCaptureFixture) -> None:
    twice = TREE.replace('"car"', '"CAT"')
    (tree,) = read_controls(f"<View>{IMAGE}{twice}</View>")
    assert tree.labels == ["animal", "dog", "poodle"]
    assert "cat stand there twice" in caplog.text


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("<View>", "not whole XML"),
        ("", "not whole XML"),
        (None, "must be text"),
        ("<View>" + " " * 2**20 + "</View>", "must be text of at most"),
        ('<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>', "document type"),
        ('<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>', "document type"),
        (f"<View>{IMAGE}</View>", "neither"),
        (f"<View>{CHOICES}</View>", "neither"),
        (f'<View><Text name="img" value="$text"/>{CHOICES}</View>', "neither"),
        (f'<View>{IMAGE}<Choices name="w" toName="img" value="$options"/></View>', "neither"),
    ],
    ids=[
        *("not closed", "empty", "none", "too long", "entities", "a file", "no choices", "no image", "text"),
        "choices that come with tasks",
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_from_is_refused(config: object, told: str) -> None:
    with pytest.raises(RefusedError, match=told) as error:
        read_controls(config)
    assert error.value.status == 422
