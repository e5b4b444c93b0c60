"""The model that learns: which weights it is, loading it, asking it.

Only `loading` and `sampling` import torch, transformers or peft, inside their functions; identity is plain hashing, so
that `plan` stays light.
"""

from flywheel.student.identity import BUILTIN, StudentFiles, locate, model_folder, model_id

__all__ = ["BUILTIN", "StudentFiles", "locate", "model_folder", "model_id"]
