"""LoRA fine-tuning: lessons in, adapter out."""

from flywheel.training.lora import TrainingJob, TrainingResult, train

__all__ = ["TrainingJob", "TrainingResult", "train"]
