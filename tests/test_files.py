"""Files and folders that are there are whole."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.files import copy_folder, point, write_folder, write_text

BIG = "x" * 400_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_report_that_does_not_fit_leaves_the_old_one(small_disk: Path) -> None:
    folder = small_disk / "iter-001"
    write_folder(folder, {"index.html": "old"})

    with pytest.raises(FlywheelError, match="cannot be written: No space left on device"):
        write_folder(folder, {"index.html": BIG})

    assert [path.name for path in small_disk.iterdir()] == ["iter-001"]
    assert (folder / "index.html").read_text() == "old"


def test_an_adapter_that_does_not_fit_is_not_deployed_by_half(small_disk: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    write_folder(adapter, {"adapter_model.safetensors": BIG})

    with pytest.raises(FlywheelError, match="cannot be written"):
        copy_folder(adapter, small_disk / "model")

    assert list(small_disk.iterdir()) == []


def test_a_file_that_does_not_fit_leaves_the_old_one(small_disk: Path) -> None:
    write_text(small_disk / "manifest.json", "old")

    with pytest.raises(FlywheelError, match="run the same command again"):
        write_text(small_disk / "manifest.json", BIG)

    assert (small_disk / "manifest.json").read_text() == "old"
    assert len(list(small_disk.iterdir())) == 1


def test_a_link_is_not_put_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "current" / "model").mkdir(parents=True)
    with pytest.raises(FlywheelError, match=r"current is no link, as in a copy .* Move it away \(`mv "):
        point(tmp_path / "current", "new")
    assert (tmp_path / "current" / "model").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_a_link_moves_even_where_it_points_nowhere(tmp_path: Path) -> None:
    for target in ("gone", "there"):
        point(tmp_path / "current", target)
        assert (tmp_path / "current").readlink() == Path(target)
