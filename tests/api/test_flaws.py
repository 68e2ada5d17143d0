"""What went wrong and what runs wrote, as people see it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from crowdgrid import limits
from crowdgrid.core.reducing.answers import Answer, pack_answers
from crowdgrid.protocol.failures import Failure, pack_failure
from tests.api.running import HandNode, RunningHub
from tests.api.test_function_programs import PLAIN
from tests.api.test_items import append

BYTES = {"Content-Type": "application/octet-stream"}
TRACEBACK = "Traceback (most recent call last):\n  File sheet.py, line 3, in square\n    return x * y\n"


def opened(person: httpx.Client, runtime: str, content: bytes, piece: int = 2) -> str:
    """A job of items."""
    put = person.put("/v1/programs", content=content, params={"runtime": runtime}, headers=BYTES)
    assert put.status_code == 200, put.text
    request = {
        "program": put.json()["digest"],
        "runtime": runtime,
        "split": {"kind": "items", "piece": piece},
        "max_errors": 10_000,
    }
    answer = person.post("/v1/jobs", json=request)
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def work(node: HandNode, *answers: Answer, stderr: bytes = b"") -> None:
    node.fetch()
    errors = sum(not answer.ok for answer in answers)
    node.report(node.lease(), pack_answers(answers), errors=errors, stderr=stderr)


@pytest.fixture
def node(hub: RunningHub, owner: str) -> Iterator[HandNode]:
    """A machine that runs its owner's Python."""
    found = hub.node(owner, runtimes=("wasm", "echo", "python"), trusts=("own",))
    yield found
    found.leave()


def pages(person: httpx.Client, path: str, kind: str, limit: int) -> list[dict[str, Any]]:
    """All of a list, page by page; no more on one than were asked for and what its last task adds."""
    found: list[dict[str, Any]] = []
    after = -1
    while after is not None:
        page = person.get(path, params={"limit": limit, "after": after}).json()
        found += page[kind]
        after = page.get("next")
    return found


def test_what_a_function_raised_is_shown_with_its_traceback(person: httpx.Client, node: HandNode) -> None:
    """Type, message and traceback beside the unit and the node, so that nobody has to decode anything."""
    job = opened(person, "python", PLAIN)
    append(person, job, 0, "a", "b", "c", "d")
    raised = pack_failure(Failure("OddError", "sheet", "7 is odd", traceback=TRACEBACK, output="so far"))
    work(node, Answer(True, b"1"), Answer(False, raised, "OddError: 7 is odd"))
    work(node, Answer(False, b"", "The call took longer than 60 s."), Answer(False, b"no failure", "Lost."))
    first, second, third = person.get(f"/v1/jobs/{job}/errors").json()["errors"]
    assert (first["unit"], first["error"], first["node"][:8]) == (1, "OddError: 7 is odd", "did:key:")
    assert (first["type"], first["message"], first["traceback"]) == ("OddError", "7 is odd", TRACEBACK)
    for plain in (second, third):
        assert (plain["type"], plain["message"], plain["traceback"]) == ("", "", "")


def test_a_hostile_node_fills_no_page(person: httpx.Client, node: HandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says was raised is cut, and all tracebacks of a page together are bounded."""
    monkeypatch.setattr("crowdgrid.hub.api.flaws.TRACEBACKS_CHARS", 3 * limits.FAILURE_BYTES)
    job = opened(person, "python", PLAIN, piece=6)
    append(person, job, 0, *"abcdef")
    huge = pack_failure(Failure("T" * 9_000, "m", "M" * 9_000, traceback="B" * 20_000))
    beyond = pack_failure(Failure("T", "m", "M", traceback="B" * (limits.INLINE_BYTES + 1)))
    node.fetch()
    answers = pack_answers([Answer(False, huge, "E")] * 5 + [Answer(False, beyond, "E")])
    digest = hashlib.sha256(answers).hexdigest()
    assert person.put(f"/v1/blobs/{digest}", content=answers, headers=BYTES).status_code == 200
    node.report(node.lease(), b"", blob=digest, errors=6)
    errors = person.get(f"/v1/jobs/{job}/errors").json()["errors"]
    assert [len(error["type"]) for error in errors] == [200] * 5 + [0]
    assert [len(error["message"]) for error in errors] == [2_000] * 5 + [0]
    assert [len(error["traceback"]) for error in errors] == [limits.FAILURE_BYTES] * 3 + [0] * 3


def test_bytes_of_a_wasm_program_are_not_taken_for_a_failure(person: httpx.Client, node: HandNode) -> None:
    job = opened(person, "echo", b"any bytes", piece=1)
    append(person, job, 0, "a")
    work(node, Answer(False, pack_failure(Failure("Type", "m", "message")), "Exit code 3."))
    (error,) = person.get(f"/v1/jobs/{job}/errors").json()["errors"]
    assert (error["error"], error["type"], error["message"]) == ("Exit code 3.", "", "")


def test_errors_come_in_pages(person: httpx.Client, node: HandNode) -> None:
    job = opened(person, "echo", b"any bytes", piece=2)
    append(person, job, 0, *[str(n) for n in range(20)])
    for at in range(10):
        bad = Answer(False, b"", f"Task {at}.")
        work(node, bad, bad if at % 2 else Answer(True, b""))
    whole = person.get(f"/v1/jobs/{job}/errors").json()
    assert "next" not in whole
    assert len(whole["errors"]) == 15
    for limit in (1, 2, 3, 14, 15, 1000):
        assert pages(person, f"/v1/jobs/{job}/errors", "errors", limit) == whole["errors"]


def test_what_runs_wrote_is_listed_task_by_task(
    hub: RunningHub, owner: str, person: httpx.Client, node: HandNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of failed tasks and of good ones; quiet ones are passed over, however many they are."""
    monkeypatch.setattr("crowdgrid.hub.api.flaws.READ_ROWS", 4)
    monkeypatch.setattr("crowdgrid.hub.api.flaws.SCANNED_ROWS", 8)
    job = opened(person, "echo", b"any bytes", piece=1)
    append(person, job, 0, *[str(n) for n in range(30)])
    for at in range(30):
        wrote = {3: b"careful\n", 4: b"\xff!", 29: b"last words"}.get(at, b"")
        work(node, Answer(at != 29, b"", "" if at != 29 else "It failed."), stderr=wrote)
    path = f"/v1/jobs/{job}/logs"
    first, second, last = pages(person, path, "logs", 1)
    assert (first["ordinal"], first["start"], first["stop"], first["text"]) == (3, 3, 4, "careful\n")
    assert (first["outcome"], first["error"], first["node"][:8]) == ("ok", "", "did:key:")
    assert second["text"] == "\ufffd!"
    assert (last["ordinal"], last["text"]) == (29, "last words")
    assert pages(person, path, "logs", 1000) == [first, second, last]
    with hub.client("somebody else") as other, hub.client(owner, "reader") as reader:
        assert other.get(path).status_code == 404
        assert reader.get(path).status_code == 200
