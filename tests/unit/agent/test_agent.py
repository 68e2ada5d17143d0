"""The agent between link and workers: what it tells, when it falls silent, and what it does about a silent hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid import limits
from crowdgrid.agent.agent import Agent, Permit
from crowdgrid.agent.consent import Action
from crowdgrid.agent.programs import Programs
from crowdgrid.agent.pulse import BEAT_SECONDS
from crowdgrid.agent.reporter import Reporter
from crowdgrid.agent.spool import Spool
from crowdgrid.core.model import Verdict
from crowdgrid.errors import BadInput, NotFound, Unavailable
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Input
from tests.unit.agent.test_slots import Gate, settle

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Line:
    """A link that records."""

    def __init__(self) -> None:
        self.is_up = False
        self.sent: list[Any] = []
        self.dropped: list[str] = []
        self.renewed = 0

    def send(self, *messages: m.Message) -> None:
        if self.is_up:
            self.sent += messages

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)

    def renew(self) -> None:
        self.renewed += 1

    def take(self, kind: type[Any]) -> list[Any]:
        """Messages of `kind` since the last look."""
        found = [one for one in self.sent if isinstance(one, kind)]
        self.sent = [one for one in self.sent if not isinstance(one, kind)]
        return found


class Shelf:
    """A source of blobs."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.problem: Exception = NotFound("There is none.")
        self.asked: list[str] = []

    async def get(self, digest: str, into: Path, size_max: int) -> None:
        self.asked.append(digest)
        if digest not in self.content:
            raise self.problem
        into.write_bytes(self.content[digest])  # noqa: ASYNC240


