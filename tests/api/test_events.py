"""Server-sent events: what happens is told once, in order, to those who may see it, and can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from crowdgrid.hub import happenings
from tests.api.running import RunningHub, running
from tests.api.test_jobs import refusal


class Stream:
    """One who watches."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()

    def next(self, kind: str = "") -> dict[str, Any]:
        """The next event (of a kind): {"id", "event", "data"}."""
        while True:
            found: dict[str, Any] = {}
            for line in self._lines:
                if not line:
                    break
                name, _, value = line.partition(": ")
                found[name] = value
            else:
                raise EOFError
            if "event" in found and kind in ("", found["event"]):
                return found | {"data": json.loads(found["data"])}


@contextmanager
def watching(client: httpx.Client, *, last: str = "", **query: str) -> Iterator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", "/v1/events", params=query, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


def open_job(person: httpx.Client, program: str, **told: Any) -> str:
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3, "piece": 1}} | told
    job: str = person.post("/v1/jobs", json=request).json()["id"]
    return job


def test_a_jobs_states_are_told_in_order_and_resumed(hub: RunningHub, person: httpx.Client, program: str) -> None:
    """Whoever comes back with the id of the last event gets exactly what came since."""
    with watching(person) as stream:
        job = open_job(person, program)
        opened = stream.next("job")
        assert (opened["data"]["id"], opened["data"]["state"]) == (job, "sealed")
    person.post(f"/v1/jobs/{job}/pause")
    person.post(f"/v1/jobs/{job}/cancel", json={})
    with watching(person, last=opened["id"]) as stream:
        assert stream.next("job")["data"]["paused"] is True
        assert stream.next("job")["data"]["state"] == "cancelled"
    with watching(person, last=opened["id"]) as stream:
        assert stream.next("job")["data"]["paused"] is True


def test_what_is_no_longer_kept_is_answered_with_reset(person: httpx.Client, program: str) -> None:
    """An id from before this hub's start, or from nowhere, says so instead of leaving a hole unseen."""
    open_job(person, program)
    for last in ("0.0", "999999999.5"):
        with watching(person, last=last) as stream:
            assert stream.next()["event"] == "reset"
    refusal(person.get("/v1/events", headers={"Last-Event-ID": "yesterday"}), 400, "bad_input", "yesterday")


def test_nobody_sees_another_owners_events(hub: RunningHub, person: httpx.Client, program: str) -> None:
    with hub.client("watcher") as watcher, watching(watcher) as stream:
        open_job(person, program)
        own = watcher.put(
            "/v1/programs?runtime=echo", content=b"x", headers={"Content-Type": "application/wasm"}
        ).json()["digest"]
        mine = open_job(watcher, own, runtime="echo")
        assert stream.next("job")["data"]["id"] == mine
        watcher.post(f"/v1/jobs/{mine}/cancel", json={})


def test_tasks_are_told_only_to_who_watches_the_job(hub: RunningHub, person: httpx.Client, program: str) -> None:
    """With ?job= each settled task is told; counters follow at most twice a second; and it can be resumed."""
    job = open_job(person, program)
    node = hub.node()
    with watching(person, job=job) as stream:
        node.work(b"1")
        told = stream.next("tasks")
        assert told["data"]["job"] == job
        assert [(t["ordinal"], t["state"], t["why"]) for t in told["data"]["tasks"]] == [(0, "validated", "settled")]
        counts = stream.next("counts")
        assert counts["data"]["counts"]["validated"] == 1
    node.work(b"2")
    with watching(person, job=job, last=counts["id"]) as stream:
        assert stream.next("tasks")["data"]["tasks"][0]["ordinal"] == 1
    other = open_job(person, program)
    with watching(person, job=other, last=counts["id"]) as stream:
        assert stream.next()["event"] == "reset"
    node.leave()


def test_nodes_are_told_when_they_come_and_go(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    with watching(person) as stream:
        node = hub.node(owner, name="lap")
        node.leave()
        assert [stream.next("node")["data"]["online"] for _ in range(2)] == [True, False]


def test_who_does_not_read_is_cut_off(hub: RunningHub, person: httpx.Client, owner: str, program: str) -> None:
    """A reader that lags too far behind costs bounded memory; it comes back and is told to read afresh."""
    from crowdgrid.hub.access import Principal

    async def lag() -> bool:
        reader = hub.hub.happenings.open(Principal(owner, "submitter"))
        for _ in range(happenings.WAITING_MAX + 1):
            hub.hub.happenings._say("job", owner, 0, dict)
        hub.hub.happenings.close(reader)
        return reader.cut

    assert hub.do(lag())


def test_watchers_do_not_keep_the_hub_from_stopping(tmp_path: Any) -> None:
    with running(tmp_path) as hub, hub.client() as admin, watching(admin) as stream:
        hub.server.stop()
        try:
            while True:
                stream.next()
        except (EOFError, httpx.HTTPError):
            pass


def test_a_revoked_token_is_shown_nothing_more(hub: RunningHub, person: httpx.Client, program: str) -> None:
    """An open stream ends before the next event once the token that opened it is revoked."""
    made = person.post("/v1/tokens", json={}).json()
    lost = httpx.Client(base_url=hub.url, headers={"Authorization": f"Bearer {made['secret']}"})
    with lost, watching(lost) as stream:
        open_job(person, program)
        assert stream.next("job")["data"]["state"] == "sealed"
        person.post(f"/v1/tokens/{made['token']['number']}/revoke")
        unseen = open_job(person, program)
        shown: list[dict[str, Any]] = []
        with pytest.raises(EOFError):
            shown += iter(stream.next, None)
        assert unseen not in [event["data"].get("id") for event in shown]
