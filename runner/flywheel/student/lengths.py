"""What fits a student, from its files alone: no weights are loaded, and torch is not imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Under these names configurations have the tokens that fit a model, prompt and answer together.
CONTEXT_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")


def context_in(folder: Path) -> int | None:
    """Tokens that fit the model in a folder; None where its configuration does not say, or is not there."""
    try:
        config: Any = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    config = config.get("text_config") or config
    return next((config[key] for key in CONTEXT_KEYS if isinstance(config.get(key), int)), None)


def lengths_in(folder: Path, texts: Sequence[str]) -> list[int] | None:
    """Tokens of each text; None where there is no `tokenizer.json`. A chat template's own are not among them."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()  # the file may ask for both
    tokenizer.no_truncation()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
