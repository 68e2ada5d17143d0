"""What a person writes after `--store`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crowdgrid.errors import BadInput
from crowdgrid.store.memory import MemoryStore
from crowdgrid.store.open import open_store
from crowdgrid.store.postgres import PostgresStore
from crowdgrid.store.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("grid.db", "grid.db"),
        ("/var/lib/grid.db", "/var/lib/grid.db"),
        ("sqlite:///grid.db", "grid.db"),
        ("sqlite:////var/lib/grid.db", "/var/lib/grid.db"),
        ("~/grid.db", str(Path.home() / "grid.db")),
        ("odd:name.db", "odd:name.db"),
    ],
)
def test_a_path_is_a_sqlite_file(url: str, path: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == Path(path)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:secret@db.example:5433/grid", "grid on db.example"),
        ("postgres:///grid", "grid on the local server"),
        ("postgresql://ann@/grid?host=/run/postgresql", "grid on /run/postgresql"),
    ],
)
def test_a_postgresql_address_is_shown_without_its_password(url: str, place: str) -> None:
    store = open_store(url)
    assert isinstance(store, PostgresStore)
    assert store.place == place


def test_memory_is_a_new_store_each_time() -> None:
    first, second = open_store("memory:"), open_store("memory:")
    assert isinstance(first, MemoryStore)
    assert first is not second


@pytest.mark.parametrize("url", ["", "mysql://host/grid", "sqlite://", "sqlite:///", "://x"])
def test_anything_else_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_store(url)
    assert "postgresql://" in caught.value.hint


def test_postgresql_without_its_driver_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("crowdgrid.store.postgres", "crowdgrid.store.postgres_link"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(BadInput, match="asyncpg, which is not installed") as caught:
        open_store("postgresql://ann:secret@db.example/grid")
    assert "pip install 'crowdgrid[postgres]'" in caught.value.hint
    assert "secret" not in f"{caught.value}"
