"""Fixtures of the API's tests: one hub for all that do no harm, owners of their own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest

from tests.api.running import ECHO, RunningHub, running

_owners = itertools.count()


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub shared by the whole run."""
    with running(tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture
def owner() -> str:
    """Somebody nobody else in this run is."""
    return f"owner{next(_owners)}"


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves open in the shared hub is cancelled, so that the next one's nodes get nothing of it."""
    yield
    found = request.getfixturevalue("hub") if "hub" in request.fixturenames else None
    if isinstance(found, RunningHub):
        with found.client() as admin:
            states = ["validating", "open", "sealed"]
            for job in admin.get("/v1/jobs", params={"limit": 1000, "state": states}).json()["jobs"]:
                admin.post(f"/v1/jobs/{job['id']}/cancel", json={})


@pytest.fixture
def person(hub: RunningHub, owner: str) -> Iterator[httpx.Client]:
    """A submitter."""
    with hub.client(owner) as client:
        yield client


@pytest.fixture
def admin(hub: RunningHub) -> Iterator[httpx.Client]:
    """The admin."""
    with hub.client() as client:
        yield client


@pytest.fixture
def program(person: httpx.Client) -> str:
    """Digest of a program that is here and good."""
    answer = person.put("/v1/programs", content=ECHO, headers={"Content-Type": "application/wasm"})
    assert answer.status_code == 200, answer.text
    digest: str = answer.json()["digest"]
    return digest
