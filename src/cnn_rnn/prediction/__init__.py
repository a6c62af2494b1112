"""A saved model at work: on a data set, in bulk, and as a page of pictures."""

from .predictions import Predictions, measure, predict, stored_predictions
from .saved_model import SavedModel, checked_config, predict_dataset
from .tagger import CnnRnnTagger

__all__ = [
    "CnnRnnTagger",
    "Predictions",
    "SavedModel",
    "checked_config",
    "measure",
    "predict",
    "predict_dataset",
    "stored_predictions",
]
