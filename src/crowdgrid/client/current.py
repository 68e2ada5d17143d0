"""The grid that is meant when none is named: the one opened last that is still open.

With none open, the hub this user is signed in to; without a login, a grid of this machine, kept until the program
ends. So a function can be mapped without a word about grids, as with a pool of processes.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crowdgrid.client.grid import Grid

_open: list[Grid] = []
_lock = threading.RLock()


def opened(grid: Grid) -> None:
    """A grid was opened: it is the one meant now."""
    with _lock:
        _open.append(grid)


def closed(grid: Grid) -> None:
    """A grid was closed: the one opened before it is meant again."""
    with _lock:
        if grid in _open:
            _open.remove(grid)


def grid() -> Grid:
    """The grid that is meant.

    Raises:
        Unavailable: there is no way to the hub this user is signed in to.
    """
    with _lock:
        if _open:
            return _open[-1]
        from crowdgrid.client import login
        from crowdgrid.client.grid import connect
        from crowdgrid.client.local import local

        signed_in = os.environ.get("CROWDGRID_URL") or login.saved()
        return connect() if signed_in else local()  # either calls `opened`
