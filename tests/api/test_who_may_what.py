"""Who gets in, and what each role may do: by the table of endpoints itself, so that a new one is covered at once."""

from __future__ import annotations

import httpx
import pytest

from crowdgrid.hub.api.endpoints import ENDPOINTS
from crowdgrid.hub.api.openapi import role_of
from crowdgrid.hub.api.table import Endpoint
from tests.api.running import RunningHub, running
from tests.api.test_jobs import refusal

GUARDED = [endpoint for endpoint in ENDPOINTS if endpoint.may is not None]
PARAMETERS = {"job": "nobodys", "ordinal:int": "0", "node": "did:key:z", "number:int": "999999", "thing": "x"}


def path_of(endpoint: Endpoint) -> str:
    path = endpoint.path
    for name, value in PARAMETERS.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def named(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def call(client: httpx.Client, endpoint: Endpoint) -> httpx.Response:
    headers = {"Content-Type": next(iter(endpoint.body.types))} if endpoint.body else {}
    with client.stream(endpoint.method, path_of(endpoint), headers=headers, content=b"{}") as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
    return answer


@pytest.mark.parametrize("endpoint", GUARDED, ids=named)
def test_no_door_opens_without_a_good_token(
    hub: RunningHub, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every guarded endpoint answers 401 before it has read the body, and says how to sign in."""
    monkeypatch.setattr(hub.hub.access._failures, "count", lambda address: None)
    with hub.anybody() as nobody:
        for authorization in ("", "Bearer cg_wrong", "Bearer", "Basic YTpi", "Node 00", "Bearer \u00e9"):
            nobody.headers = httpx.Headers([(b"Authorization", authorization.encode())])
            answer = call(nobody, endpoint)
            assert refusal(answer, 401, "not_signed_in")["hint"]
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("endpoint", [e for e in GUARDED if role_of(e) != "reader"], ids=named)
def test_a_reader_changes_nothing(hub: RunningHub, owner: str, endpoint: Endpoint) -> None:
    """A token given to a dashboard cannot submit, cancel, invite or make tokens."""
    with hub.client(owner, "reader") as client:
        refusal(call(client, endpoint), 403, "not_allowed", "reader")


@pytest.mark.parametrize("endpoint", [e for e in GUARDED if role_of(e) == "reader"], ids=named)
def test_a_reader_sees_what_is_there_to_see(hub: RunningHub, owner: str, endpoint: Endpoint) -> None:
    with hub.client(owner, "reader") as client:
        assert call(client, endpoint).status_code in (200, 404)


def test_what_belongs_to_somebody_else_does_not_exist(hub: RunningHub, person: httpx.Client, program: str) -> None:
    """The same words for a job that is another's and for one that never was; nothing of it can be changed."""
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3}, "name": "secret"}
    job = person.post("/v1/jobs", json=request).json()["id"]
    node = hub.node(owner="ada")
    did = person.get("/v1/nodes").json()
    assert did["nodes"] == []
    with hub.client("nosy") as nosy:
        never = refusal(nosy.get("/v1/jobs/never"), 404, "not_found")
        theirs = refusal(nosy.get(f"/v1/jobs/{job}"), 404, "not_found")
        assert theirs == never | {"detail": never["detail"].replace("never", job)}
        for verb in ("cancel", "pause", "resume", "retry", "seal"):
            refusal(nosy.post(f"/v1/jobs/{job}/{verb}", json={}), 404, "not_found")
        refusal(nosy.delete(f"/v1/jobs/{job}"), 404, "not_found")
        refusal(nosy.get(f"/v1/why/{job}"), 404, "not_found")
        refusal(nosy.get("/v1/events", params={"job": job}), 404, "not_found")
        assert nosy.get("/v1/jobs").json()["jobs"] == []
    with hub.client() as admin:
        assert admin.get(f"/v1/jobs/{job}").json()["owner"] != "admin"
        assert any(found["owner"] == "ada" for found in admin.get("/v1/nodes").json()["nodes"])
    node.leave()


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Guessing is bounded per address; nobody can lock a rightful person out by guessing from its address."""
    with running(tmp_path_factory.mktemp("guess")) as hub, hub.client() as admin:
        with httpx.Client(base_url=hub.url, headers={"Authorization": "Bearer cg_guess"}) as guesser:
            codes = [guesser.get("/v1/me").status_code for _ in range(30)]
            assert codes[0] == 401
            slowed = guesser.get("/v1/me")
            refusal(slowed, 429, "busy")
            assert slowed.headers["retry-after"]
        assert admin.get("/v1/me").status_code == 200
