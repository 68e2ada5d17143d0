"""What a node may do with leases that are not its own, and how long it may ask without listening."""

from __future__ import annotations

import secrets
from contextlib import suppress

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from crowdgrid.core.model import Verdict
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.e2e.faults.raw import RawClient, RawNode, end, fresh, job_of, open_job
from tests.e2e.grid import Grid, until

pytestmark = pytest.mark.usefixtures("unharmed")


def test_a_heartbeat_renews_nobody_elses_lease(grid: Grid, client: RawClient, node: RawNode, echo: str) -> None:
    """It is told to drop what is not its own, and gets no hold on it."""
    info = open_job(client, echo)
    (lease,) = node.leases()
    with RawNode(grid.url, fresh()) as thief:
        thief.say(m.Heartbeat((lease.assignment, bytes(16)), 5))
        assert thief.next(m.Beat).sent == 5
        assert lease.assignment in thief.next(m.Cancel).assignments
    assert node.report(lease) is Verdict.COUNTED
    end(client, info)


def test_heartbeats_full_of_nonsense_keep_nobody_waiting(grid: Grid, node: RawNode) -> None:
    """Frames with tens of thousands of ids nobody gave out are answered, and cost the hub no more than a look."""
    tokens = tuple(secrets.token_bytes(16) for _ in range(50_000))
    for beat in range(1, 6):
        node.say(m.Heartbeat(tokens, beat))
    assert node.next(m.Beat, lambda answer: answer.sent == 5).sent == 5
    assert grid.ready()


def test_giving_back_and_taking_back_what_is_not_ones_own_does_nothing(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    info = open_job(client, echo, 2)
    (lease,) = node.leases()
    with RawNode(grid.url, fresh()) as thief:
        thief.say(m.Decline((lease.assignment,), "no"))
        thief.say(m.Remainder(lease.assignment, 0))
        thief.say(m.Retract(lease.assignment, "no"))
        thief.say(m.Progress(((lease.assignment, 10**9),)))
        thief.say(m.Heartbeat((), 9))
        assert thief.next(m.Beat).sent == 9
    assert node.report(lease) is Verdict.COUNTED
    assert job_of(client, info).counts.lost == 0
    end(client, info)


def test_impossible_offers_and_remainders_are_refused_or_passed_over(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    info = open_job(client, echo, 2)
    for slots, milli, memory in ((-5, 1000, 1 << 30), (0, 0, 0), (1 << 62, -1, -1), (5, 1 << 62, -(1 << 62))):
        node.say(m.Fetch(slots, milli, memory))
    (lease,) = node.leases()
    node.say(m.Remainder(lease.assignment, lease.stop + 1_000))
    node.say(m.Heartbeat((lease.assignment,), 3))
    assert node.next(m.Beat).sent == 3
    assert node.report(lease) is Verdict.COUNTED
    end(client, info)


def test_a_node_that_does_not_listen_is_cut_off(grid: Grid) -> None:
    """It asks and asks and reads nothing: its link is ended, and what was meant for it fills nobody's memory."""
    hub = psutil.Process(grid.hub.pid)
    before = hub.memory_info().rss
    frame = codec.encode([m.Heartbeat((), number) for number in range(1, 2_000)])
    with RawNode(grid.url, fresh(), room=4_096) as node:
        node.socket.socket.settimeout(1)
        with suppress(ConnectionClosed, OSError):
            while online(grid, node):
                for _ in range(50):
                    node.socket.send(frame)
        until(lambda: not online(grid, node), "the hub let it go")
    assert hub.memory_info().rss - before < 64 << 20


def online(grid: Grid, node: RawNode) -> bool:
    return any(each["id"] == node.did and each["online"] for each in grid.get("/v1/nodes", limit=1000)["nodes"])


def test_a_node_that_takes_work_and_vanishes_delays_it_and_no_more(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    """What it took goes to somebody else soon after its link is gone."""
    info = open_job(client, echo, 4)
    with RawNode(grid.url, fresh()) as taker:
        taker.leases(4)
    for lease in node.leases(4):
        assert node.report(lease) is Verdict.COUNTED
    final = job_of(client, info)
    assert (final.state, final.counts.validated, final.counts.lost) == ("final", 4, 4)
