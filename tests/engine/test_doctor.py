"""The doctor names what is broken, and how to mend it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flywheel.engine import doctor
from flywheel.sandbox import Capability
from flywheel.spec.models import Executor


def test_this_machine_is_examined_line_by_line(tmp_path: Path) -> None:
    findings = doctor.examine(tmp_path)
    names = [finding.name for finding in findings]
    assert names[0] == "python"
    assert names[-4:] == ["sandbox", "device", "disk", "project"]
    assert [finding for finding in findings if finding.outcome == "broken"] == []


def test_outside_a_project_nothing_is_said_of_one() -> None:
    assert {"disk", "project"} & {finding.name for finding in doctor.examine(None)} == set()


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8"])
def test_the_malicious_releases_of_litellm_are_broken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: version)
    found = doctor.package("litellm", ">=1.100,<2")
    assert found is not None
    assert found.outcome == "broken"
    assert "malicious" in found.text
    assert "secret" in found.mend


def test_a_package_that_does_not_fit_names_both_versions() -> None:
    found = doctor.package("pytest", "<1")
    assert found is not None
    assert "needs <1" in found.text
    assert found.mend == "pip install 'pytest<1'"


def test_a_missing_package_is_broken() -> None:
    found = doctor.package("no-such-package-as-this", ">=1")
    assert found == doctor.Diagnosis(
        "no-such-package-as-this", "broken", "not installed", "pip install 'no-such-package-as-this>=1'"
    )


def test_a_package_that_fits_is_not_mentioned() -> None:
    assert doctor.package("pytest", ">=1") is None


def test_a_path_file_with_code_is_broken(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_text("/somewhere\n# import nothing\n")
    (tmp_path / "distutils-precedence.pth").write_text("import os; os.environ\n")
    assert doctor.path_files([tmp_path, tmp_path / "missing"]).outcome == "ok"

    (tmp_path / "litellm_init.pth").write_text("\nimport base64; exec(base64.b64decode(''))\n")
    found = doctor.path_files([tmp_path])
    assert found.outcome == "broken"
    assert "litellm_init.pth" in found.text


def test_the_sandboxs_tier_comes_with_why_not_better() -> None:
    found = doctor.sandbox(Capability("landlock", (("namespaces", "unshare: Operation not permitted"),)))
    assert (found.outcome, found.text) == ("ok", "landlock (namespaces refused: unshare: Operation not permitted)")


def test_no_tier_is_a_warning_with_a_way_out() -> None:
    found = doctor.sandbox(Capability("none", (("namespaces", "only Linux has it"),)))
    assert found.outcome == "warning"
    assert "docs/sandbox.md" in found.mend


@pytest.mark.parametrize(("free", "outcome"), [(1 << 20, "broken"), (1 << 30, "warning"), (1 << 40, "ok")])
def test_free_disk_is_judged(free: int, outcome: str) -> None:
    assert doctor.disk(free).outcome == outcome


def test_a_folder_that_cannot_be_written_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played by the call that would fail: these tests may run as root, whom no permission bits stop."""
    (tmp_path / "reports").mkdir()

    def refuse(dir: Path) -> None:
        if dir.name == "reports":
            raise PermissionError(30, "Read-only file system")
        return real(dir=dir)

    real = doctor.tempfile.TemporaryFile
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    found = doctor.writable(tmp_path)
    assert found.outcome == "broken"
    assert str(tmp_path / "reports") in found.text


def test_a_cluster_that_does_not_answer_is_broken(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason='needs Ray: pip install "flywheel-loop[ray]"')
    (line,) = doctor.cluster(Executor(kind="ray", address="127.0.0.1:9"), deep=False)
    assert (line.name, line.outcome) == ("executor", "broken")
    assert line.text.startswith("nobody answers at executor.address 127.0.0.1:9 ")


def test_a_cluster_without_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (line,) = doctor.cluster(Executor(kind="ray"), deep=True)
    assert line.outcome == "broken"
    assert 'pip install "flywheel-loop[ray]"' in line.text
