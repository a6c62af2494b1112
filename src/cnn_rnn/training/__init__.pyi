from .evaluation import Evaluation, Split, compare_features
from .faults import TrainingError
from .held_out import fit_on_held_out
from .interruption import Interrupted
from .loop import Trainer
from .resuming import finished_figures
from .run_config import RunConfig, load_run_config, run_config_of
from .settings_file import RunConfigError

__all__ = [
    "Evaluation",
    "Interrupted",
    "RunConfig",
    "RunConfigError",
    "Split",
    "Trainer",
    "TrainingError",
    "compare_features",
    "finished_figures",
    "fit_on_held_out",
    "load_run_config",
    "run_config_of",
]
