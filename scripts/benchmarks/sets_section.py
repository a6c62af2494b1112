"""What whole sets cost: a search that weighs them beside the same search without."""

from functools import partial

from row import Part
from searches import Search, compared_searches
from walking_models import walking_model

from cnn_rnn import CnnRnnForImageClassification


def parts() -> dict[str, Part]:
    """The parts of this section."""
    return {"search": compared_searches("sets", "whole sets", "search alone", searches)}


def searches(labels: int) -> tuple[CnnRnnForImageClassification, Search, Search]:
    """A model, its search with sets, and without."""
    model = walking_model("test_resnet", labels, image_size=64)
    model.config.set_weights = (0.4, 0.4, 0.2)
    return model, partial(model.generate, sets=True), model.generate
