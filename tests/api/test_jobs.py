"""The jobs a person opens over REST: from the request to the answer, and every refusal on the way."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from crowdgrid import limits
from crowdgrid.core.model import Outcome
from crowdgrid.core.reducing import Answer, pack_answers
from crowdgrid.ids import did_of
from tests.api.running import RunningHub

Open = Callable[..., dict[str, Any]]


@pytest.fixture
def open_job(person: httpx.Client, program: str) -> Open:
    def open_one(**told: Any) -> dict[str, Any]:
        request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 10}} | told
        answer = person.post("/v1/jobs", json=request)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    return open_one


def refusal(answer: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    """The problem document of a refused request."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status), answer.text
    for word in words:
        assert word in problem["detail"] + problem["hint"], answer.text
    return problem


# --- opening ----------------------------------------------------------------------------------


def test_a_job_runs_from_the_request_to_the_answer(hub: RunningHub, person: httpx.Client, open_job: Open) -> None:
    """The whole way over REST: open, work, answer, results, tasks."""
    job = open_job(reduce="sum", split={"kind": "range", "start": 0, "stop": 10, "piece": 5}, name="tens")
    assert job["state"] == "sealed"
    assert job["counts"]["units"] == 10
    node = hub.node()
    node.work(b"7")
    node.work(b"35")
    node.leave()
    answer = person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 10})
    assert answer.status_code == 200, answer.text
    assert answer.json()["value"] == 42
    results = person.get("/v1/jobs/tens/results").json()
    assert [row["answers"] for row in results["results"]] == [
        [{"ok": True, "text": "7", "base64": None, "error": ""}],
        [{"ok": True, "text": "35", "base64": None, "error": ""}],
    ]
    tasks = person.get("/v1/jobs/tens/tasks").json()
    assert tasks["total"] == 2
    assert [task["state"] for task in tasks["tasks"]] == ["validated", "validated"]
    task = person.get("/v1/jobs/tens/tasks/1").json()
    assert [a["state"] for a in task["assignments"]] == ["reported"]
    assert task["assignments"][0]["node"] == did_of(node.record.key)


def test_opening_twice_with_one_key_opens_once(person: httpx.Client, program: str) -> None:
    """A client that lost the answer asks again without making a second job."""
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3}}
    first = person.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k1"})
    again = person.post("/v1/jobs", json=request | {"key": "k1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    other = person.post("/v1/jobs", json=request | {"key": "k1", "args": ["x"]})
    refusal(other, 409, "conflict", "key")
    both = person.post("/v1/jobs", json=request | {"key": "k1"}, headers={"Idempotency-Key": "k2"})
    refusal(both, 400, "bad_input", "Idempotency-Key")


def test_a_name_is_taken_once_per_owner_even_after_the_job_ended(
    hub: RunningHub, person: httpx.Client, open_job: Open, program: str
) -> None:
    """A name leads to one job for ever; another owner's names are their own."""
    job = open_job(name="mine")
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3}, "name": "mine"}
    refusal(person.post("/v1/jobs", json=request), 409, "conflict", "'mine'")
    person.post(f"/v1/jobs/{job['id']}/cancel", json={})
    refusal(person.post("/v1/jobs", json=request), 409, "conflict", "'mine'")
    with hub.client("somebody-else") as other:
        assert other.post("/v1/jobs", json=request | {"name": "mine"}).status_code == 201


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"split": {"kind": "range", "start": 5, "stop": 1}}, 400, ["range"]),
        ({"split": {"kind": "pie"}}, 400, ["pie"]),
        ({"split": {"kind": "grid", "axes": []}}, 400, ["axis"]),
        ({"reduce": "average"}, 400, ["average", "sum"]),
        ({"runtime": "cobol"}, 422, ["cobol", "wasm"]),
        ({"timeout_ms": 1}, 400, ["timeout_ms"]),
        ({"memory_bytes": 1 << 60}, 400, ["memory_bytes"]),
        ({"priority": 101}, 400, ["priority"]),
        ({"args": ["a"] * 257}, 413, ["256"]),
        ({"args": ["a\0"]}, 400, ["zero byte"]),
        ({"args": ["x" * (limits.ARG_BYTES + 1)]}, 413, ["Argument 0"]),
        ({"name": "a/b"}, 400, ["name"]),
        ({"name": "j" + "a" * 26}, 400, ["looks like an id"]),
        ({"program": "0" * 64}, 422, ["/v1/programs"]),
        ({"program": "xyz"}, 400, ["digest"]),
        ({"split": {"kind": "items"}, "sealed": True}, 400, ["append"]),
        ({"colour": "red"}, 400, ["colour"]),
        ({"labels": ["a\n"]}, 400, ["label"]),
        ({"consensus": "coin"}, 400, ["coin", "bounded_error", "majority", "single", "trust_weighted"]),
        ({"consensus": "trust_weighted", "threshold": 0}, 400, ["threshold"]),
        ({"consensus": "trust_weighted", "threshold": 1.01}, 400, ["threshold", "1.01"]),
        ({"consensus": "bounded_error", "error_bound": 0}, 400, ["error_bound"]),
        ({"consensus": "bounded_error", "error_bound": -1e-3}, 400, ["error_bound"]),
        ({"consensus": "bounded_error", "error_bound": 1}, 400, ["error_bound"]),
        ({"consensus": "bounded_error", "collision": 2}, 400, ["collision"]),
        ({"consensus": "majority", "overlap": 0}, 400, ["overlap"]),
        ({"consensus": "majority", "overlap": 51}, 400, ["overlap", "50"]),
        ({"overlap": 2}, 400, ["overlap", "majority"]),
        ({"consensus": "bounded_error", "final_after_ms": -2}, 400, ["final_after_ms"]),
        ({"comparison": {"kind": "numeric"}}, 400, ["nothing to compare"]),
        ({"consensus": "majority", "comparison": {"kind": "numeric", "rtol": -1}}, 400, ["rtol"]),
        ({"consensus": "majority", "comparison": {"kind": "interval", "z": 0}}, 400, ["z"]),
        ({"consensus": "majority", "comparison": {"kind": "program", "digest": "0" * 64}}, 422, ["/v1/programs"]),
        ({"consensus": "majority", "comparison": {"kind": "program", "digest": "xyz"}}, 400, ["SHA-256"]),
        ({"consensus": "majority", "runtime": "python-pickle", "split": {"kind": "items"}}, 400, ["one vote"]),
    ],
)
def test_a_bad_request_is_refused_with_its_own_sentence(
    person: httpx.Client, program: str, change: dict[str, Any], status: int, words: list[str]
) -> None:
    """Every limit has a sentence that names what is wrong; nothing is opened."""
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3}} | change
    answer = person.post("/v1/jobs", json=request)
    code = {400: "bad_input", 413: "too_large", 422: "bad_program"}[status]
    refusal(answer, status, code, *words)
    assert person.get("/v1/jobs").json()["jobs"] == []


