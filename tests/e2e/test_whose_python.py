"""Whose Python runs on whose machine: a real hub, real agents, people who are not one another, and a mark on disk that
only a program that ran can have left."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from crowdgrid import kernels
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import input_digest
from tests import marks
from tests.e2e.faults.raw import RawNode, fresh
from tests.e2e.grid import TOKEN, Grid, Process, until

LABEL = f"python{marks.HERE[0]}.{marks.HERE[1]}"


class Person:
    """Somebody with a token, and what they submit."""

    def __init__(self, grid: Grid, owner: str) -> None:
        self.owner = owner
        secret = TOKEN
        if owner != "admin":
            asked = {"role": "submitter", "owner": owner, "name": "test"}
            headers = {"Authorization": f"Bearer {TOKEN}"}
            secret = httpx.post(f"{grid.url}/v1/tokens", json=asked, headers=headers).json()["secret"]
        self.rest = httpx.Client(base_url=grid.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60)

    def submit(self, items: Sequence[bytes], runtime: str = "python", name: str = "mkdir", **asked: Any) -> str:
        """A job that calls a function with each of these inputs; its id."""
        program = marks.program(runtime, "time" if name == "sleep" else "os", name)
        kept = self.rest.put(
            "/v1/programs",
            params={"runtime": runtime},
            content=program,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert kept.status_code == 200, kept.text
        labels = [LABEL] if runtime == "python-pickle" else []
        request = {"program": kept.json()["digest"], "split": {"kind": "items"}, "runtime": runtime, "labels": labels}
        job: str = self._post("/v1/jobs", request | asked)["id"]
        self._post(f"/v1/jobs/{job}/items", {"first": 0, "base64": [base64.b64encode(item).decode() for item in items]})
        self._post(f"/v1/jobs/{job}/seal", None)
        return job

    def mark(self, place: Path, runtime: str = "python", **asked: Any) -> str:
        """A job that leaves a mark at a place."""
        return self.submit([marks.item(place, runtime)], runtime, **asked)

    def _post(self, path: str, body: Any) -> Any:
        answer = self.rest.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def state(self, job: str) -> str:
        found: str = self.rest.get(f"/v1/jobs/{job}").json()["state"]
        return found

    def why(self, thing: str) -> Any:
        return self.rest.get(f"/v1/why/{thing}").json()

    def until_done(self, job: str) -> None:
        until(lambda: self.state(job) in {"final", "failed"}, "the job has ended")
        assert self.state(job) == "final"

    def until_refused(self, job: str) -> set[str]:
        """The reasons of all nodes, once the hub has looked for one in vain."""
        why = until(lambda: (found := self.why(job))["rejected"] and found, "why says who will not do")
        assert not why["matched"], why
        return {reason for each in why["rejected"] for reason in each["reasons"]}


@pytest.fixture
def person(grid: Grid) -> Iterator[Callable[[str], Person]]:
    """Makes somebody, by name."""
    made: list[Person] = []

    def make(owner: str) -> Person:
        made.append(Person(grid, owner))
        return made[-1]

    yield make
    for each in made:
        each.rest.close()


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with Grid(tmp_path / "grid") as found:
        found.start_hub()
        yield found


def agent_python(grid: Grid, agent: Process, *who: str) -> subprocess.CompletedProcess[str]:
    """`crowdgrid agent python …`, as the machine's owner types it."""
    done = grid.command("agent", "python", *who, "--data", str(grid.folder / agent.title))
    assert done.returncode == 0, done.stderr
    return done


def start(grid: Grid, *python: str) -> Process:
    (agent,) = grid.start_agents(1, options=[word for who in python for word in ("--python", who)])
    return agent


def test_a_strangers_python_waits_until_the_owner_says_so_and_again_when_he_thinks_better_of_it(
    grid: Grid, tmp_path: Path, person: Callable[[str], Person]
) -> None:
    """The whole story: own runs; a stranger's waits beside an idle node and is told why; widened, it runs at once;
    narrowed, the next one waits again."""
    agent = start(grid, "own")
    admin, eve = person("admin"), person("eve")
    admin.until_done(admin.mark(tmp_path / "own"))
    assert (tmp_path / "own").exists()

    job = eve.mark(tmp_path / "eve-1")
    assert eve.until_refused(job) == {"Its owner has not said that Python of this job's owner may run there."}
    assert "No connected node may run it." in grid.command("why", job).stdout
    told = grid.command("why", agent.title).stdout
    assert "Outside any sandbox it runs Python of its own owner" in told
    (node,) = grid.get("/v1/nodes")["nodes"]
    assert node["trusts"] == ["own"]
    assert not (tmp_path / "eve-1").exists()

    assert "Python of its own owner, eve" in agent_python(grid, agent, "own", "eve").stdout
    eve.until_done(job)
    assert (tmp_path / "eve-1").exists()

    assert "runs nobody's Python" in agent_python(grid, agent, "nobody").stdout
    until(lambda: grid.get("/v1/nodes")["nodes"][0]["trusts"] == [], "the hub has heard of it")
    for each in (eve, admin):
        job = each.mark(tmp_path / f"{each.owner}-2")
        assert each.until_refused(job) == {"It runs nobody's Python."}
        assert not (tmp_path / f"{each.owner}-2").exists()
    with grid.connect() as connected:
        echo = kernels.path("echo").read_bytes()
        assert connected.run(echo, items=[b"sandboxed as ever"]).result(timeout=60) == [b"sandboxed as ever"]


