"""`kill -9` at any instant loses nothing that was acknowledged and leaves no batch in part."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crowdgrid.store.open import open_store
from tests.contracts.store.crasher import check
from tests.contracts.store.places import take_over


def killed_after(url: str, acknowledged: int, delay: float) -> int:
    """Run the crasher, kill it when it has told `acknowledged` batches and a moment more. Returns the last it told."""
    command = [sys.executable, "-m", "tests.contracts.store.crasher", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crasher:
        assert crasher.stdout is not None
        for _ in range(acknowledged):
            assert crasher.stdout.readline(), "it ended by itself"
        try:
            crasher.wait(delay)  # so that the kill falls anywhere in a commit
        except subprocess.TimeoutExpired:
            crasher.kill()
        told = crasher.stdout.read().split()
        assert crasher.wait() == -signal.SIGKILL
    return int(told[-1]) if told else 0


async def last_batch(url: str) -> int:
    """Open the store, check all of it, and say which batch it stands at."""
    hub = await take_over(open_store(url))
    try:
        await check(hub)
    finally:
        await hub.store.close()
    return hub.grid.batch


@pytest.mark.parametrize(("kind", "rounds"), [("sqlite", 10), ("postgres", 4)])
def test_killed_hub_leaves_whole_batches_and_every_acknowledged_one(
    kind: str, rounds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "grid.db") if kind == "sqlite" else request.getfixturevalue("postgres_dsn")
    chance = random.Random(7)
    before = 0
    for _ in range(rounds):
        told = killed_after(url, chance.randint(1, 15), chance.random() * 0.02)
        found = asyncio.run(last_batch(url))
        assert found >= max(told, before + 1)
        before = found