def test_what_is_no_json_is_refused(person: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    refusal(person.post("/v1/jobs", content=b"{", headers=headers), 400, "bad_input", "JSON")
    refusal(person.post("/v1/jobs", content=b"[" * 100_000, headers=headers), 400, "bad_input")
    refusal(person.post("/v1/jobs", content=b"\xff", headers=headers), 400, "bad_input")
    refusal(person.post("/v1/jobs", content=b"a=b"), 400, "bad_input", "application/json")


def test_a_body_over_its_limit_is_refused_announced_or_not(person: httpx.Client) -> None:
    """A large body is never read to its end, whether its length was told or it just keeps coming."""
    headers = {"Content-Type": "application/json"}
    big = b" " * (limits.FRAME_BYTES + 1)
    refusal(person.post("/v1/jobs", content=big, headers=headers), 413, "too_large")
    refusal(person.post("/v1/jobs", content=iter([big, b" "]), headers=headers), 413, "too_large")


def test_a_program_that_is_put_as_a_blob_is_looked_at_before_its_job_runs(
    hub: RunningHub, person: httpx.Client
) -> None:
    """A bad program makes its job invalid, at once and with the reason; nothing of it is leased."""
    import hashlib

    junk = b"#!/bin/sh\nrm -rf /\n"
    digest = hashlib.sha256(junk).hexdigest()
    assert person.put(f"/v1/blobs/{digest}", content=junk).status_code == 200
    opened = person.post("/v1/jobs", json={"program": digest, "split": {"kind": "range", "start": 0, "stop": 3}})
    assert opened.status_code == 201, opened.text
    answer = person.get(f"/v1/jobs/{opened.json()['id']}/answer", params={"wait": 20})
    refusal(answer, 422, "job_failed", "invalid", "script")
    again = person.post("/v1/jobs", json={"program": digest, "split": {"kind": "range", "start": 0, "stop": 3}})
    refusal(again, 422, "bad_program", "script")


def test_a_program_that_is_none_is_refused_when_it_is_put(person: httpx.Client) -> None:
    headers = {"Content-Type": "application/wasm"}
    refusal(person.put("/v1/programs", content=b"", headers=headers), 422, "bad_program", "empty")
    refusal(person.put("/v1/programs", content=b"\x7fELF", headers=headers), 422, "bad_program", "Linux")
    assert person.put("/v1/programs?runtime=echo", content=b"x", headers=headers).status_code == 200


# --- appending --------------------------------------------------------------------------------


def test_items_are_appended_in_every_form_and_sealed(hub: RunningHub, person: httpx.Client, open_job: Open) -> None:
    """Text, base64 and raw lines make units; appending again at the same place changes nothing; a gap is refused."""
    job = open_job(split={"kind": "items", "piece": 10}, name="items")
    place = "/v1/jobs/items/items"
    assert person.post(place, json={"text": ["a", "b"]}).json() == {"units": 2}
    assert person.post(place, json={"text": ["a", "b"], "first": 0}).json() == {"units": 2}
    binary = base64.b64encode(b"\xff\x00").decode()
    assert person.post(place, json={"base64": [binary]}).json() == {"units": 3}
    lines = person.post(place, content=b"d\ne", headers={"Content-Type": "application/octet-stream"})
    assert lines.json() == {"units": 5}
    refusal(person.post(place, json={"text": ["z"], "first": 9}), 409, "conflict")
    refusal(person.post(place, json={"text": []}), 400, "bad_input", "at least one")
    refusal(person.post(place, json={"text": ["a"], "base64": [binary]}), 400, "bad_input")
    assert person.post(f"/v1/jobs/{job['id']}/seal").json()["state"] == "sealed"
    refusal(person.post(place, json={"text": ["late"]}), 409, "conflict")
    node = hub.node()
    node.fetch()
    lease = node.lease()
    assert (lease[0].start, lease[0].stop) == (0, 5)
    answers = [Answer(True, b"A"), Answer(False, error="It exited with 3."), *[Answer(True, b"\xff")] * 3]
    node.report(lease, pack_answers(answers), errors=1)
    node.leave()
    answer = person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 10}).json()
    assert answer["value"] == [{"text": "A"}, *[{"base64": "/w=="}] * 3]
    assert answer["failed"] == 1
    errors = person.get("/v1/jobs/items/errors").json()["errors"]
    assert [(error["unit"], error["error"]) for error in errors] == [(1, "It exited with 3.")]


