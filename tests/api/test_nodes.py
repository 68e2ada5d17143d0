"""Nodes as their owners see and steer them, and why things are as they are."""

from __future__ import annotations

import httpx

from crowdgrid.ids import did_of
from tests.api.running import RunningHub
from tests.api.test_jobs import refusal


def test_a_node_is_seen_drained_and_removed(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    """Its owner sees it come, can stop its work and end its membership; what has left cannot be woken."""
    node = hub.node(owner, name="desk", inventory=b'{"cores": 8}')
    did = did_of(node.record.key)
    shown = person.get("/v1/nodes").json()["nodes"]
    assert [(n["id"], n["name"], n["online"]) for n in shown] == [(did, "desk", True)]
    assert person.get(f"/v1/nodes/{did}").json()["inventory"] == {"cores": 8}
    assert person.post(f"/v1/nodes/{did}/drain").json()["state"] == "draining"
    assert "drain" in person.get(f"/v1/why/{did}").text.lower()
    assert person.post(f"/v1/nodes/{did}/activate").json()["state"] == "active"
    assert person.post(f"/v1/nodes/{did}/remove").json()["state"] == "left"
    refusal(person.post(f"/v1/nodes/{did}/activate"), 409, "conflict", "join again")
    node.leave()
    assert person.get(f"/v1/nodes/{did}").json()["online"] is False


def test_nodes_are_listed_in_pages(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    nodes = [hub.node(owner) for _ in range(3)]
    first = person.get("/v1/nodes", params={"limit": 2}).json()
    second = person.get("/v1/nodes", params={"limit": 2, "after": first["next"]}).json()
    assert [n["id"] for n in first["nodes"] + second["nodes"]] == [did_of(n.record.key) for n in nodes]
    assert "next" not in second
    refusal(person.get("/v1/nodes", params={"after": "did:key:zzz"}), 404, "not_found")
    for node in nodes:
        node.leave()


def test_what_a_node_says_of_itself_is_shown_as_data_only(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    """A stranger's inventory that is no JSON object harms no page that lists it."""
    node = hub.node(owner, inventory=b"[1", benchmarks=b'"x"')
    shown = person.get(f"/v1/nodes/{did_of(node.record.key)}")
    assert (shown.json()["inventory"], shown.json()["benchmarks"]) == ({}, {})
    node.leave()


def test_why_says_what_stands_in_the_way(hub: RunningHub, person: httpx.Client, program: str, owner: str) -> None:
    """A waiting job names the nodes that will not do and why; an ended one says how it ended."""
    node = hub.node(owner, labels=("cpu",))
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3}, "labels": ["gpu"]}
    job = person.post("/v1/jobs", json=request).json()["id"]
    why = person.get(f"/v1/why/{job}").json()
    assert any(reason["blocks"] for reason in why["reasons"])
    rejected = {found["node"]: found["reasons"] for found in why["rejected"]}
    assert any("gpu" in reason for reason in rejected[did_of(node.record.key)])
    person.post(f"/v1/jobs/{job}/cancel", json={"reason": "Enough."})
    assert "Enough." in person.get(f"/v1/why/{job}").json()["summary"]
    refusal(person.get("/v1/why/nothing"), 404, "not_found")
    node.leave()


def test_why_explains_a_task_before_and_after_it_settled(hub: RunningHub, person: httpx.Client, program: str) -> None:
    request = {"program": program, "split": {"kind": "range", "start": 0, "stop": 3, "piece": 1}}
    job = person.post("/v1/jobs", json=request).json()["id"]
    node = hub.node()
    node.work(b"1")
    task = person.get(f"/v1/jobs/{job}/tasks").json()["tasks"][0]["id"]
    why = person.get(f"/v1/why/{task}").json()
    assert why["subject"] == "task"
    assert did_of(node.record.key) in why["reasons"][-1]["text"] or "validated" in why["summary"]
    node.leave()


def test_the_overview_counts_what_is_connected(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    before = person.get("/v1/overview").json()
    node = hub.node(owner)
    with_it = person.get("/v1/overview").json()
    assert with_it["nodes_online"] == before["nodes_online"] + 1
    assert with_it["milli_cpus"] == before["milli_cpus"] + 64_000
    assert with_it["trust_mean"] is not None
    node.leave()
    assert person.get("/v1/overview").json()["milli_cpus"] == before["milli_cpus"]
