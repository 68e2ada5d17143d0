"""Compiled programs on disk, so that a program is compiled once a machine and not once a worker.

Loading machine code is trusting it. So the folder must be ours and closed to everybody else (mode
0700), it is opened once and only used through its descriptor (what is renamed above it does not matter),
no link is followed, and each file begins with the SHA-256 of the rest, so that a torn write is no
program. wasmtime itself refuses code made by another version, configuration or processor. A folder that
fails the test is not used; a file that fails is made again; a full disk costs time, never a run.
"""

from __future__ import annotations

import contextlib
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Final

import wasmtime

CACHE_BYTES: Final = 1 << 30
_DIGEST_BYTES: Final = 32
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Compiled:
    """The cache in one folder; an empty name means none."""

    def __init__(self, engine: wasmtime.Engine, folder: str) -> None:
        self._engine = engine
        self._folder = _open_private(folder) if folder else None

    def get(self, digest: str) -> wasmtime.Module | None:
        """The module compiled from the program with this hex SHA-256, if it is here and sound."""
        if self._folder is None:
            return None
        try:
            data = _read(digest, self._folder)
            return wasmtime.Module.deserialize(self._engine, data) if data else None
        except (OSError, wasmtime.WasmtimeError):
            return None

    def put(self, digest: str, module: wasmtime.Module) -> None:
        """Keep `module`; does nothing where it cannot."""
        if self._folder is None:
            return
        code = bytes(module.serialize())
        with contextlib.suppress(OSError):
            _write(digest, self._folder, sha256(code).digest() + code)
            _prune(self._folder)


def _open_private(path: str) -> int | None:
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path, _READ | os.O_DIRECTORY)
    except OSError:
        return None
    if _is_ours(os.fstat(folder), 0o077):
        return folder
    os.close(folder)
    return None


def _is_ours(status: os.stat_result, forbidden: int) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & forbidden


def _read(name: str, folder: int) -> bytes | None:
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not _is_ours(status, 0o022):
            return None
        data = file.read()
        os.utime(file.fileno())  # most recently used
    digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return code if sha256(code).digest() == digest else None


def _write(name: str, folder: int, data: bytes) -> None:
    draft = f".{name}.{os.getpid()}"
    try:
        with os.fdopen(os.open(draft, _WRITE, 0o600, dir_fd=folder), "wb") as file:
            file.write(data)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _prune(folder: int) -> None:
    """Remove what was used longest ago until the rest is within `CACHE_BYTES`."""
    files = [(entry.stat(), entry.name) for entry in os.scandir(folder)]
    total = 0
    for status, name in sorted(files, key=lambda file: file[0].st_mtime_ns, reverse=True):
        total += status.st_size
        if total > CACHE_BYTES:
            os.unlink(name, dir_fd=folder)