def test_a_task_nobody_could_finish_is_told_among_the_errors(
    hub: RunningHub, person: httpx.Client, open_job: Open
) -> None:
    """A task given up after too many lost leases has a sentence of its own, and the job goes on if it allows that."""
    told = {"split": {"kind": "range", "start": 0, "stop": 1}, "stale_ceiling": 1, "allow_abandoned": True}
    job = open_job(**told)
    node = hub.node()
    node.fetch()
    lease = node.lease()
    node.report(lease, error="The disk of the node is full.", outcome=Outcome.NODE_ERROR)
    node.leave()
    answer = person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 10}).json()
    assert (answer["value"], answer["abandoned"]) == ([], 1)
    (error,) = person.get(f"/v1/jobs/{job['id']}/errors").json()["errors"]
    assert (error["unit"], error["ordinal"]) == (-1, 0)
    assert error["error"] == "Given up after a lost lease. The last node to say why: The disk of the node is full."
    assert error["node"] == did_of(node.record.key)


def test_nothing_is_appended_to_a_range(person: httpx.Client, open_job: Open) -> None:
    job = open_job()
    refusal(person.post(f"/v1/jobs/{job['id']}/items", json={"text": ["a"]}), 409, "conflict")


# --- steering ---------------------------------------------------------------------------------


def test_a_job_is_paused_resumed_prioritised_cancelled_and_removed(
    hub: RunningHub, person: httpx.Client, open_job: Open
) -> None:
    """Each verb shows in the job that is answered; only an ended job can be removed, and then it is gone."""
    place = f"/v1/jobs/{open_job()['id']}"
    assert person.post(f"{place}/pause").json()["paused"] is True
    assert person.post(f"{place}/resume").json()["paused"] is False
    assert person.patch(place, json={"priority": 7}).json()["spec"]["priority"] == 7
    refusal(person.patch(place, json={"priority": 700}), 400, "bad_input", "priority")
    refusal(person.delete(place), 409, "conflict", "Cancel")
    refusal(person.post(f"{place}/cancel", json={"reason": "a\0b"}), 400, "bad_input", "printable")
    cancelled = person.post(f"{place}/cancel", json={"reason": "No longer needed."}).json()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "No longer needed.")
    refusal(person.get(f"{place}/answer"), 422, "job_failed", "No longer needed.")
    assert person.delete(place).status_code == 204
    refusal(person.get(place), 404, "not_found")


def test_an_ended_job_runs_again_what_failed(hub: RunningHub, person: httpx.Client, open_job: Open) -> None:
    """The task that failed is leased once more, its new answer counts, and the other's stays."""
    job = open_job(reduce="sum", split={"kind": "range", "start": 0, "stop": 2, "piece": 1}, max_errors=1)
    node = hub.node()
    node.work(b"7")
    node.fetch()
    node.report(node.lease(), error="It exited with 3.", outcome=Outcome.PROGRAM_ERROR)
    refusal(person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 10}), 422, "job_failed")
    retried = person.post(f"/v1/jobs/{job['id']}/retry")
    assert retried.status_code == 200, retried.text
    node.work(b"35")
    node.leave()
    answer = person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 10})
    assert answer.status_code == 200, answer.text
    assert answer.json()["value"] == 42


