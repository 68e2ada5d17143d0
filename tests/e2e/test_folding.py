"""Partials in a real grid: closed blocks are folded behind the work, and change nothing about the answer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import crowdgrid as cg
from tests.e2e.grid import until


def test_blocks_are_folded_as_they_close(tmp_path: Path) -> None:
    """4,000 tasks close three blocks of 1,024: the first is folded long before the end (a partial that comes after it
    is not kept), the open fourth never; the sum is the known one."""
    with cg.local(path=tmp_path) as grid:
        job = grid.run(cg.kernels.path("primes"), split=cg.Range(0, 10**6, piece=250), reduce="sum")
        assert job.result(timeout=60) == 78_498
        assert job.counts.tasks == 4_000
        store = sqlite3.connect(f"file:{tmp_path / 'hub' / 'grid.db'}?mode=ro", uri=True)
        try:
            folded = until(
                lambda: store.execute("SELECT block FROM partial ORDER BY block").fetchall(), "a block is folded"
            )
        finally:
            store.close()
    assert folded[0] == (0,)
    assert {block for (block,) in folded} <= {0, 1, 2}
