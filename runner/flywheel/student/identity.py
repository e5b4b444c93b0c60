"""Which weights a spec means, and their hash, without loading them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flywheel.errors import FlywheelError
from flywheel.hashing import fingerprint, hash_file, short

#: Students shipped inside the package.
BUILTIN: dict[str, Path] = {"builtin:tiny": Path(__file__).parent / "tiny"}


@dataclass(frozen=True)
class StudentFiles:
    """Where a base model is, and what it is.

    `source` is what transformers loads (a folder or a hub id), `weights_hash` identifies the weights and the
    tokenizer.
    """

    base: str
    source: str
    revision: str | None
    weights_hash: str


def locate(base: str, revision: str | None, root: Path) -> StudentFiles:
    """Resolve `student.base`. Raises FlywheelError where it is missing, or cannot be pinned to one content."""
    if base in BUILTIN:
        return StudentFiles(base, str(BUILTIN[base]), None, _folder_hash(BUILTIN[base]))
    folder = root / base
    if folder.is_dir():
        return StudentFiles(base, str(folder.resolve()), None, _folder_hash(folder))
    if base.startswith("builtin:"):
        raise FlywheelError(f'student.base "{base}" is not built in. Known: {", ".join(BUILTIN)}.')
    commit = revision or _cached_commit(base)
    if commit is None:
        raise FlywheelError(
            f'student.base "{base}" is neither a folder in the project nor pinned: a hub branch can move, and then it '
            "is another model. Set student.revision to a commit."
        )
    return StudentFiles(base, base, commit, fingerprint({"hub": base, "revision": commit}))


def model_id(base_hash: str, adapter_hash: str | None) -> str:
    """Identity of base + adapter, 12 hex digits; the base alone where there is no adapter."""
    return short(fingerprint([base_hash, adapter_hash]))


def _folder_hash(folder: Path) -> str:
    """Over the files that make the model; refuses pickled weights."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and _matters(p))
    if not any(p.suffix == ".safetensors" for p in files):
        raise FlywheelError(
            f"{folder}: no *.safetensors weights. Pickled weights are refused because loading them runs code; convert "
            "them with `save_pretrained(..., safe_serialization=True)`."
        )
    return _hash_files(tuple((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in files))


@lru_cache(maxsize=16)
def _hash_files(files: tuple[tuple[str, int, int], ...]) -> str:
    return fingerprint([[Path(name).name, hash_file(Path(name))] for name, _, _ in files])


def _matters(path: Path) -> bool:
    return path.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"} and path.name != "flywheel.json"


def _cached_commit(hub_id: str) -> str | None:
    """The commit that the local Hugging Face cache has for `main`, if any."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    ref = home / "hub" / f"models--{hub_id.replace('/', '--')}" / "refs" / "main"
    return ref.read_text().strip() if ref.is_file() else None
