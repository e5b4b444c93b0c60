"""LoRA fine-tuning: lessons in, adapter out."""

from flywheel.training.calibration import Calibration, CalibrationJob, calibrate
from flywheel.training.lora import TrainingJob, TrainingResult, train

__all__ = ["Calibration", "CalibrationJob", "TrainingJob", "TrainingResult", "calibrate", "train"]
