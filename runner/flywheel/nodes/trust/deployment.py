"""The pointer: which model is deployed. Folders beside each other, one symbolic link, an append-only history.

`deploy/` holds `<model id>/` (adapter, manifest, and what `handover` puts beside them) for each model ever deployed,
`current` → one of them, and `manifest.json`, a copy of the current manifest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.errors import Tampered
from flywheel.files import copy_folder, point, write_text
from flywheel.hashing import fingerprint, short
from flywheel.nodes.trust.handover import file_hashes
from flywheel.student.loading import adapter_hash, check_adapter


def place(folder: Path, adapter: Path, manifest: Mapping[str, Any], complete: Callable[[Path], None]) -> dict[str, Any]:
    """Make `folder/<model id>` of the adapter and of what `complete` puts beside it, and point `current` there.

    The folder appears only when it is whole. Safe to repeat. Gives the manifest with the hashes of all files.
    """
    check_adapter(adapter, manifest["adapter_hash"])
    home = folder / str(manifest["model_id"])
    whole: dict[str, Any] = {}

    def fill(scratch: Path) -> None:
        complete(scratch)
        whole.update({**manifest, "files": file_hashes(scratch)})
        (scratch / "manifest.json").write_text(_text(whole), encoding="utf-8")

    copy_folder(adapter, home, fill)
    move_pointer(folder, whole)
    return whole


def move_pointer(folder: Path, manifest: Mapping[str, Any]) -> None:
    """The atomic act. Raises Tampered where the folder is not what was deployed."""
    home = folder / str(manifest["model_id"])
    verify_home(home, manifest)
    point(folder / "current", home.name)
    write_text(folder / "manifest.json", _text(manifest))


def clear_pointer(folder: Path) -> None:
    """Nothing is deployed any more; the folders of the models stay."""
    for name in ("current", "manifest.json"):
        (folder / name).unlink(missing_ok=True)


def _text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def verify_home(home: Path, manifest: Mapping[str, Any]) -> None:
    """Raise Tampered, naming the part, where a deployed folder differs from its manifest in the store.

    A manifest before the third version names no files beside the adapter.
    """
    if not home.is_dir():
        raise Tampered(f"{home}: the deployed model is gone. Run `flywheel apply` to train it again.")
    if (found := adapter_hash(home)) != manifest["adapter_hash"]:
        raise Tampered(
            f"{home}: the adapter has changed since it was deployed (hash {short(found)}, recorded "
            f"{short(manifest['adapter_hash'])}). It was not used."
        )
    written = json.loads((home / "manifest.json").read_text(encoding="utf-8"))
    if written != dict(manifest):
        parts = sorted(k for k in {*written, *manifest} if written.get(k) != manifest.get(k))
        raise Tampered(f"{home / 'manifest.json'}: {', '.join(parts)} changed since it was deployed. It was not used.")
    now = file_hashes(home)
    for name, digest in manifest.get("files", {}).items():
        if now.get(name) != digest:
            what = "has changed since it was deployed" if name in now else "is gone"
            raise Tampered(
                f"{home / name}: {what}. The model was not used. Put it back, or empty {home.parent} and run "
                "`flywheel apply` to deploy anew."
            )


def history_row(
    history: Sequence[Mapping[str, Any]], *, node: str, action: str, iteration: int, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """The next row of the append-only history, chained by hash to the one before."""
    row = {
        "node": node,
        "action": action,
        "iteration": iteration,
        "model_id": manifest["model_id"],
        "weights_hash": manifest["adapter_hash"],
        "decision_hash": manifest["decision_hash"],
        "manifest": dict(manifest),
    }
    return chained(history, row, "deployed_at")


def chained(history: Sequence[Mapping[str, Any]], row: Mapping[str, Any], at: str) -> dict[str, Any]:
    """`row` as the next entry of an append-only table; column `at` says when, and is not hashed."""
    last = history[-1] if history else None
    body = {"sequence": last["sequence"] + 1 if last else 1, **row, "previous_hash": last["hash"] if last else ""}
    return {**body, "hash": fingerprint(body), at: datetime.now(UTC)}


def check_history(history: Sequence[Mapping[str, Any]]) -> None:
    """Raise Tampered where a row of the history was edited, removed or put in."""
    if (row := first_broken(history, "deployed_at")) is not None:
        raise Tampered(
            f"deployment history: entry {row['sequence']} ({row['action']} of {row['model_id']}) does not match its "
            "hash. The store was edited; restore it from a copy before deploying."
        )


def first_broken(history: Sequence[Mapping[str, Any]], at: str) -> Mapping[str, Any] | None:
    """The first entry of an append-only table that was edited, or that follows one that was taken out or put in."""
    previous = ""
    for place, row in enumerate(history, start=1):
        body = {k: v for k, v in row.items() if k not in ("hash", at)}
        if (row["sequence"], row["previous_hash"]) != (place, previous) or fingerprint(body) != row["hash"]:
            return row
        previous = row["hash"]
    return None
