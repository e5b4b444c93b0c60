"""Who serves the promoted model is told of it, and asked whether it is the model that was evaluated.

The folder is written first and is the truth. A target that does not take the model, or answers otherwise, is put back
to the former one, and raises TargetRefused: whoever told it moves the pointer back.
"""

from flywheel.nodes.targets.kinds import tell
from flywheel.nodes.targets.questions import LOOKED_AT, ServedGate, ServedPrompt, chosen
from flywheel.nodes.targets.release import Release, TargetRefused

__all__ = ["LOOKED_AT", "Release", "ServedGate", "ServedPrompt", "TargetRefused", "chosen", "tell"]
