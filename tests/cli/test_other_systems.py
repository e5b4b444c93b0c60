"""flywheel on a system that is not Linux: what only Linux has is neither imported nor needed, and `doctor` says so.

The other system is played: every Python that is started calls itself by another name and lacks the modules of Unix.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flywheel
from mini_domain import Domain

#: What each system lacks, so that it is missed here where it is used. filelock takes fcntl where it is.
ABSENT = {
    "darwin": ("resource", "pwd", "grp", "termios", "tty"),
    "freebsd14": ("fcntl", "resource", "pwd", "grp", "termios", "tty"),
}
CUSTOM = """
import os, sys, sysconfig
os.environ["_PYTHON_SYSCONFIGDATA_NAME"] = sysconfig._get_sysconfigdata_name()
sys.platform = {name!r}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in {absent!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
"""
#: What the standard library asks of such a system, and Linux has not.
MACOS = "def _get_proxy_settings(): return {}\ndef _get_proxies(): return {}\n"
#: Modules that one system or another lacks; they are imported inside the functions that need them.
NOT_EVERYWHERE = {*ABSENT["freebsd14"], "ctypes", "prctl", "pty", "syslog", "winreg", "msvcrt"}
#: These run in a contained process, on Linux, and nowhere else.
CONTAINED = {"sandbox/containment.py", "sandbox/kernel.py", "sandbox/zygote.py"}


@pytest.fixture(params=sorted(ABSENT))
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the system that every Python started from now on believes to be on."""
    folder = tmp_path / "system"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CUSTOM.format(name=request.param, absent=ABSENT[request.param]))
    (folder / "_scproxy.py").write_text(MACOS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    name: str = request.param
    return name


def python(code: str, cwd: Path) -> str:
    ended = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_commands_are_imported_without_what_only_linux_has(elsewhere: str, tmp_path: Path) -> None:
    code = (
        "import sys, flywheel.cli.commands, flywheel.api, flywheel.engine.apply, flywheel.engine.audit; "
        "print(sys.platform, [m for m in sys.modules if m in ('flywheel.sandbox.kernel', 'flywheel.sandbox.zygote')])"
    )

    assert python(code, tmp_path).strip() == f"{elsewhere} []"


def test_the_wheel_turns(elsewhere: str, domain: Domain) -> None:
    for command in (["validate"], ["plan"], ["apply"]):
        ended = domain.run(*command)
        assert ended.returncode == 0, ended.stderr

    assert domain.query("SELECT outcome FROM decisions") == [{"outcome": "promote"}]
    assert domain.query("SELECT DISTINCT sandbox FROM runs WHERE sandbox IS NOT NULL")[-1]["sandbox"].endswith("none")


def test_programs_of_models_are_refused_and_nothing_is_paid(elsewhere: str, domain: Domain) -> None:
    domain.edit(lambda spec: spec["verifiers"].update(runs={"kind": "code", "tests": "text"}))
    domain.edit(lambda spec: spec["tasks"]["colour"]["verify"].append("runs"))

    ended = domain.run("apply")

    assert ended.returncode == 1
    assert f"it needs Linux, and this is {elsewhere}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not domain.calls()


def test_doctor_says_that_the_sandbox_needs_linux(elsewhere: str, domain: Domain) -> None:
    ended = domain.run("doctor")

    assert f"needs Linux, and this is {elsewhere}" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_the_real_worker_answers(elsewhere: str, tmp_path: Path) -> None:
    code = (
        "from flywheel.executor import Worker\n"
        "with Worker(memory_bytes=8 << 30) as worker: print(worker.call('operator:is_not', None))"
    )

    assert python(code, tmp_path) == "True\n"


def test_no_module_imports_at_its_head_what_some_system_lacks() -> None:
    root = Path(flywheel.__file__).parent
    found = {
        f"{path.relative_to(root).as_posix()} imports {name}"
        for path in root.rglob("*.py")
        if path.relative_to(root).as_posix() not in CONTAINED
        for name in heads(path) & NOT_EVERYWHERE
    }

    assert not found


def heads(path: Path) -> set[str]:
    """The first names of what a module imports outside of functions."""
    found = set()
    for node in outside_functions(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def outside_functions(node: ast.AST):
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from outside_functions(child)
