"""The store a crowd's hub keeps its records in: every test here runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.postgres import postgres_dsn, postgres_server  # noqa: F401 — fixtures


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of a new store; "" for SQLite in the hub's folder."""
    return str(request.getfixturevalue("postgres_dsn")) if request.param == "postgresql" else ""
