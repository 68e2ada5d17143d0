"""What makes a worker process a worker of one runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

from crowdgrid.runtimes import Finished, Run

Runner = Callable[[Run], Finished]
"""Runs a loaded program once. Never raises for what the program does."""

Leave = Callable[[Finished | None], NoReturn]
"""Ends the process after the results so far and this one: of a run that cannot be stopped otherwise, or None,
when a fresh worker had better do the run."""


class Kind(Protocol):
    """The worker's half of a runtime."""

    def load(self, program: str, path: str) -> Runner:
        """Make `program` (hex SHA-256, stored at `path`) ready to run; once for each batch.

        Raises:
            BadProgram: it can run nowhere; a program error for each of its runs.
            CrowdgridError: it cannot run here and now; a node error for each of its runs.
        """
        ...

    def rest(self) -> None:
        """The batch has run; what bounded its runs no longer does."""
        ...
