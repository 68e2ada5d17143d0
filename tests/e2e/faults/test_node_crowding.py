"""What one node says, however much of it and however fast, must not take the hub from anybody else."""

from __future__ import annotations

import threading

import pytest

from crowdgrid import limits
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.e2e.faults.raw import RawClient, RawNode, end, fresh, open_job
from tests.e2e.grid import Grid

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
