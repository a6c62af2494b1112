"""The parts of a training run."""

from .evaluation import fit_on_held_out, measure, stored_predictions
from .faults import TrainingError
from .interruption import Interrupted
from .loop import Trainer
from .prediction import Predictions, predict
from .resuming import finished_figures
from .run_config import RunConfig, RunConfigError, load_run_config
from .validation import SavedModel, load_data_config, load_validation_data, predict_dataset

__all__ = [
    "Interrupted",
    "Predictions",
    "RunConfig",
    "RunConfigError",
    "SavedModel",
    "Trainer",
    "TrainingError",
    "finished_figures",
    "fit_on_held_out",
    "load_data_config",
    "load_run_config",
    "load_validation_data",
    "measure",
    "predict",
    "predict_dataset",
    "stored_predictions",
]
