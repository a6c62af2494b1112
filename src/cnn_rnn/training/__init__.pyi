from .faults import TrainingError
from .held_out import fit_on_held_out
from .interruption import Interrupted
from .loop import Trainer
from .resuming import finished_figures
from .run_config import RunConfig, RunConfigError, load_data_config, load_run_config

__all__ = [
    "Interrupted",
    "RunConfig",
    "RunConfigError",
    "Trainer",
    "TrainingError",
    "finished_figures",
    "fit_on_held_out",
    "load_data_config",
    "load_run_config",
]
