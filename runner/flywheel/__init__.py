"""Turn a model's mistakes into a better model: `flywheel` at the prompt, `from flywheel import Project` in Python.

Nothing is imported until it is asked for: `import flywheel` costs what an empty module costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flywheel.api import Project

    __version__: str

__all__ = ["Project", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Project":
        from flywheel.api import Project

        return Project
    if name == "__version__":
        from flywheel.version import installed_version

        return installed_version()
    raise AttributeError(f"module 'flywheel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
