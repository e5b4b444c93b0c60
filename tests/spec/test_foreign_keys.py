"""A key of another kind or strategy is refused where it stands, whichever the two are: nobody would read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.errors import SpecInvalid
from flywheel.spec.kinds import Family
from flywheel.spec.loader import load
from flywheel.spec.strategies import STRATEGIES
from flywheel.spec.teachers import TEACHERS
from flywheel.spec.verifiers import VERIFIERS
from flywheel.spec.wording import fields_by_key

SECTIONS = {"generate": STRATEGIES, "teachers": TEACHERS, "verifiers": VERIFIERS}


def foreign(family: Family, kind: str) -> set[str]:
    """Keys that other kinds of the family have, and this one has not."""
    return {key for other in family.own for key in fields_by_key(other)} - fields_by_key(family.by_name[kind]).keys()


@pytest.mark.parametrize(
    ("section", "kind"), [(section, kind) for section, family in SECTIONS.items() for kind in family.by_name]
)
def test_keys_of_other_kinds_are_refused_at_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, kind: str
) -> None:
    family = SECTIONS[section]
    keys = sorted(foreign(family, kind))
    entry: dict[str, Any] = {family.key: kind, **dict.fromkeys(keys, 1)}
    lines = yaml.safe_dump({section: [entry] if section == "generate" else {"one": entry}}, sort_keys=False)
    (tmp_path / "flywheel.yaml").write_text(lines)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SpecInvalid) as caught:
        load(Path("flywheel.yaml"))

    place = r"generate\[0\]" if section == "generate" else f"{section}.one"
    said = re.findall(rf"^flywheel\.yaml:(\d+):(\d+): {place}\.(\w+): (?:\3 is|unknown key)", str(caught.value), re.M)
    written = lines.splitlines()
    assert [key for _, _, key in said] == keys
    assert all(written[int(line) - 1][int(column) - 1 :].startswith(f"{key}:") for line, column, key in said)
