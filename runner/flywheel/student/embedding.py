"""Texts as vectors, by a local sentence-transformers model in the model worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import FlywheelError
from flywheel.hashing import fingerprint, hash_file
from flywheel.student.loading import choose_device

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INSTALL = 'Install it: pip install "flywheel-loop[semantic]".'


@dataclass(frozen=True)
class EmbedJob:
    """`folder`: as `embedder_folder` found it."""

    folder: str
    device: str
    texts: tuple[str, ...]


def embedder_folder(name: str, root: Path) -> Path:
    """The model's folder: one in the project, or the one that an installed package holds; no code of it is run.

    Raises FlywheelError where there is none, where its weights are pickled, or where the library is not installed.
    """
    if find_spec("sentence_transformers") is None:
        raise FlywheelError(f"curate.dedup.semantic needs sentence-transformers. {_INSTALL}")
    folder = root / name if (root / name).is_dir() else _packaged(name)
    if folder is None or not (folder / "modules.json").is_file():
        raise FlywheelError(
            f'curate.dedup.embedder "{name}" is neither a folder in the project with a sentence-transformers model '
            f"(modules.json) nor an installed package that holds one. {_INSTALL}"
        )
    if not any(folder.rglob("*.safetensors")):
        raise FlywheelError(f"{folder}: no *.safetensors weights. Pickled weights are refused: loading them runs code.")
    return folder.resolve()


def _packaged(name: str) -> Path | None:
    found = find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None:
        return None
    return next((path.parent for path in sorted(Path(found.origin).parent.rglob("modules.json"))), None)


def embedder_hash(folder: Path) -> str:
    """Over the files of the model."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".json", ".txt", ".model"})
    return _hash_of(tuple((str(p.relative_to(folder)), str(p), p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=4)
def _hash_of(files: tuple[tuple[str, str, int], ...]) -> str:
    return fingerprint([[name, hash_file(Path(path))] for name, path, _ in files])


def embed(job: EmbedJob, progress: Callable[[dict[str, Any]], None]) -> NDArray[np.float32]:
    """One row of unit length a text."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    device = choose_device(job.device)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(job.folder, device=device, local_files_only=True, trust_remote_code=False)
    import numpy as np

    parts = []
    for start in range(0, len(job.texts), 512):
        part = list(job.texts[start : start + 512])
        parts.append(model.encode(part, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True))
        progress({"done": start + len(part), "total": len(job.texts), "what": "embedded"})
    return np.concatenate(parts).astype(np.float32)
