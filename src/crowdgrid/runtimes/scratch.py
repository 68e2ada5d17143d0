"""Folders in which workers of this machine's own Python work, and which do not outlive them.

Each pool has one folder among the system's temporary ones, each worker one in it: its working directory and
its TMPDIR. Short paths, because Unix sockets are made there. The pool holds a lock on its folder, which the
kernel lets go however the pool ends; what is found without a lock was left by a pool that was killed, and the
next one removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from crowdgrid.errors import Unavailable

PREFIX: Final = "crowdgrid-work-"
YOUNG_SECONDS: Final = 60.0  # a folder this young may not have been locked yet


class Scratch:
    """One pool's folder, made when the first worker needs it.

    Args:
        parent: where; None: where the system keeps temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        self._folder: Path | None = None
        self._held = -1
        self._count = 0
        self._closed = False
        self._turn = threading.Lock()

    def new(self) -> Path:
        """A new folder for one worker; may take long. Raises Unavailable where none can be made."""
        with self._turn:
            try:
                folder = self._opened()
                self._count += 1
                made = folder / str(self._count)
                made.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise Unavailable(f"There is no place for temporary files: {error.strerror}.") from None
            return made

    def close(self) -> None:
        """Remove everything; there are no new ones any more."""
        with self._turn:
            self._closed = True
            if self._folder is not None:
                remove(self._folder)
                self._folder = None
                os.close(self._held)

    def _opened(self) -> Path:
        if self._closed:
            raise Unavailable("This runtime is closed.")
        if self._folder is None:
            sweep(self._parent)
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            self._held = _lock(self._folder)
        return self._folder


def remove(folder: Path) -> None:
    """Remove a worker's folder and all it left there; what cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path, young_seconds: float = YOUNG_SECONDS) -> None:
    """Remove what killed pools of this user left."""
    for folder in parent.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < young_seconds:
                continue
            held = _lock(folder)
            remove(folder)
            os.close(held)


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock. Raises OSError when somebody else does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