def test_an_answer_that_is_not_there_yet_says_how_far_it_is(person: httpx.Client, open_job: Open) -> None:
    job = open_job()
    refusal(person.get(f"/v1/jobs/{job['id']}/answer"), 409, "conflict", "0 of 10", "wait")
    refusal(person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 61}), 400, "bad_input", "wait")


def test_a_long_poll_is_answered_when_the_job_completes_and_when_time_is_up(
    hub: RunningHub, person: httpx.Client, open_job: Open
) -> None:
    """Who waits for an answer gets it with the commit that completes the job, and a 409 when it does not come."""
    job = open_job(split={"kind": "range", "start": 0, "stop": 1})
    refusal(person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 0.05}), 409, "conflict")
    listeners = hub.hub.keeper.listeners
    before = len(listeners)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(person.get, f"/v1/jobs/{job['id']}/answer", params={"wait": 20})
        while len(listeners) == before:
            pass
        node = hub.node()
        node.work(b"late")
        assert waiting.result().json()["value"] == [{"text": "late"}]
    node.leave()
    assert len(listeners) == before


def test_bytes_are_given_as_bytes_to_who_takes_them(hub: RunningHub, person: httpx.Client, open_job: Open) -> None:
    """`concatenate` gives the very bytes with Accept: application/octet-stream, and JSON otherwise."""
    job = open_job(reduce="concatenate", split={"kind": "range", "start": 0, "stop": 1})
    node = hub.node()
    node.work(b"\xfe\xff")
    node.leave()
    place = f"/v1/jobs/{job['id']}/answer"
    raw = person.get(place, params={"wait": 10}, headers={"Accept": "application/octet-stream"})
    assert (raw.content, raw.headers["content-type"]) == (b"\xfe\xff", "application/octet-stream")
    assert person.get(place).json()["value"] == {"base64": "/v8="}


def test_an_integer_of_any_size_arrives_exactly(hub: RunningHub, person: httpx.Client, open_job: Open) -> None:
    """A sum beyond 64 bits is still exact in the answer."""
    job = open_job(reduce="sum", split={"kind": "range", "start": 0, "stop": 1})
    node = hub.node()
    node.work(b"1" + b"0" * 40)
    node.leave()
    assert person.get(f"/v1/jobs/{job['id']}/answer", params={"wait": 10}).json()["value"] == 10**40


# --- lists ------------------------------------------------------------------------------------


def test_what_cannot_be_a_name_is_no_job(person: httpx.Client) -> None:
    """A name no store could hold is looked for nowhere."""
    for text in ("%00", "%0a", "x" * 5000):
        refusal(person.get(f"/v1/jobs/{text}"), 404, "not_found")


def test_what_has_letters_no_id_has_is_nothing(person: httpx.Client) -> None:
    """Among them those that base 32 cannot even look at."""
    for text in ("jé", "t\u0661", "a🂡"):
        refusal(person.get(f"/v1/jobs/{text}"), 404, "not_found")
        refusal(person.get(f"/v1/why/{text}"), 404, "not_found")


def test_jobs_are_listed_newest_first_in_pages(person: httpx.Client, open_job: Open) -> None:
    """Following `next` shows every job once, newest first, and ends."""
    ids = [open_job()["id"] for _ in range(5)]
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = person.get("/v1/jobs", params={"limit": 2, **before}).json()
        seen += [job["id"] for job in page["jobs"]]
        if "next" not in page:
            break
        before = {"before": page["next"]}
    assert seen == ids[::-1]
    person.post(f"/v1/jobs/{ids[0]}/cancel", json={})
    cancelled = person.get("/v1/jobs", params={"state": ["cancelled", "failed"]}).json()["jobs"]
    assert [job["id"] for job in cancelled] == ids[:1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "state=happy",
        "before=-1",
        "colour=red",
        "before=jaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_a_bad_parameter_is_named(person: httpx.Client, query: str) -> None:
    refusal(
        person.get(f"/v1/jobs?{query}"), 400, "bad_input", query.partition("=")[0] if "happy" not in query else "happy"
    )


def test_a_cursor_does_not_tell_how_many_jobs_there_are(person: httpx.Client, open_job: Open) -> None:
    """Numbers are secret (`ids`): a page's `next` is no job number."""
    for _ in range(3):
        open_job()
    page = person.get("/v1/jobs", params={"limit": 1}).json()
    assert not str(page["next"]).isdecimal()
