"""A hub that is killed while it upgrades its store: `python -m tests.contracts.store.cut_short URL STATEMENTS`.

It ends itself with SIGKILL when it has run so many statements of the upgrade, so that the kill falls exactly there; after
the last one it does so before it commits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from crowdgrid.store import postgres, revision, sqlite_writer
from crowdgrid.store.open import open_store
from tests.contracts.store.places import take_over


class _CutShort(list[str]):
    """Statements of which only the first `run` are handed out alive."""

    def __init__(self, statements: Sequence[str], run: int) -> None:
        super().__init__(statements)
        self._run = run

    def __iter__(self) -> Iterator[str]:
        yield from self[: self._run]
        os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, run: int) -> None:
    def needed(*given: Any, **more: Any) -> Sequence[str]:
        return _CutShort(revision.needed(*given, **more), run)

    for adapter in (sqlite_writer, postgres):
        setattr(adapter, "needed", needed)  # noqa: B010 — to mypy a module has only what it exports
    asyncio.run(take_over(open_store(url)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
