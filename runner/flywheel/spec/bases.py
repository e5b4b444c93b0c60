"""The student's base as a spec names it: built in, a folder or a GGUF file anywhere on this machine, or a hub id.

A base is judged here by its small files alone, before anything runs: what transformers would refuse after minutes of
reading weights is said at once, in one line.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from flywheel.files import is_circle
from flywheel.spec.confinement import Problem
from flywheel.text import one_line, plural

BUILTIN = "builtin:tiny"

_EITHER = "Name a folder with config.json and safetensors, or a GGUF file."
_NEITHER: Problem = ("is neither a folder nor a GGUF file.", _EITHER)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")
#: One of several files of a split GGUF.
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def base_path(root: Path, base: str) -> Path | None:
    """The folder or GGUF file of the base, or None where it is built in or a Hugging Face id. It need not exist.

    Unlike other files it may lie outside the project: it is known by its content.
    """
    if base.startswith("builtin:") or not _is_path(root, base):
        return None
    return (root / Path(base).expanduser()).resolve()


def _is_path(root: Path, base: str) -> bool:
    return base.startswith((".", "/", "~")) or base.endswith(".gguf") or os.path.exists(root / base)


def base_problem(root: Path, base: str, revision: str | None = None) -> Problem | None:
    """Why no student can be made of the base; None where nothing speaks against it."""
    if base == BUILTIN:
        return None
    if base.startswith("builtin:"):
        return f'unknown built-in model "{one_line(base, 80)}".', f'Did you mean "{BUILTIN}"?'
    if any(ord(c) < 32 or ord(c) == 127 for c in base):
        return "the name holds a control character.", ""
    nowhere = "leads nowhere.", "Name the folder itself."
    try:
        path = base_path(root, base)
    except (OSError, RuntimeError):  # a circle of links, before Python 3.13; a home that nobody has
        return nowhere
    if path is not None:
        return nowhere if is_circle(path) else _path_problem(base, path)
    if not _HUB_ID.fullmatch(base) or ".." in base:
        hint = f"Write {BUILTIN}, a folder (./models/small), a GGUF file, or a Hugging Face id (org/name)."
        return f'"{one_line(base, 80)}" is neither a folder nor a Hugging Face id.', hint
    return _named(base, _hub_problem(base, revision))


def without_commit(root: Path, base: str, revision: str | None = None) -> Problem | None:
    """What keeps a hub id from being trained, though it is one: `apply` refuses it, and a spec may be written first."""
    if base.startswith("builtin:") or revision is not None or base_path(root, base) is not None or cached_commit(base):
        return None
    return (
        f'"{one_line(base, 80)}" is neither a folder nor a file here, and as a hub id it needs a commit: a branch can '
        "move, and then it is another model.",
        f"Set student.revision to a commit, or write {BUILTIN}, a folder (./models/small) or a GGUF file.",
    )


def base_config(root: Path, base: str, revision: str | None = None) -> dict[str, Any]:
    """The base's config.json, of a GGUF its `model_type` alone; empty for what is built in, or cannot be read here."""
    try:
        path = base_path(root, base)
        if path is not None and path.is_file():
            with path.open("rb") as handle:
                return {"model_type": _said_first(handle)["general.architecture"]}
        folder = base_folder(root, base, revision)
        found = json.loads((folder / "config.json").read_bytes())
    except (OSError, RuntimeError, KeyError, ValueError, struct.error):
        return {}
    return found if isinstance(found, dict) else {}


def base_folder(root: Path, base: str, revision: str | None = None) -> Path:
    """Where the files of a base are, if they are on this machine: its own path, or its place in the hub's cache."""
    return base_path(root, base) or _hub_cache(base) / "snapshots" / (revision or cached_commit(base) or "none")


def _path_problem(base: str, path: Path) -> Problem | None:
    try:
        if not path.exists():
            problem: Problem | None = ("does not exist.", _EITHER)
        elif path.is_dir():
            problem = _folder_problem(path, base.rstrip("/"))
        else:
            problem = _gguf_problem(path) if path.is_file() else _NEITHER  # to open a pipe is to wait
    except OSError as error:
        problem = (f"cannot be read: {error.strerror or error}.", "See who may read it and the folders above it.")
    return _named(base, problem)


def _named(base: str, problem: Problem | None) -> Problem | None:
    return (f'"{one_line(base, 80)}" {problem[0]}', problem[1]) if problem else None


# --- the hub's cache --------------------------------------------------------------------------------------------------


def cached_commit(hub_id: str) -> str | None:
    """The commit that the local Hugging Face cache has for `main`, if any."""
    ref = _hub_cache(hub_id) / "refs" / "main"
    return ref.read_text().strip() if ref.is_file() else None


