"""Disks that are full, and folders that cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def tiny_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own at `path`. Only root may mount one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[Path]:
    """A folder this process cannot write to; for root that takes a read-only mount."""
    path.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        path.chmod(0o500)
        yield path
        path.chmod(0o700)
        return
    with tiny_disk(path, 1 << 20):
        subprocess.run(["mount", "-o", "remount,ro", path], check=True)
        yield path
