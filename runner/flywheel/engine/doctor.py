"""What works on this machine and what does not: a line for each, with what would mend it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from flywheel.errors import FlywheelError
from flywheel.sandbox import Capability, capability
from flywheel.spec.loader import load
from flywheel.spec.models import Executor, Spec, Train
from flywheel.student import four_bits
from flywheel.version import DISTRIBUTION

Outcome = Literal["ok", "warning", "broken"]

# Releases that stole credentials, by a .pth file among other ways.
_MALICIOUS = {"litellm": ("1.82.7", "1.82.8")}
# .pth files that installers write and that are known to run code.
_EXPECTED_PTH = re.compile(r"distutils-precedence|_virtualenv|__editable__.*|_?editable_impl_.*|.*-nspkg|a1_coverage")
_BROKEN_BYTES, _SCARCE_BYTES = 200 << 20, 5 << 30


@dataclass(frozen=True)
class Diagnosis:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str
    outcome: Outcome
    text: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(root: Path | None, deep: bool = False, spec: Spec | None = None) -> list[Diagnosis]:
    """Every check. `root` is the project's folder, None outside one; `deep` imports torch to ask for the device, and
    joins the cluster that `spec` names. `spec`: the project's, where it is valid."""
    findings = [
        python_version(),
        *packages(),
        path_files([Path(folder) for folder in (*site.getsitepackages(), site.getusersitepackages())]),
        sandbox(capability()),
        device_in_depth() if deep else device(),
        *(training(spec.train, deep) if spec is not None else []),
        *(answering() if spec is not None and spec.wants_vllm_here else []),
        *(cluster(spec.executor, deep) if spec is not None and spec.executor.kind == "ray" else []),
    ]
    return findings + (project(root) if root is not None else [])


# --- Python and packages ---


def python_version() -> Diagnosis:
    found = sys.version.split()[0]
    wanted = metadata.metadata(DISTRIBUTION)["Requires-Python"]
    if _within(found, wanted):
        return Diagnosis("python", "ok", found)
    return Diagnosis("python", "broken", f"{found}; flywheel needs {wanted}", "Install flywheel under such a Python.")


def packages() -> list[Diagnosis]:
    """One line for all that fit; one for each that is missing, does not fit, or is known to be malicious."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    needed = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = [finding for each in needed if (finding := package(each.name, str(each.specifier))) is not None]
    return wrong or [Diagnosis("packages", "ok", f"all {len(needed)} fit")]


def package(name: str, wanted: str) -> Diagnosis | None:
    """What is wrong with an installed package; None where nothing is."""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Diagnosis(name, "broken", "not installed", f"pip install '{name}{wanted}'")
    if found in _MALICIOUS.get(name, ()):
        mend = f"Remove it, change every secret this machine has seen, then: pip install '{name}{wanted}'"
        return Diagnosis(name, "broken", f"{found} is a malicious release", mend)
    if not _within(found, wanted):
        return Diagnosis(name, "broken", f"{found}; flywheel needs {wanted}", f"pip install '{name}{wanted}'")
    return None


def _within(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def path_files(folders: list[Path]) -> Diagnosis:
    """`.pth` files that run code at every start of Python, other than those that installers are known to write."""
    odd = [path for folder in folders for path in sorted(folder.glob("*.pth")) if _runs_code(path)]
    odd = [path for path in odd if not _EXPECTED_PTH.fullmatch(path.stem)]
    if not odd:
        return Diagnosis(".pth files", "ok", "none that runs code unexpectedly")
    names = ", ".join(str(path) for path in odd)
    return Diagnosis(
        ".pth files", "broken", f"run code at every start: {names}", "Read them, and remove what you do not know."
    )


def _runs_code(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.startswith(("import ", "import\t")) for line in lines)


# --- the machine ---


def sandbox(found: Capability) -> Diagnosis:
    """The tier untrusted code would run in. Without one it is refused, which breaks no domain that has none."""
    refused = "; ".join(f"{tier} refused: {why}" for tier, why in found.refused)
    if found.tier != "none":
        return Diagnosis("sandbox", "ok", f"{found.tier}" + (f" ({refused})" if refused else ""))
    mend = "`code` verifiers will refuse to run; docs/sandbox.md says how to get a tier."
    return Diagnosis("sandbox", "warning", f"no tier works ({refused})", mend)


def device() -> Diagnosis:
    """The student's device as far as it shows without torch."""
    if shutil.which("nvidia-smi") or os.path.exists("/dev/nvidia0"):
        return Diagnosis("device", "ok", "an NVIDIA driver is here; `flywheel doctor --deep` asks torch")
    if sys.platform == "darwin":
        return Diagnosis("device", "ok", "macOS; `flywheel doctor --deep` asks torch for mps")
    return Diagnosis("device", "ok", f"cpu, {os.cpu_count()} cores")


