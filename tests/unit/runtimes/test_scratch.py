"""Workers' folders go with their pool, also one that was killed; others' folders are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crowdgrid.errors import Unavailable
from crowdgrid.runtimes import scratch
from crowdgrid.runtimes.scratch import PREFIX, Scratch

POOL = """
import sys
from pathlib import Path
from crowdgrid.runtimes.scratch import Scratch
print(Scratch(Path(sys.argv[1])).new(), flush=True)
sys.stdin.read()
"""


def test_each_worker_has_a_folder_of_its_own_until_the_pool_closes(tmp_path: Path) -> None:
    place = Scratch(tmp_path)
    assert [*tmp_path.iterdir()] == []  # none before one is needed
    first, second = place.new(), place.new()
    assert first != second
    assert first.parent == second.parent
    assert first.stat().st_mode & 0o777 == 0o700
    (first / "left").write_text("by a function")
    scratch.remove(first)
    assert (first.exists(), second.exists()) == (False, True)
    place.close()
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(Unavailable, match="closed"):
        place.new()


def test_a_pools_folder_that_somebody_removed_is_there_again(tmp_path: Path) -> None:
    place = Scratch(tmp_path)
    scratch.remove(place.new().parent)
    assert place.new().is_dir()
    place.close()


def test_where_no_folder_can_be_made_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no place for temporary files: No such file"):
        Scratch(tmp_path / "nowhere").new()


def test_only_what_a_killed_pool_left_is_removed(tmp_path: Path) -> None:
    pool = subprocess.Popen(
        [sys.executable, "-c", POOL, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert pool.stdout is not None
        folder = Path(pool.stdout.readline().strip())
        (tmp_path / "somebody-elses").mkdir()
        scratch.sweep(tmp_path, young_seconds=0)
        assert folder.exists()  # its pool lives
    finally:
        os.kill(pool.pid, signal.SIGKILL)
        pool.communicate()
    scratch.sweep(tmp_path)
    assert folder.exists()  # so young that its pool might not have locked it yet
    scratch.sweep(tmp_path, young_seconds=0)
    assert [path.name for path in tmp_path.iterdir()] == ["somebody-elses"]


def test_a_link_by_that_name_is_not_followed(tmp_path: Path) -> None:
    """Anybody may make files among the temporary ones."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (tmp_path / f"{PREFIX}trap").symlink_to(tmp_path / "precious")
    scratch.sweep(tmp_path, young_seconds=0)
    assert (tmp_path / "precious" / "file").exists()
