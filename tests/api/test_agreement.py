"""Several nodes on one task, through the interfaces people and nodes have."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from crowdgrid.core.model import Outcome
from crowdgrid.ids import did_of
from tests.api.running import HandNode, RunningHub

ONE = {"kind": "range", "start": 0, "stop": 1}


def submit(person: httpx.Client, program: str, **told: Any) -> str:
    answer = person.post("/v1/jobs", json={"program": program, "split": ONE} | told)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def crowd(hub: RunningHub, count: int, **told: Any) -> list[HandNode]:
    """Nodes that each belong to somebody else."""
    return [hub.node(f"owner-{at}", **told) for at in range(count)]


def work(nodes: list[HandNode], *answers: bytes) -> None:
    """Each takes one task; then each gives its answer."""
    for node in nodes:
        node.fetch()
    leases = [node.lease() for node in nodes]
    for node, lease, answer in zip(nodes, leases, answers, strict=True):
        node.report(lease, answer)


def value(person: httpx.Client, job: str) -> Any:
    return person.get(f"/v1/jobs/{job}/answer", params={"wait": 10}).json()["value"]


def test_the_published_vote_over_rest(hub: RunningHub, person: httpx.Client, program: str) -> None:
    """Five nodes, two of whom are trusted: 14 : 9 for 42."""
    nodes = [hub.node(f"owner-{at}", trust=trust) for at, trust in enumerate((7.0, 7.0, 3.0, 3.0, 3.0))]
    job = submit(person, program, consensus="trust_weighted", overlap=5, min_trust=2.5, reduce="collect")
    work(nodes, b"42", b"42", b"evil", b"evil", b"evil")
    assert value(person, job) == [{"text": "42"}]
    (task,) = person.get(f"/v1/jobs/{job}/tasks").json()["tasks"]
    assert task["confidence"] == pytest.approx(14 / 23)
    for node in nodes:
        node.leave()


def test_a_nodes_owner_is_told_how_its_trust_moved(hub: RunningHub, person: httpx.Client, program: str) -> None:
    nodes = [hub.node(f"owner-{at}", trust=5.0) for at in range(3)]
    for answers in ((b"1", b"1", b"2"), (b"1", b"1", b"1")):
        job = submit(person, program, consensus="trust_weighted", overlap=3)
        work(nodes, *answers)
        value(person, job)
    place = f"/v1/nodes/{did_of(nodes[2].record.key)}"
    with hub.client("owner-2") as owner:
        page = owner.get(f"{place}/trust").json()
        assert [(move["before"], move["after"]) for move in page["moves"]] == [(4.5, 4.6), (5.0, 4.5)]
        assert page["trust"] == 4.6
        first = owner.get(f"{place}/trust", params={"limit": 1}).json()
        rest = owner.get(f"{place}/trust", params={"before": first["next"]}).json()
        assert first["moves"] + rest["moves"] == page["moves"]
        said = [reason["text"] for reason in owner.get(f"/v1/why/{did_of(nodes[2].record.key)}").json()["reasons"]]
        assert "Its trust index is 4.6." in said
        assert any("2 were compared with others" in text for text in said)
    with hub.client("somebody-else") as other:
        assert other.get(f"{place}/trust").status_code == 404
    for node in nodes:
        node.leave()


def test_numbers_close_enough_are_one_answer(hub: RunningHub, person: httpx.Client, program: str) -> None:
    nodes = crowd(hub, 2)
    comparison = {"kind": "numeric", "rtol": 1e-6}
    job = submit(person, program, consensus="majority", overlap=2, comparison=comparison)
    work(nodes, b"2.7182818", b"2.7182819")
    assert value(person, job) == [{"text": "2.7182818"}]
    assert person.get(f"/v1/jobs/{job}").json()["spec"]["comparison"] == comparison | {"atol": 0.0}
    for node in nodes:
        node.leave()


@pytest.mark.parametrize(
    ("told", "answers", "lines"),
    [
        (
            {"consensus": "majority", "overlap": 3},
            (b"1", b"2", b"1"),
            ["It is the answer that stands.", "Its answer is another one.", "the same answer as the one that stands"],
        ),
        (
            {"consensus": "majority", "overlap": 2, "comparison": {"kind": "numeric", "rtol": 1e-6}},
            (b"2.7182818", b"2.7182819"),
            ["It is the answer that stands.", "Its bytes are others than those of the answer that stands"],
        ),
        (
            {"consensus": "bounded_error", "error_bound": 0.01},
            (b"1", b"1"),
            ["It is the answer that stands.", "the same answer", "It was taken to be wrong with a chance of"],
        ),
    ],
)
def test_what_settled_a_task_is_told_when_it_is_over(
    hub: RunningHub,
    person: httpx.Client,
    program: str,
    told: dict[str, Any],
    answers: tuple[bytes, ...],
    lines: list[str],
) -> None:
    nodes = crowd(hub, len(answers))
    job = submit(person, program, **told, final_after_ms=0)
    for node, answer in zip(nodes, answers, strict=True):
        node.fetch()
        node.report(node.lease(), answer)
    value(person, job)
    (task,) = person.get(f"/v1/jobs/{job}/tasks").json()["tasks"]
    said = "\n".join(reason["text"] for reason in person.get(f"/v1/why/{task['id']}").json()["reasons"])
    assert all(line in said for line in lines), said
    for node in nodes:
        node.leave()


def test_answers_kept_as_blobs_are_compared_too(hub: RunningHub, person: httpx.Client, program: str) -> None:
    nodes = crowd(hub, 2)
    job = submit(person, program, consensus="majority", overlap=2, comparison={"kind": "unordered_lines"})
    lines = [b"line %d" % at for at in range(20_000)]
    work(nodes, b"\n".join(lines), b"\n".join(reversed(lines)))
    assert value(person, job)[0]["text"].startswith("line 0\nline 1\n")
    for node in nodes:
        node.leave()


def test_a_job_that_lacks_nodes_waits_and_says_so(hub: RunningHub, person: httpx.Client, program: str) -> None:
    """Three replicas, two owners: the third is waited for, and `why` has the reason for each node there is."""
    nodes = crowd(hub, 2)
    job = submit(person, program, consensus="majority", overlap=5)
    work(nodes, b"1", b"1")
    for node in nodes:
        node.fetch()
    (task,) = person.get(f"/v1/jobs/{job}/tasks").json()["tasks"]
    why = person.get(f"/v1/why/{task['id']}").json()
    said = [text for rejected in why["rejected"] for text in rejected["reasons"]]
    assert said == ["It, or another node of its owner, has given an answer."] * 2
    assert why["summary"] == "No connected node may vote on it."
    assert any("2 of 3" in reason["text"] for reason in why["reasons"])
    third = hub.node("owner-9")
    third.work(b"1")
    assert value(person, job) == [{"text": "1"}]
    for node in (*nodes, third):
        node.leave()


def test_a_failed_program_is_agreed_on_too(hub: RunningHub, person: httpx.Client, program: str) -> None:
    nodes = crowd(hub, 2)
    job = submit(person, program, consensus="majority", overlap=2, max_errors=5)
    for node in nodes:
        node.fetch()
    for node, lease in [(node, node.lease()) for node in nodes]:
        node.report(lease, error="It exited with 3.", outcome=Outcome.PROGRAM_ERROR)
    assert person.get(f"/v1/jobs/{job}/answer", params={"wait": 10}).json()["failed"] == 1
    for node in nodes:
        node.leave()
