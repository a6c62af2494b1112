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
