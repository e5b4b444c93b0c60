from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from flywheel.executor import WorkerError, parcel


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "project"
    for name in (
        "checks.py",
        "evals/rows.jsonl",
        ".flywheel/store",
        "deploy/model",
        "a/__pycache__/b.pyc",
        "a/deploy/c",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_project_arrives_without_what_is_hidden_cached_or_left_out(root: Path) -> None:
    there = parcel.unpack(parcel.pack(root, ["deploy", "builtin:tiny"]))
    found = {str(path.relative_to(there)): path.read_text() for path in there.rglob("*") if path.is_file()}
    assert found == {name: name for name in ("checks.py", "evals/rows.jsonl", "a/deploy/c")}


def test_what_is_there_already_is_used_and_another_content_lies_elsewhere(root: Path) -> None:
    first = parcel.unpack(parcel.pack(root, []))
    assert parcel.unpack(parcel.pack(root, [])) == first
    (root / "checks.py").write_text("other")
    assert parcel.unpack(parcel.pack(root, [])) != first


@pytest.mark.parametrize("change", [lambda file: file.write_text("tampered"), lambda file: file.unlink()])
def test_a_copy_that_was_changed_is_refused_and_named(root: Path, change) -> None:
    packed = parcel.pack(root, [])
    change(parcel.unpack(packed) / "checks.py")
    with pytest.raises(WorkerError, match=r"checks\.py is not the checks\.py any more that.*Remove .*flywheel-"):
        parcel.unpack(packed)


def test_a_project_that_is_too_large_names_its_largest_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "LIMIT_BYTES", 1 << 20)
    (root / "evals" / "huge.bin").write_bytes(bytes(2 << 20))
    with pytest.raises(WorkerError, match=r"2 MiB are too many .* largest file is evals/huge\.bin"):
        parcel.pack(root, [])


def test_folders_that_were_sent_become_the_receivers(tmp_path: Path) -> None:
    here, model, there = tmp_path / "here", tmp_path / "here" / "model", tmp_path / "there"
    sent = parcel.send({"path": here, "text": str(model), "other": here / "file", "word": "here"}, [here, model])
    places = {str(here): there, str(model): there / "m"}
    assert parcel.receive(sent, places) == {
        "path": there, "text": str(there / "m"), "other": here / "file", "word": "here",
    }  # fmt: skip
    assert isinstance(parcel.receive(parcel.send(here, [here]), places), Path)


def test_a_folder_that_moved_in_twice_at_once_is_whole(root: Path) -> None:
    packed = parcel.pack(root, [])
    place = parcel.unpack(packed)
    parcel._move_in(packed, place)
    assert parcel.unpack(packed) == place
    assert [path.name for path in place.parent.iterdir()] == [place.name], "nothing is left beside it"
