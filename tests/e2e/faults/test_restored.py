"""A hub restored from an older backup gives out numbers again that nodes still have results for."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import httpx

from crowdgrid.core.model import Verdict
from tests.e2e.faults.raw import RawClient, RawNode, job_of, open_job
from tests.e2e.grid import TOKEN, Grid


def test_a_result_from_before_a_restore_does_not_pass_for_another_jobs(tmp_path: Path) -> None:
    """The same program, input, node and assignment number, other arguments: passed over, and the link lives."""
    with Grid(tmp_path / "grid") as grid:
        grid.start_hub()
        content = b"for the echo runtime"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/octet-stream"}
        httpx.put(f"{grid.url}/v1/programs?runtime=echo", content=content, headers=headers)
        echo = hashlib.sha256(content).hexdigest()
        with RawNode(grid.url, "one"):
            pass  # it is known when the backup is made
        grid.hub.stop()
        folder = grid.data
        shutil.copytree(folder, tmp_path / "backup")
        grid.restart_hub()
        with RawClient(grid.url) as client, RawNode(grid.url, "one") as node:
            open_job(client, echo, 1, args=("--old",))
            (lease,) = node.leases()
            late = node.signed([(lease, node.answer(lease, b"old"))])
            grid.hub.stop()
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "backup", folder)
        grid.restart_hub()
        with RawClient(grid.url) as client, RawNode(grid.url, "one") as node:
            info = open_job(client, echo, 1, args=("--new",))
            (again,) = node.leases()
            assert again.assignment == lease.assignment, "the number is given out again"
        grid.wait_online(0)
        with RawClient(grid.url) as client, RawNode(grid.url, "one") as node:
            node.say(late)
            assert node.verdict(lease) is Verdict.UNKNOWN
            assert job_of(client, info).counts.validated == 0
