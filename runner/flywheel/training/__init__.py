"""LoRA fine-tuning: lessons, or judged answers, in; adapter out."""

from flywheel.training.calibration import Calibration, CalibrationJob, calibrate
from flywheel.training.lora import TrainingJob, TrainingResult, train
from flywheel.training.preference import OwnAnswer, PreferenceJob, prefer

__all__ = [
    "Calibration",
    "CalibrationJob",
    "OwnAnswer",
    "PreferenceJob",
    "TrainingJob",
    "TrainingResult",
    "calibrate",
    "prefer",
    "train",
]  # fmt: skip
