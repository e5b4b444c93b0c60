"""The model that learns: which weights it is, loading it, asking it.

torch, transformers and peft are imported inside the functions that need them; identity is plain hashing, so that `plan`
stays light.
"""

from flywheel.student.identity import BUILTIN, StudentFiles, locate, model_folder, model_id

__all__ = ["BUILTIN", "StudentFiles", "locate", "model_folder", "model_id"]