def device_in_depth() -> Diagnosis:
    import torch

    if torch.cuda.is_available():
        return Diagnosis("device", "ok", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Diagnosis("device", "ok", "mps")
    if os.path.exists("/dev/nvidia0"):
        mend = "Install a torch built for this driver, or the driver for this torch."
        return Diagnosis("device", "warning", f"torch {torch.__version__} does not see the NVIDIA device; cpu", mend)
    return Diagnosis("device", "ok", f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}")


def spec_of(file: Path) -> Spec | None:
    """None where there is no spec, or none that is valid: `validate` names its faults."""
    try:
        return load(file).spec if file.is_file() else None
    except FlywheelError:
        return None


def training(train: Train, deep: bool) -> list[Diagnosis]:
    """Whether the project's trainings can run; all else can without. With `launch` they run where that leads."""
    if train.launch is not None:
        return [launching(train.launch)]
    return [] if train.quantize is None else [quantizing(four_bits.lack(deep))]


def answering() -> list[Diagnosis]:
    """Whether the engine is here that answers in place of transformers."""
    from flywheel.student.vllm import interpreter, lack  # with it comes the student's room

    if (missing := lack()) is None:
        return [Diagnosis("student.engine", "ok", f"vllm, by {interpreter()}")]
    return [Diagnosis("student.engine", "broken", *missing)]


def launching(command: str) -> Diagnosis:
    from flywheel.training.launching import lack  # with it comes the student's room

    if (missing := lack(command)) is None:
        return Diagnosis("train.launch", "ok", f"{shlex.split(command)[0]} is here")
    return Diagnosis("train.launch", "broken", *missing)


def quantizing(lack: four_bits.Lack | None) -> Diagnosis:
    if lack is None:
        return Diagnosis("train.quantize", "ok", "a GPU and bitsandbytes are here")
    return Diagnosis("train.quantize", "broken", *lack)


def cluster(executor: Executor, deep: bool) -> list[Diagnosis]:
    """Whether the cluster is there; in depth, whether it has room for the students and those who judge."""
    from flywheel.executor.cluster import reached, size_of

    address = executor.address or "auto"
    try:
        if not deep:
            return [Diagnosis("executor", "ok", f"{reached(address)}; `flywheel doctor --deep` joins it")]
        found = size_of(address)
    except FlywheelError as error:
        return [Diagnosis("executor", "broken", str(error))]
    lack = found.lack(executor.students)
    return [Diagnosis("executor", "broken" if lack else "ok", f"{found}{lack and f': {lack}'}")]


# --- the project ---


def project(root: Path) -> list[Diagnosis]:
    return [disk(shutil.disk_usage(root).free), writable(root)]


def disk(free: int) -> Diagnosis:
    text = f"{free / (1 << 30):.1f} GiB free"
    if free < _BROKEN_BYTES:
        return Diagnosis("disk", "broken", text, "Free some; a run would stop half-way.")
    if free < _SCARCE_BYTES:
        return Diagnosis("disk", "warning", text, "Adapters and the store grow with every iteration.")
    return Diagnosis("disk", "ok", text)


def writable(root: Path) -> Diagnosis:
    """By writing, in the folders a run writes to: permission bits do not know of read-only mounts."""
    for folder in _written(root):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Diagnosis(
                "project", "broken", f"{folder} cannot be written: {error.strerror}", "Give yourself the right to."
            )
    return Diagnosis("project", "ok", f"{root} can be written")


def _written(root: Path) -> Iterator[Path]:
    yield root
    yield from (root / name for name in (".flywheel", "reports", "deploy") if (root / name).is_dir())