def _hub_cache(hub_id: str) -> Path:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return cache / f"models--{hub_id.replace('/', '--')}"


def _hub_problem(hub_id: str, revision: str | None) -> Problem | None:
    """Of a model that was downloaded before, in whole or in part."""
    config = _hub_cache(hub_id) / "snapshots" / (revision or cached_commit(hub_id) or "none") / "config.json"
    try:
        found = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return None
    return _kind_problem(found) if isinstance(found, dict) else None


# --- folders ----------------------------------------------------------------------------------------------------------


def _folder_problem(folder: Path, base: str) -> Problem | None:
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        return _no_config(folder, base, names)
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        return f"has a config.json that cannot be read: {error}.", "Download it again."
    if not isinstance(config, dict):
        return "has a config.json that is no object.", "Download it again."
    return _kind_problem(config) or _weights_problem(folder, base, names) or _tokenizer_problem(names)


def _no_config(folder: Path, base: str, names: set[str]) -> Problem:
    if "adapter_config.json" in names:
        return "is an adapter, not a model.", f"Name the model that it was trained on{_adapted(folder)}, or merge them."
    if files := sorted(name for name in names if name.endswith(".gguf")):
        return "is a folder with a GGUF file, which is named itself.", _name_gguf(base, files)
    return "has no config.json.", _EITHER


def _name_gguf(base: str, files: list[str]) -> str:
    return "Write student.base: " + " or ".join(f"{base}/{name}" for name in files[:3])


def _adapted(folder: Path) -> str:
    try:
        name = json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" ({name})" if name else ""


def _kind_problem(config: dict[str, Any]) -> Problem | None:
    """Whether transformers has the architecture itself, and as one that writes on from what it reads."""
    kind, classes = str(config.get("model_type", "")), config.get("architectures") or []
    known = causal_kinds()
    own = ", ".join(map(str, classes)) or kind or "it"
    if known and kind not in known and config.get("auto_map"):
        return (
            f"needs code that comes with it ({own}), which is never run.",
            "Take a model whose architecture transformers has itself.",
        )
    if config.get("is_encoder_decoder") or (known and kind not in known) or not _writes_on(classes):
        return f"is no causal language model ({own}).", "A student must write on from a prompt: name a …ForCausalLM."
    return None


def _writes_on(classes: list[Any]) -> bool:
    """Some models that also see pictures are named for conditional generation."""
    ends = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
    return not classes or any(str(name).endswith(ends) for name in classes)


def _weights_problem(folder: Path, base: str, names: set[str]) -> Problem | None:
    files = sorted(name for name in names if name.endswith(".safetensors"))
    if not files:
        if gguf := sorted(name for name in names if name.endswith(".gguf")):
            return "has its weights as a GGUF file, which is named itself.", _name_gguf(base, gguf)
        return (
            "has no *.safetensors weights; pickled ones are refused because loading them runs code.",
            "Convert them with save_pretrained(..., safe_serialization=True).",
        )
    if missing := sorted(_shards(folder) - names):
        return f"lacks {plural(len(missing), 'file')} of its weights: {', '.join(missing[:3])}.", "Download it again."
    for name in files:
        if not _is_safetensors(folder / name):
            return f"has a {name} that is no safetensors file (a Git LFS pointer, or cut off).", "Download it again."
    return None


