"""What operators and their machines look at: health, readiness, figures, headers."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from crowdgrid.core import commands as c
from crowdgrid.core.model import Token
from crowdgrid.errors import Unavailable
from crowdgrid.store import Batch
from crowdgrid.store.memory import MemoryStore
from tests.api.running import RunningHub, running
from tests.api.test_jobs import refusal


class FailingStore(MemoryStore):
    """A store whose disk is full whenever a test says so."""

    full = False

    async def commit(self, batch: Batch) -> None:
        if self.full:
            raise Unavailable("The disk is full.")
        await super().commit(batch)

    async def open(self, *, grid_id: bytes, id_key: bytes):  # type: ignore[no-untyped-def] # as in the port
        if self.full:
            raise Unavailable("The disk is full.")
        return await super().open(grid_id=grid_id, id_key=id_key)


def test_a_hub_that_cannot_write_says_why_and_comes_back(tmp_path: Path) -> None:
    """Alive is not ready: /readyz tells the reason while the store fails, requests are refused as retryable,
    figures go on, and nothing has to be restarted afterwards."""
    store = FailingStore()
    with running(tmp_path, store=store) as hub, hub.client() as admin:
        assert admin.get("/readyz").json() == {"status": "ok"}
        store.full = True
        refused = admin.post("/v1/tokens", json={})
        assert refused.json()["retryable"] is True
        assert refused.headers["retry-after"]
        problem = refusal(admin.get("/readyz"), 503, "unavailable", "disk is full")
        assert problem["hint"]
        assert admin.get("/healthz").status_code == 200
        assert "crowdgrid_healthy 0.0" in admin.get("/metrics").text
        store.full = False
        while admin.get("/readyz").status_code != 200:
            pass
        assert admin.post("/v1/tokens", json={}).status_code == 201


def test_tokens_of_the_store_count_after_it_came_back(tmp_path: Path) -> None:
    """What was in memory only when a commit failed is forgotten with the engine."""
    store = FailingStore()
    with running(tmp_path, store=store) as hub, hub.client() as admin:
        kept = admin.post("/v1/invitations", json={"uses": 1}).json()["code"]
        hub.hub.access.take_invitation(kept)
        store.full = True
        admin.post("/v1/tokens", json={})
        store.full = False
        while admin.get("/readyz").status_code != 200:
            pass
        assert hub.hub.access.take_invitation(kept).uses_left == 0


def test_figures_tell_what_was_done_and_nothing_of_anybody(
    hub: RunningHub, person: httpx.Client, program: str, owner: str
) -> None:
    """Settled tasks, commits and connected nodes are counted; no job, node or person is named."""
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 1}, "name": "not-in-figures"}
    before = settled(hub)
    job = person.post("/v1/jobs", json=request).json()["id"]
    node = hub.node(owner)
    node.work(b"1")
    text = httpx.get(f"{hub.url}/metrics").text
    node.leave()
    assert settled(hub) == before + 1
    for line in ("crowdgrid_commit_seconds_bucket", "crowdgrid_nodes_online", "crowdgrid_link_frames_in_total"):
        assert line in text
    for secret in (job, owner, "not-in-figures"):
        assert secret not in text


def settled(hub: RunningHub) -> float:
    text = httpx.get(f"{hub.url}/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith('crowdgrid_tasks_settled_total{outcome="ok"}')]
    return float(line.split()[-1])


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=x"}, {"Host": "grid.example"}, {"Via": "1.1 x"}]
)
def test_figures_need_a_token_from_elsewhere(hub: RunningHub, owner: str, headers: dict[str, str]) -> None:
    """A proxy on this machine passes on strangers; a page in this machine's browser may name it otherwise."""
    refusal(httpx.get(f"{hub.url}/metrics", headers=headers), 401, "not_signed_in")
    with hub.client(owner, "reader") as reader:
        assert reader.get("/metrics", headers=headers).status_code == 200


def test_what_is_not_there_is_said_as_a_problem(hub: RunningHub) -> None:
    with hub.anybody() as nobody:
        refusal(nobody.get("/nowhere"), 404, "not_found", "openapi")
        refusal(nobody.get("/v1/jobs/"), 404, "not_found")
        answer = nobody.delete("/healthz")
        refusal(answer, 405, "no_such_method", "GET")
        assert answer.headers["allow"] == "GET, HEAD"
        refusal(nobody.get("/healthz?x=1"), 400, "bad_input", "x")


def test_every_answer_is_safe_to_open_in_a_browser(hub: RunningHub) -> None:
    headers = httpx.get(f"{hub.url}/healthz").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_a_mistake_of_ours_shows_no_traceback(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch, admin: httpx.Client
) -> None:
    """The answer has a reference that is in the log, and nothing of the inside."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(hub.hub.access, "tokens", broken)
    problem = refusal(admin.get("/v1/tokens"), 500, "error", "reference")
    assert "inside" not in str(problem)


def test_what_is_no_http_harms_nobody(hub: RunningHub) -> None:
    host, port = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert raw.recv(4096).startswith((b"HTTP/1.1 400", b""))
    assert httpx.get(f"{hub.url}/healthz").status_code == 200


def test_a_connection_that_says_nothing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd of silent connections cannot hold all of the hub's sockets."""
    monkeypatch.setattr("crowdgrid.hub.server.HEAD_SECONDS", 0.05)
    with running(tmp_path) as hub:
        host, port = hub.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            try:
                assert raw.recv(1) == b""
            except ConnectionResetError:
                pass
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 200")
            raw.sendall(b"GET /healthz HTTP/1.1\r\n")
            try:
                while raw.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        with httpx.Client(base_url=hub.url) as patient:
            assert patient.get("/healthz").status_code == 200
            assert patient.get("/healthz").status_code == 200


def test_an_address_that_is_no_link_closes_the_websocket(hub: RunningHub) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus), connect(hub.url.replace("http", "ws") + "/v1/nothing"):
        pass


def test_the_engine_is_asked_for_what_it_alone_knows(hub: RunningHub) -> None:
    """A record that is put comes back with its number: the keeper answers after the commit."""
    token = hub.ask(c.Put(Token(0, "0" * 64, "x", "reader", "", 1)))
    assert token.number > 0
    assert hub.hub.access.token(token.number) == token
