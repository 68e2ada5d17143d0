"""What one node says, however much of it and however fast, must not take the hub from anybody else."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from pathlib import Path

import httpx
import pytest

from crowdgrid import limits
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.e2e.faults.raw import RawClient, RawNode, end, fresh, open_job
from tests.e2e.grid import TOKEN, Grid

pytestmark = pytest.mark.usefixtures("unharmed")


def test_a_frame_full_of_small_words_leaves_the_hub_to_the_others(grid: Grid, echo: str) -> None:
    """Protects everybody's queue: it holds fewer commands than one frame can, and who comes next would be refused."""
    words = codec.encode([m.Heartbeat()] * (limits.INBOUND_COMMANDS + 5_000))
    assert len(words) <= limits.FRAME_BYTES
    with RawNode(grid.url, fresh()) as flood, RawClient(grid.url) as client:
        for _ in range(3):
            flood.socket.send(words)
            end(client, open_job(client, echo, 1))  # fails when it is told that the hub is busy
        flood.next(m.Beat)


def test_two_links_that_join_with_one_key_at_once_disturb_nobody(grid: Grid) -> None:
    """Protects the store and all links: two new nodes of one key clash there, and the hub would begin anew."""
    for _ in range(5):
        seed = fresh()
        with RawNode(grid.url, seed, greet=False) as one, RawNode(grid.url, seed, greet=False) as other:
            for link in (one, other):
                link.say(link.hello())
            proofs = [(link, link.proof(link.next(m.Challenge))) for link in (one, other)]
            said = [threading.Thread(target=link.say, args=(proof,)) for link, proof in proofs]
            for thread in said:
                thread.start()
            for thread in said:
                thread.join()
            answers = [link.next(m.Message, lambda each: isinstance(each, m.Welcome | m.Error)) for link, _ in proofs]
            assert any(isinstance(answer, m.Welcome) for answer in answers)


def test_leases_of_many_jobs_with_long_arguments_are_sent_again(grid: Grid, echo: str) -> None:
    """Protects nodes: one message of all of them would fit no frame, and take everything else said with it."""
    args = tuple("x" * (limits.ARG_BYTES - 1) for _ in range(3))
    with RawClient(grid.url) as client, RawNode(grid.url, fresh()) as node:
        jobs = [open_job(client, echo, 1, args=args) for _ in range(14)]
        first = {lease.assignment for lease in node.leases(len(jobs))}
        again: set[bytes] = set()
        node.say(m.Heartbeat(), m.Heartbeat(), m.Heartbeat())
        while again != first:
            again |= {lease.assignment for lease in node.next(m.Assign).leases}
        for job in jobs:
            end(client, job)


def test_a_result_of_a_gigabyte_is_refused_before_it_is_sent(grid: Grid, echo: str) -> None:
    """What no run may write no node may bring, whatever it says of its runs."""
    with RawClient(grid.url) as client, RawNode(grid.url, fresh()) as node:
        job = open_job(client, echo, 1)
        node.leases()
        connection = http.client.HTTPConnection("127.0.0.1", grid.port, timeout=30)
        connection.putrequest("PUT", f"/v1/blobs/{'0' * 64}")
        connection.putheader("Authorization", f"Node {node.welcome.blob_token}")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(1 << 30))
        connection.endheaders()
        answer = connection.getresponse()
        problem = json.loads(answer.read())
        connection.close()
        assert (answer.status, problem["code"]) == (413, "too_large")
        assert f"{limits.ANSWERS_BYTES:,}" in problem["detail"]
        assert "fewer items" in problem["hint"]
        end(client, job)


def test_a_result_whose_size_was_not_told_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    """It is counted as it comes, and nothing of it is kept."""
    small = {"limits:OUTPUT_BYTES": 1 << 20, "limits:ANSWERS_BYTES": 1 << 20}
    with Grid(tmp_path, timers=small) as grid:
        grid.start_hub()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/octet-stream"}
        content = b"for the echo runtime"
        put = httpx.put(f"{grid.url}/v1/programs?runtime=echo", content=content, headers=headers)
        with RawClient(grid.url) as client, RawNode(grid.url, fresh()) as node:
            open_job(client, put.json()["digest"], 1, output_bytes=1_000)
            node.leases()
            pieces = (bytes(64 * 1024) for _ in range(17))
            digest = hashlib.sha256(bytes(17 * 64 * 1024)).hexdigest()
            told = headers | {"Authorization": f"Node {node.welcome.blob_token}"}
            answer = httpx.put(f"{grid.url}/v1/blobs/{digest}", content=pieces, headers=told)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), answer.text
        assert not list((grid.data / "blobs" / "incoming").iterdir())
        assert not list((grid.data / "blobs").glob(f"*/{digest}"))