def _shards(folder: Path) -> set[str]:
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_bytes())
        return set(index["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _is_safetensors(path: Path) -> bool:
    """By its header, which says how long the whole is."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(8)
        if len(start) < 8 or (length := struct.unpack("<Q", start)[0]) > size - 8:
            return False
        try:
            header = json.loads(handle.read(length))
            ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return bool(8 + length + max(ends, default=0) == size)


def _tokenizer_problem(names: set[str]) -> Problem | None:
    if names.isdisjoint(_TOKENIZERS):
        return "has no tokenizer.", "Save it beside the weights: tokenizer.save_pretrained(folder)."
    return None


# --- GGUF -------------------------------------------------------------------------------------------------------------


def _gguf_problem(path: Path) -> Problem | None:
    try:
        with path.open("rb") as handle:
            said = _said_first(handle)
        kind = said["general.architecture"]
    except (KeyError, ValueError, struct.error):
        return _NEITHER
    if (split := _SPLIT.search(path.name)) and int(split[2]) > 1:
        return f"is one of {int(split[2])} parts of a GGUF.", "Merge them: llama-gguf-split --merge."
    readable = gguf_kinds()
    if readable and _plain(kind) not in readable:
        return (
            f"is a GGUF of a kind that transformers cannot read as a causal language model ({kind}).",
            "Name a folder with config.json and safetensors.",
        )
    cut, known = said.get("tokenizer.ggml.pre", ""), gguf_cuts()
    if said.get("tokenizer.ggml.model") == "gpt2" and cut and known and cut not in known | _CUT_LIKE_GPT2:
        return (
            f"is a GGUF whose text is cut in a way that transformers does not know ({cut}): the student would read "
            "other tokens than it was trained on.",
            "Name the model's folder, with its tokenizer.json.",
        )
    stretched = said.get(f"{kind}.rope.scaling.type", "none")
    if stretched not in ("none", "linear", "yarn") and kind != "gpt-oss":
        return f"is a GGUF that stretches positions by {stretched!r}, which cannot be read from it.", _NAME_FOLDER
    return None


_NAME_FOLDER = "Name the model's folder, with its config.json."


#: What llama.cpp cuts as GPT-2 does, as transformers cuts where it does not know better; and (from starcoder on) where
#: it takes digits one by one before that: the same, with a vocabulary that was made so, since no token of it has two.
_CUT_LIKE_GPT2 = frozenset({
    "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat", "jina-es", "jina-de",
    "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
    "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2",
})  # fmt: skip


def _said_first(handle: BinaryIO) -> dict[str, str]:
    """The texts that a GGUF gives before its vocabulary: the architecture, and how its tokenizer works."""
    magic, version, _, pairs = struct.unpack("<4sIQQ", handle.read(24))
    if magic != b"GGUF" or version < 2:
        raise ValueError("no GGUF")
    found: dict[str, str] = {}
    for _ in range(pairs):
        key = _text(handle)
        if key == "tokenizer.ggml.tokens":
            break
        found[key] = _value(handle)
    return found


#: Sizes in bytes of the scalar types of a GGUF, by their number.
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _ARRAY = 8, 9


def _value(handle: BinaryIO) -> str:
    """A text; of anything else nothing, read over."""
    kind = struct.unpack("<I", handle.read(4))[0]
    if kind != _ARRAY:
        return _single(handle, kind)
    kind, count = struct.unpack("<IQ", handle.read(12))
    if kind in _SCALARS:
        handle.seek(_SCALARS[kind] * count, os.SEEK_CUR)
    else:
        for _ in range(count):
            _single(handle, kind)
    return ""


def _single(handle: BinaryIO, kind: int) -> str:
    if kind == _TEXT:
        return _text(handle)
    if kind not in _SCALARS:
        raise ValueError("no type of a GGUF")
    handle.read(_SCALARS[kind])
    return ""


def _text(handle: BinaryIO) -> str:
    length = struct.unpack("<Q", handle.read(8))[0]
    if length > 1 << 16:
        raise ValueError("no text")
    return handle.read(length).decode("utf-8", "replace")


# --- what transformers has, read and not imported: an import takes seconds --------------------------------------------


@lru_cache(maxsize=1)
def causal_kinds() -> frozenset[str]:
    """The `model_type`s that AutoModelForCausalLM loads without code of theirs; empty where that cannot be told."""
    return frozenset(_keys("models/auto/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", r'\("([\w.-]+)", "'))


@lru_cache(maxsize=1)
def gguf_kinds() -> frozenset[str]:
    """The architectures of GGUF files that become causal models; empty where that cannot be told."""
    causal = {_plain(kind) for kind in causal_kinds()} | {"deci"}
    found = {_plain(kind) for kind in _keys("integrations/ggml.py", "GGUF_CONFIG_MAPPING", r'(?m)^    "([\w.-]+)": \{')}
    # Text-only Gemmas are another model_type than the GGUF's name.
    return frozenset(kind for kind in found if kind in causal or f"{kind}text" in causal)


@lru_cache(maxsize=1)
def gguf_cuts() -> frozenset[str]:
    """The values of `tokenizer.ggml.pre` that transformers cuts text by; empty where that cannot be told."""
    file = "integrations/gguf/gguf_tokenizer_mapping.py"
    return frozenset(_keys(file, "GGUF_PRE_TOKENIZER_SPLITS", r'(?m)^    "([^"]+)": '))


def _keys(file: str, name: str, pattern: str) -> Iterator[str]:
    """Keys of the mapping `name` in one of transformers' files."""
    spec = find_spec("transformers")
    path = Path(next(iter(spec.submodule_search_locations)), file) if spec and spec.submodule_search_locations else None
    if path is None or not path.is_file():
        return
    _, _, rest = path.read_text(encoding="utf-8").partition(f"\n{name} = ")
    yield from re.findall(pattern, re.split(r"\n[)}]\n", rest, maxsplit=1)[0])


def _plain(kind: str) -> str:
    return re.sub(r"[-_]", "", kind.lower())
