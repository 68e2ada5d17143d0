"""What makes a worker process a worker of one runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

from crowdgrid.runtimes import Finished, Group, Result, Run
from crowdgrid.runtimes.outbox import Outbox

Runner = Callable[[Group, Outbox], None]
"""Does each run of a group with a loaded program, in order, and puts each result into the outbox when it is made. Never
raises for what the program does."""

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


def one_by_one(run: Callable[[Run], Result]) -> Runner:
    """The runner of a program that can be run once: for programs that take longer than telling one from the next."""

    def each(group: Group, outbox: Outbox) -> None:
        for stdin in group.stdins:
            outbox.add(run(Run(group.argv, stdin, group.limits, group.env)))

    return each
