"""A small, valid project to be spoilt in one place at a time."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from flywheel.errors import SpecInvalid
from flywheel.spec.loader import LoadedSpec, load

SMALL = Path(__file__).parent / "projects" / "small"


@dataclass(frozen=True)
class Project:
    root: Path

    def load(self) -> LoadedSpec:
        return load(Path("flywheel.yaml"))

    def edit(self, *changes: tuple[str, str]) -> Project:
        """Replaces the first of each old text in the spec by the new."""
        path = self.root / "flywheel.yaml"
        text = path.read_text()
        for old, new in changes:
            assert old in text, f"{old!r} is not in the spec"
            text = text.replace(old, new, 1)
        path.write_text(text)
        return self

    def write(self, name: str, content: str | bytes) -> Project:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def faults(self) -> str:
        """What a person would read."""
        with pytest.raises(SpecInvalid) as caught:
            self.load()
        return str(caught.value)

    def messages(self) -> list[str]:
        """Without the source lines."""
        return [line for line in self.faults().split("\n") if not line.startswith("    ")]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(SMALL, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)
