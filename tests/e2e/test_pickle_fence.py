"""Pickles of strangers stay shut: real hubs, nodes and clients, and a mark on disk that only a pickle that was read can
have left."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

import crowdgrid as cg
from crowdgrid import kernels
from crowdgrid.client.login import Login, save
from crowdgrid.client.trust import NotTrusted
from crowdgrid.core.reducing.answers import Answer, pack_answers
from tests import marks
from tests.e2e.faults.raw import RawNode, fresh
from tests.e2e.grid import SECONDS, TOKEN, Grid, until

LABEL = f"python{marks.HERE[0]}.{marks.HERE[1]}"


class Opens:
    """Leaves a mark when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with Grid(tmp_path / "grid") as found:
        found.start_hub()
        yield found


def test_what_strangers_appended_is_not_opened_on_a_hub_of_ones_own(grid: Grid, tmp_path: Path) -> None:
    """Its admin may look at everybody's jobs; whoever may submit there has not thereby a way into the admin's process."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    asked = {"role": "submitter", "owner": "mallory"}
    secret = httpx.post(f"{grid.url}/v1/tokens", json=asked, headers=headers).json()["secret"]
    mallory = httpx.Client(base_url=grid.url, headers={"Authorization": f"Bearer {secret}"})
    code = mallory.post("/v1/invitations", json={}).json()["code"]
    program = marks.program("python-pickle", "os", "getpid")
    kept = mallory.put(
        "/v1/programs",
        params={"runtime": "python-pickle"},
        content=program,
        headers={"Content-Type": "application/octet-stream"},
    )
    request = {"program": kept.json()["digest"], "split": {"kind": "items"}, "runtime": "python-pickle"}
    job = mallory.post("/v1/jobs", json=request | {"labels": [LABEL]}).json()["id"]
    item = pickle.dumps(((Opens(tmp_path / "opened"),), {}))
    mallory.post(f"/v1/jobs/{job}/items", json={"first": 0, "base64": [base64.b64encode(item).decode()]})
    mallory.post(f"/v1/jobs/{job}/seal")
    mallory.close()
    node = RawNode(grid.url, fresh(), invitation=code, greet=False)
    with node:
        node.greet(runtimes=("python-pickle",), trusts=("own",), labels=(LABEL,))
        (lease,) = node.leases()
        node.report(lease, pack_answers([Answer(True, item)]))

    save(Login(grid.url, TOKEN, own=True))
    with cg.connect() as mine:
        assert mine.connection.trust.own
        found = mine.job(job)
        until(lambda: found.state == "final", "the job has ended")
        with pytest.raises(NotTrusted, match="mallory"):
            list(found.as_completed(with_inputs=True, return_exceptions=True))
        (outcome,) = found.as_completed(return_exceptions=True)
        assert isinstance(outcome, NotTrusted)
    assert not (tmp_path / "opened").exists()


def test_what_a_trusted_node_signed_for_a_program_of_another_kind_is_not_opened(grid: Grid, tmp_path: Path) -> None:
    """A node runs sandboxed programs of everybody and signs whatever they print. A hub that passes such a job off as one
    of pickled functions has the signature, but not of an answer of a pickled function."""
    grid.start_agents(1)
    (node,) = grid.get("/v1/nodes")["nodes"]
    echo = kernels.path("echo").read_bytes()
    with cg.connect(grid.url, TOKEN, trust=[node["id"]]) as there:
        job = there.run(echo, items=[pickle.dumps(Opens(tmp_path / "opened"))], name="theirs")
        job.wait(SECONDS)
        found = there.job("theirs")
        lie = replace(found.link.info.spec, runtime="python-pickle")
        found.link.info = replace(found.link.info, spec=lie)  # as a hub could say it
        (outcome,) = found.as_completed(return_exceptions=True)
        assert isinstance(outcome, NotTrusted)
    assert not (tmp_path / "opened").exists()


def test_ones_own_pickles_are_opened_by_name_from_another_process(grid: Grid) -> None:
    """What must not be lost over it."""
    grid.start_agents(1, options=("--python", "own"))
    save(Login(grid.url, TOKEN, own=True))
    with cg.connect() as mine:
        add = mine.function(lambda pair: sum(pair), codec="pickle")
        add.spawn_map([(1, 2), (3, 4)], name="added").fed()
    with cg.connect() as again:
        job = again.job("added")
        assert dict(job.as_completed(with_inputs=True)) == {(1, 2): 3, (3, 4): 7}
        assert job.result() == [3, 7]
    (node,) = grid.get("/v1/nodes")["nodes"]
    with cg.connect(grid.url.replace("127.0.0.1", "localhost"), TOKEN, trust=[node["id"]]) as elsewhere:
        assert not elsewhere.connection.trust.own
        assert elsewhere.job("added").result() == [3, 7]
