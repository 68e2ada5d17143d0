"""What the doctor says of the databases a hub here could use."""

from __future__ import annotations

import importlib.metadata

import pytest

from crowdgrid.cli.doctor import _databases


def without_asyncpg(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def told(name: str) -> str:
        if name == "asyncpg":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", told)


def test_both_databases_are_named_where_both_can_be_used() -> None:
    found = _databases()
    assert found.state == "good"
    assert "SQLite 3." in found.text
    assert "PostgreSQL with asyncpg" in found.text


@pytest.mark.parametrize(("store", "state"), [("", "missing"), ("postgresql://db.example/grid", "wrong")])
def test_a_missing_driver_is_wrong_only_where_it_is_asked_for(
    store: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_asyncpg(monkeypatch)
    monkeypatch.setenv("CROWDGRID_STORE", store)
    found = _databases()
    assert found.state == state
    assert found.remedy.startswith("pip install 'crowdgrid[postgres]'")