def test_what_runs_of_somebody_not_trusted_any_more_goes_to_a_node_that_trusts_them(
    grid: Grid, tmp_path: Path, person: Callable[[str], Person]
) -> None:
    """The work is not lost: it is given back at once and done elsewhere, and nobody is blamed for it."""
    eve = person("eve")
    first = start(grid, "eve")
    job = eve.submit([marks.item(600.0)], name="sleep", timeout_ms=3_600_000)
    workers = until(lambda: marks.workers(first.pid), "it runs")
    second = start(grid, "eve")
    agent_python(grid, first, "own")
    until(lambda: marks.workers(second.pid), "the other node runs it")
    assert psutil.wait_procs(workers, 60)[1] == [], "what ran it has ended"
    assert marks.workers(first.pid) == []
    counts = eve.rest.get(f"/v1/jobs/{job}").json()["counts"]
    assert (counts["lost"], counts["abandoned"], counts["errors"]) == (0, 0, 0)
    eve.rest.post(f"/v1/jobs/{job}/cancel", json={})


def test_everyone_means_everyone_but_for_pickles(grid: Grid, tmp_path: Path, person: Callable[[str], Person]) -> None:
    """A stranger's pickle is read nowhere, whatever else the owner allows; the node's own owner's is."""
    start(grid, "everyone", "own")
    admin, eve = person("admin"), person("eve")
    job = eve.mark(tmp_path / "pickled", "python-pickle")
    assert eve.until_refused(job) == {"It runs pickled functions of its own owner only."}
    eve.until_done(eve.mark(tmp_path / "source"))
    assert (tmp_path / "source").exists()
    admin.until_done(admin.mark(tmp_path / "own", "python-pickle"))
    assert (tmp_path / "own").exists()
    assert not (tmp_path / "pickled").exists()
    assert eve.state(job) == "sealed"


def test_a_node_is_told_whose_job_it_is_and_the_hub_keeps_the_input_it_signed_for(
    grid: Grid, tmp_path: Path, person: Callable[[str], Person]
) -> None:
    """Without the owner an agent could not refuse; without the input nobody could check the signature later."""
    admin = person("admin")
    with RawNode(grid.url, fresh(), greet=False) as node:
        node.greet(runtimes=("python",), trusts=("own",))
        assert node.welcome.owner == "admin"
        job = admin.mark(tmp_path / "mark", name="mkdir", group="")
        (lease,) = node.leases()
        spec = node.specs[lease.assignment]
        assert (spec.runtime, spec.owner, spec.group) == ("python", "admin", "")
        given = input_digest(lease.input, spec.args)
        node.report(lease, b"answer")
        with grid.database() as store:
            assert store.execute("SELECT input FROM assignment WHERE outcome IS NOT NULL").fetchall() == [(given,)]
        admin.rest.post(f"/v1/jobs/{job}/cancel", json={})


def test_a_hub_that_starts_again_leases_no_python_to_a_node_that_offers_it_and_trusts_nobody(
    grid: Grid, tmp_path: Path, person: Callable[[str], Person]
) -> None:
    """What the node said is kept with it, and what it says when it comes back counts."""
    admin = person("admin")
    seed = fresh()
    with RawNode(grid.url, seed, greet=False) as node:
        node.greet(runtimes=("python", "echo"), trusts=("own",))
    grid.hub.kill()
    grid.restart_hub()
    (kept,) = grid.get("/v1/nodes")["nodes"]
    assert kept["trusts"] == ["own"]
    with RawNode(grid.url, seed, greet=False) as node:
        node.greet(runtimes=("python", "python-pickle"), labels=(LABEL,), trusts=())
        node.say(m.Fetch(4))
        for runtime in ("python", "python-pickle"):
            job = admin.mark(tmp_path / "mark", runtime)
            assert admin.until_refused(job) == {"It runs nobody's Python."}
        node.say(m.Heartbeat((), 7))
        assert node.next(m.Beat, lambda beat: beat.sent == 7).sent == 7
        assert not node.specs