class Room:
    """One agent, its world a clock that stands."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.line = Line()
        self.gate = Gate()
        self.shelf = Shelf()
        self.folder = folder
        self.agent = Agent(
            lambda: m.Hello(1, bytes(32)),
            {"gate": self.gate, "python": self.gate, "python-pickle": self.gate},
            Programs(folder / "cache", self.shelf, 1 << 26, sleep=lambda seconds: asyncio.sleep(0)),
            self.open_reporter,
            milli_cpus=2000,
            memory_bytes=1 << 30,
            clock=lambda: self.now,
        )
        self.agent.link = self.line
        self.agent.ready()
        self.count = 0
        self.program = "ab" * 32
        self.shelf.content[self.program] = b"program"

    def open_reporter(self, grid: bytes) -> Reporter:
        async def upload(digest: str, payload: bytes) -> None: ...

        spool = Spool(self.folder / grid.hex())
        return Reporter(spool, KEY, grid, self.line.send, upload, lambda ids, reason: None, lambda: self.now)

    def up(self, grid: bytes = b"g" * 16, heartbeat_ms: int = 20_000, owner: str = "olga") -> None:
        self.agent.hello()
        self.line.is_up = True
        self.agent.up(m.Welcome(1, "did:key:z", "n", grid, heartbeat_ms, 60_000, owner=owner))

    def down(self, refused: bool = False) -> None:
        self.line.is_up = False
        self.agent.down(refused)

    def tick(self, seconds: float = 0.25) -> None:
        self.now += seconds
        self.agent.tick()

    def spec(self, **changed: Any) -> m.LeaseSpec:
        fields: dict[str, Any] = {
            "job": "j",
            "program": self.program,
            "program_bytes": 1,
            "runtime": "gate",
            "args": (),
            "timeout_ms": 1000,
            "memory_bytes": 1 << 20,
            "output_bytes": 1 << 20,
            "milli_cpus": 1000,
            "split": "range",
        }
        return m.LeaseSpec(**(fields | changed))

    def lease(self, **changed: Any) -> m.Lease:
        self.count += 1
        fields: dict[str, Any] = {
            "assignment": self.count.to_bytes(16, "big"),
            "spec": 0,
            "start": 5,
            "stop": 6,
            "input": Input(tails=(("x",),)),
            "deadline_ms": 60_000,
        }
        return m.Lease(**(fields | changed))

    async def assign(self, count: int = 1, **changed: Any) -> list[bytes]:
        leases = tuple(self.lease() for _ in range(count))
        self.agent.received([m.Assign((self.spec(**changed),), leases)])
        await settle()
        return [lease.assignment for lease in leases]


def room(story: Callable[[Room], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    @wraps(story)
    def test(tmp_path: Path) -> None:
        async def play() -> None:
            one = Room(tmp_path)
            await story(one)
            one.agent.slots.drop(one.agent.slots.held)
            await settle()

        asyncio.run(play())

    del test.__wrapped__  # pytest would ask for the story's own arguments
    return test


@room
async def test_reports_rest_only_while_there_is_more_to_run(r: Room) -> None:
    r.up()
    assert r.agent.reporter is not None
    assert r.agent.reporter.rest() == 0.0
    await r.assign(8)
    assert r.agent.reporter.rest() == 0.0, "nobody knows how long they take"
    r.now += 2.0
    await r.gate.open(0)
    assert r.agent.slots.queued_seconds > 0
    assert 0 < r.agent.reporter.rest() < r.agent.slots.queued_seconds
    for number in range(1, 8):
        await r.gate.open(number)
    assert r.agent.reporter.rest() == 0.0


@room
async def test_after_welcome_it_names_what_it_holds_before_it_offers(r: Room) -> None:
    r.up()
    first, second = r.line.sent
    assert (first.held, second.slots) == ((), 4)
    held = await r.assign(3)
    r.down()
    r.line.sent.clear()
    r.up()
    assert r.line.take(m.Heartbeat)[0].held == tuple(held)


@room
async def test_a_heartbeat_comes_when_it_is_due_and_when_asked_for(r: Room) -> None:
    r.up(heartbeat_ms=20_000)
    first = r.line.take(m.Heartbeat)[0]
    r.now += 0.004
    r.agent.received([m.Beat(first.sent)])
    assert r.agent.pulse.round_trip_ms == pytest.approx(4, abs=0.01)
    for _ in range(79):
        r.tick()
    assert r.line.take(m.Heartbeat) == []
    r.tick()
    second = r.line.take(m.Heartbeat)
    assert len(second) == 1
    r.agent.received([m.Beat(second[0].sent), m.Beat(0)])
    r.tick()
    assert len(r.line.take(m.Heartbeat)) == 1


@room
async def test_a_hub_that_no_longer_answers_is_given_up(r: Room) -> None:
    """A connection can be dead for hours without TCP noticing: a router that forgot it."""
    r.up(heartbeat_ms=1_000)
    for _ in range(int(BEAT_SECONDS * 4)):
        r.tick()
    assert r.line.dropped == []
    r.tick(0.5)
    assert r.line.dropped == ["The hub does not answer."]


@room
async def test_a_machine_that_slept_does_not_blame_the_hub_and_says_at_once_what_it_holds(r: Room) -> None:
    r.up()
    r.tick()
    r.line.take(m.Heartbeat)
    r.tick(3600)
    assert r.line.dropped == []
    assert len(r.line.take(m.Heartbeat)) == 1


@room
async def test_a_lease_whose_deadline_passed_in_the_sleep_is_let_go(r: Room) -> None:
    r.up()
    await r.assign(1)
    r.tick()
    r.tick(61)
    await settle()
    assert (len(r.agent.slots), r.gate.killed) == (0, 1)
    assert r.line.take(m.Report) == []


@room
async def test_while_the_hub_says_hold_nothing_is_asked_for(r: Room) -> None:
    r.up()
    r.line.take(m.Fetch)
    r.agent.received([m.Hold("busy", 2_000)])
    r.tick()
    assert r.line.take(m.Fetch) == []
    r.tick(2)
    assert r.line.take(m.Fetch)[0].slots == 4
    r.agent.received([m.Hold("closing")])
    for _ in range(8):
        r.tick(1000)
    assert r.line.take(m.Fetch) == []
    r.agent.received([m.Resume()])
    assert r.line.take(m.Fetch)[0].slots == 4


@room
async def test_answers_go_out_with_the_next_offer_and_are_forgotten_when_judged(r: Room) -> None:
    r.up()
    (one,) = await r.assign(1)
    await r.gate.open(0)
    (report,) = r.line.take(m.Report)
    assert report.results[0].assignment == one
    assert report.results[0].payload == b"x"
    assert r.agent.status()["unjudged"] == 1
    r.agent.received([m.Acknowledge(((one, Verdict.COUNTED),))])
    assert r.agent.settled_all


@room
async def test_a_cancelled_answer_that_was_not_judged_is_dropped(r: Room) -> None:
    r.up()
    (one,) = await r.assign(1)
    r.down()
    await r.gate.open(0)
    r.tick(1)
    assert r.agent.status()["unjudged"] == 1
    r.agent.received([m.Cancel((one,))])
    assert r.agent.settled_all


@room
async def test_a_program_that_cannot_be_had_is_declined_for_all_its_leases(r: Room) -> None:
    r.up()
    held = await r.assign(3, program="cd" * 32)
    await settle()
    (declined,) = r.line.take(m.Decline)
    assert set(declined.assignments) == set(held)
    assert "could not be fetched" in declined.reason


@room
async def test_a_program_is_tried_for_several_times_when_the_hub_cannot_give_it_now(r: Room) -> None:
    tries = []

    async def get(digest: str, into: Path, size_max: int) -> None:
        tries.append(digest)
        if len(tries) < 3:
            raise Unavailable("not now")
        into.write_bytes(b"program")  # noqa: ASYNC240

    r.shelf.get = get  # type: ignore[method-assign]
    r.up()
    await r.assign(1)
    await settle()
    assert (len(tries), len(r.gate.calls)) == (3, 1)


@room
async def test_leases_that_come_while_the_owner_pauses_it_go_back_untouched(r: Room) -> None:
    """`Remainder` from the first unit on: the hub may lease the job to this node again at once when it resumes."""
    r.up()
    r.agent.allow(Permit(Action.FINISH_CURRENT, ("Its owner paused it.",)))
    assert [one.slots for one in r.line.take(m.Fetch)] == [4, 0]
    (one,) = await r.assign(1)
    assert r.line.take(m.Remainder) == [m.Remainder(one, 5)]
    r.tick()
    assert r.line.take(m.Heartbeat)[-1].load["why"] == ("Its owner paused it.",)
    r.agent.allow(Permit())
    assert r.line.take(m.Fetch)[0].slots == 4


@room
async def test_a_queue_of_unexpectedly_long_tasks_is_given_back_but_for_what_it_can_do_soon(r: Room) -> None:
    r.up()
    await r.assign(200)
    r.now += 10
    await r.gate.open(0)
    r.tick()
    returned = r.line.take(m.Remainder)
    assert len(returned) > 180
    assert len(r.agent.slots) >= 4


@room
async def test_another_grid_at_the_same_address_gets_nothing_of_the_old_one(r: Room) -> None:
    r.up(grid=b"g" * 16)
    done, _running = await r.assign(2)
    await r.gate.open(0)
    r.down()
    r.line.sent.clear()
    r.up(grid=b"h" * 16)
    assert r.line.take(m.Heartbeat)[0].held == ()
    assert r.line.take(m.Report) == []
    r.down()
    r.up(grid=b"g" * 16)
    assert [one.assignment for report in r.line.take(m.Report) for one in report.results] == [done]


@room
async def test_what_it_told_is_told_anew_only_when_nothing_is_under_way(r: Room) -> None:
    r.up()
    (one,) = await r.assign(1)
    r.agent.news = True
    r.tick()
    assert r.line.renewed == 0
    await r.gate.open(0)
    r.agent.received([m.Acknowledge(((one, Verdict.COUNTED),))])
    r.tick()
    r.tick()
    assert r.line.renewed == 1


@room
async def test_python_of_somebody_the_owner_does_not_trust_is_declined_and_not_even_fetched(r: Room) -> None:
    """Protects the owner whatever the hub leases: the same runtime is there, for others."""
    r.up()
    r.agent.trust(("own", "alice"))
    for runtime, owner in (("python", "eve"), ("python", ""), ("python-pickle", "alice"), ("python-pickle", "")):
        held = await r.assign(2, runtime=runtime, owner=owner, program="cd" * 32)
        (declined,) = r.line.take(m.Decline)
        assert list(declined.assignments) == held
        assert declined.reason.endswith(".")
    assert (len(r.agent.slots), r.gate.calls, r.shelf.asked) == (0, [], [])
    await r.assign(1, runtime="python", owner="alice")
    await r.assign(1, runtime="python-pickle", owner="olga")
    assert (r.line.take(m.Decline), len(r.gate.calls)) == ([], 2)


@room
async def test_an_agent_trusts_nobody_until_it_is_told_to(r: Room) -> None:
    r.up()
    held = await r.assign(1, runtime="python", owner="olga")
    (declined,) = r.line.take(m.Decline)
    assert (list(declined.assignments), declined.reason) == (held, "It runs nobody's Python.")


@room
async def test_who_is_not_trusted_any_more_loses_what_waits_and_what_runs(r: Room) -> None:
    r.up()
    r.agent.trust(("own", "alice"))
    theirs = await r.assign(3, runtime="python", owner="alice")
    others = await r.assign(1, runtime="python", owner="olga")
    sandboxed = await r.assign(1)
    assert (r.agent.slots.running, r.gate.killed) == (2, 0)
    r.agent.trust(("own",))
    await settle()
    (declined,) = r.line.take(m.Decline)
    assert set(declined.assignments) == set(theirs)
    assert r.agent.slots.held == others + sandboxed
    assert r.gate.killed == 2
    r.agent.trust(())
    await settle()
    assert r.agent.slots.held == sandboxed


@room
async def test_a_hub_that_calls_the_nodes_owner_something_else_gets_its_python_back(r: Room) -> None:
    """After a reconnect `own` is whoever the hub says owns this node now; what is here of the other one goes."""
    r.up(owner="olga")
    r.agent.trust(("own",))
    held = await r.assign(3, runtime="python", owner="olga")
    r.down()
    r.up(owner="eve")
    await settle()
    (declined,) = r.line.take(m.Decline)
    assert set(declined.assignments) == set(held)
    assert len(r.agent.slots) == 0


@room
async def test_the_hub_hears_whom_the_owner_trusts_also_while_work_is_under_way(r: Room) -> None:
    r.up()
    await r.assign(1)
    r.agent.greet_anew()
    assert r.line.renewed == 0, "what was just given back is sent first"
    r.tick()
    r.tick()
    assert r.line.renewed == 1


@room
async def test_what_is_decided_while_there_is_no_link_needs_no_second_greeting(r: Room) -> None:
    r.agent.greet_anew()
    r.up()
    r.tick()
    assert r.line.renewed == 0
    r.agent.hello()
    r.agent.greet_anew()  # the hub is just being greeted, with what was so before
    r.agent.up(m.Welcome(1, "did:key:z", "n", b"g" * 16, 20_000, 60_000))
    r.tick()
    assert r.line.renewed == 1


@room
async def test_no_more_than_a_node_may_hold_is_taken(r: Room) -> None:
    r.up()
    await r.assign(limits.HELD_ASSIGNMENTS + 5)
    assert len(r.agent.slots) == limits.HELD_ASSIGNMENTS
    assert len(r.line.take(m.Remainder)) == 5


@pytest.mark.parametrize(
    "changed",
    [
        {"program": "../../etc/passwd"},
        {"timeout_ms": 0},
        {"timeout_ms": limits.TIMEOUT_MS_MAX + 1},
        {"memory_bytes": -1},
        {"output_bytes": 1 << 40},
        {"milli_cpus": 0},
    ],
)
def test_a_lease_out_of_bounds_is_garbage(changed: dict[str, Any], tmp_path: Path) -> None:
    """A digest becomes a file's name and limits guard this machine: both are checked where they enter."""

    async def play() -> None:
        one = Room(tmp_path)
        one.up()
        with pytest.raises(BadInput):
            await one.assign(1, **changed)
        assert len(one.agent.slots) == 0

    asyncio.run(play())


@room
async def test_a_part_done_is_answered_only_as_the_lease_that_fits_it(r: Room) -> None:
    r.up()
    spec = r.spec(split="grid")
    whole = r.lease(start=5, stop=9, input=Input(tails=(("a",), ("b",), ("c",), ("d",))))
    r.agent.received([m.Assign((spec,), (whole,))])
    await settle()
    r.agent.drain()
    await r.gate.open(0)
    assert r.line.take(m.Remainder) == [m.Remainder(whole.assignment, 6)]
    strange = r.lease(start=5, stop=8, parent=whole.assignment)
    r.agent.received([m.Assign((spec,), (strange,))])
    assert r.line.take(m.Report) == []
    assert r.line.take(m.Remainder) == [m.Remainder(strange.assignment, 5)]
