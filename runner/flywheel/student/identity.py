"""Which weights a spec means, and their hash, without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flywheel.errors import FlywheelError
from flywheel.hashing import fingerprint, hash_file, short
from flywheel.spec.bases import base_folder, base_path, cached_commit
from flywheel.student.gguf import UNPACKING

#: Students shipped inside the package.
BUILTIN: dict[str, Path] = {"builtin:tiny": Path(__file__).parent / "tiny"}


@dataclass(frozen=True)
class StudentFiles:
    """Where a base model is, and what it is.

    `source` is what transformers loads (a folder or a hub id), `weights_hash` identifies the weights and the
    tokenizer. `name` is what an adapter calls its base: never a path outside the project, which is nobody else's.
    """

    base: str
    source: str
    revision: str | None
    weights_hash: str
    gguf: str | None = None
    """The file that is unpacked into the folder `source` when it is first loaded."""
    outside: bool = False

    @property
    def name(self) -> str:
        return Path(self.gguf or self.source).name if self.outside else self.base


def locate(base: str, revision: str | None, root: Path) -> StudentFiles:
    """Resolve `student.base`. Raises FlywheelError where it is missing, or cannot be pinned to one content."""
    if base in BUILTIN:
        return StudentFiles(base, str(BUILTIN[base]), None, _folder_hash(BUILTIN[base]))
    if base.startswith("builtin:"):
        raise FlywheelError(f'student.base "{base}" is not built in. Known: {", ".join(BUILTIN)}.')
    if (path := base_path(root, base)) is not None:
        return _on_disk(base, path, root)
    commit = revision or cached_commit(base)
    if commit is None:
        raise FlywheelError(
            f'student.base "{base}" is neither a folder nor a pinned hub id: a hub branch can move, and then it is '
            "another model. Set student.revision to a commit."
        )
    return StudentFiles(base, base, commit, fingerprint({"hub": base, "revision": commit}))


def model_folder(base: str, revision: str | None, root: Path) -> Path | None:
    """Where tokenizer and configuration of a base are, without a look at its weights; None for a GGUF file, which has
    them inside, and for what is not on this machine."""
    folder = BUILTIN.get(base) or base_folder(root, base, revision)
    return folder if folder.is_dir() else None


def _on_disk(base: str, path: Path, root: Path) -> StudentFiles:
    """A folder or a GGUF file, in the project or outside it: its content says what it is."""
    outside = not path.is_relative_to(root.resolve())
    if not outside and (base.startswith(("/", "~")) or Path(base).is_absolute() or ".." in Path(base).parts):
        base = path.relative_to(root.resolve()).as_posix()  # an adapter names its base so: no path of this machine
    if path.is_dir():
        return StudentFiles(base, str(path), None, _folder_hash(path), outside=outside)
    if not path.is_file():
        raise FlywheelError(f'student.base "{base}" does not exist.')
    file_hash = _hash_files(((str(path), path.stat().st_mtime_ns, path.stat().st_size),))
    digest = fingerprint({"gguf": file_hash, "unpacking": UNPACKING})
    unpacked = root.resolve() / ".flywheel" / "artifacts" / f"base-{short(digest)}"
    return StudentFiles(base, str(unpacked), None, digest, str(path), outside)


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
    """Of a GGUF the name does not count: it is one file, whatever it is called."""
    return fingerprint(
        [["" if name.endswith(".gguf") else Path(name).name, hash_file(Path(name))] for name, _, _ in files]
    )


def _matters(path: Path) -> bool:
    return path.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"} and path.name != "flywheel.json"
