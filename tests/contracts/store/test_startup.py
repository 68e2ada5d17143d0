"""A hub starts in a fraction of a second: nothing slow is imported to open a store that is new or current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OPEN_TWICE = """
import asyncio, sys
from crowdgrid.store.open import open_store

async def main():
    for _ in range(2):  # new, then current
        store = open_store(sys.argv[1])
        await store.open(grid_id=b"g" * 16, id_key=b"k" * 16)
        await store.close()

asyncio.run(main())
slow = {name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "alembic", "mako"}
sys.exit(f"imported {slow}" if slow else 0)
"""


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_opening_a_new_and_a_current_store_imports_neither_sqlalchemy_nor_alembic(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    urls = {"memory": "memory:", "sqlite": str(tmp_path / "grid.db")}
    url = urls.get(kind) or request.getfixturevalue("postgres_dsn")
    subprocess.run([sys.executable, "-c", OPEN_TWICE, url], check=True, timeout=60)
