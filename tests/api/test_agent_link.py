"""The agent as a hub sees it: a real process on a real socket, with work, faults and people in between."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.agent import trust
from crowdgrid.core.model import Outcome
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Answer, Input, Part, pack_chunk, unpack_answers
from tests.unit.agent.certificates import self_signed
from tests.unit.agent.hub import GRID, ScriptedHub, Session, serving
from tests.unit.agent.process import KERNELS, AgentProcess, agent_on

WASM = ("--runtime", "wasm", "--cpus", "2")
ECHO = ("--runtime", "echo", "--cpus", "2")
PRIMES = (KERNELS / "primes.wasm").read_bytes()
ENDLESS = ("0", "9000000000000")

Story = Callable[[ScriptedHub, Path], Coroutine[Any, Any, None]]


def story(told: Story) -> Callable[[Path], None]:
    """Runs a test's story beside a scripted hub."""

    @wraps(told)
    def test(tmp_path: Path) -> None:
        async def play() -> None:
            async with serving() as hub:
                await told(hub, tmp_path / "agent")

        asyncio.run(play())

    del test.__wrapped__  # pytest would ask for the story's own arguments
    return test


async def fetched(session: Session) -> m.Fetch:
    return await session.next(m.Fetch, lambda offer: offer.slots > 0)


# --- the beginning ---------------------------------------------------------------------------


@story
async def test_it_proves_its_key_tells_what_it_is_and_offers_itself(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *ECHO, "--name", "attic", "--label", "gpu", "--region", "eu"):
        session = await hub.session()
        offer = await fetched(session)
        hello = session.hello
        assert hello is not None
        assert (hello.version, hello.name, hello.runtimes) == (m.VERSION, "attic", ("echo",))
        assert (hello.labels, hello.region, hello.milli_cpus) == (("gpu", trust.LABEL), "eu", 2000)
        assert hello.trusts == ()
        assert hello.inventory["cores"] >= 1
        assert 2 <= offer.slots <= 4
        assert session.received.index(session.all(m.Heartbeat)[0]) < session.received.index(offer)


@story
async def test_it_keeps_its_key_and_its_hub(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder) as agent:
        first = await hub.session()
        agent.terminate()
        assert await agent.ended() == 0
    async with agent_on("", folder):
        second = await hub.session()
        assert first.hello is not None
        assert second.hello is not None
        assert first.hello.key == second.hello.key


@story
async def test_a_challenge_that_is_none_is_not_signed(hub: ScriptedHub, folder: Path) -> None:
    """A hub must not get a signature over bytes of its own making."""
    hub.challenge = m.Challenge(b"x" * 33, GRID)
    async with agent_on(hub.url, folder):
        await hub.greetings(2)
        assert hub.proofs == 0
        hub.challenge = m.Challenge(b"n" * 32, GRID)
        await fetched(await hub.session())


@story
async def test_a_refusal_for_good_ends_it_with_the_hubs_own_words(hub: ScriptedHub, folder: Path) -> None:
    hub.refuse = m.Error("not_allowed", "This node was removed.", "Ask the grid's owner.", fatal=True)
    async with agent_on(hub.url, folder) as agent:
        assert await agent.ended() not in {0, None}
        assert "This node was removed." in agent.text
        assert "Ask the grid's owner." in agent.text
        assert "Traceback" not in agent.text


@story
async def test_a_hub_that_is_busy_is_asked_again_when_it_says(hub: ScriptedHub, folder: Path) -> None:
    hub.refuse = m.Error("busy", "Too many at once.", fatal=True, retry_after_ms=300)
    async with agent_on(hub.url, folder):
        await hub.greetings(1)
        began = asyncio.get_running_loop().time()
        await hub.greetings(2)
        assert asyncio.get_running_loop().time() - began > 0.25
        hub.refuse = None
        await fetched(await hub.session())


@story
async def test_where_there_is_no_hub_it_says_so(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url + "/elsewhere", folder) as agent:
        assert await agent.ended() != 0
        assert "no crowdgrid hub" in agent.text


def test_over_tls_with_a_hubs_own_certificate(tmp_path: Path) -> None:
    """Link and blobs both go over TLS and both trust only what they were told to."""

    async def play() -> None:
        certificate, key = self_signed(tmp_path)
        options = (*WASM, "--ca", str(certificate))
        async with serving((certificate, key)) as hub:
            async with agent_on(hub.url, tmp_path / "agent", *options):
                session = await hub.session()
                lease = hub.lease(0, 100)
                spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
                await session.send(m.Assign((spec,), (lease,)))
                (result,) = await session.results_of([lease.assignment])
                assert result.payload.strip() == b"25"
            async with agent_on(hub.url, tmp_path / "other", *WASM) as stranger:
                assert await stranger.ended() != 0
                assert "--ca" in stranger.text

    asyncio.run(play())


@story
async def test_two_agents_cannot_share_a_folder(hub: ScriptedHub, folder: Path) -> None:
    """With one key they would throw each other off the hub for ever."""
    async with agent_on(hub.url, folder):
        await hub.session()
        async with agent_on(hub.url, folder) as second:
            assert await second.ended() != 0
            assert "already running" in second.text
            assert "--data" in second.text


# --- work ------------------------------------------------------------------------------------


@story
async def test_a_thousand_trivial_tasks_come_back_in_few_signed_frames(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder):
        session = await hub.session()
        leases = tuple(hub.lease(start=n, stop=n + 1) for n in range(1000))
        await session.send(m.Assign((hub.spec(),), leases))
        results = await session.results_of([lease.assignment for lease in leases])
        assert [result.payload for result in results] == [f"{n} {n + 1}".encode() for n in range(1000)]
        assert all(result.digest == hashlib.sha256(result.payload).digest() for result in results)
        assert len(session.all(m.Report)) < 200


@story
async def test_a_program_is_fetched_once_and_run(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *WASM) as agent:
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        leases = tuple(hub.lease(n * 1000, (n + 1) * 1000) for n in range(10))
        await session.send(m.Assign((spec,), leases))
        results = await session.results_of([lease.assignment for lease in leases])
        assert sum(int(result.payload) for result in results) == 1229
        assert hub.blobs_got == [spec.program]
        agent.terminate()
        await agent.ended()
    async with agent_on(hub.url, folder, *WASM):
        session = await hub.session()
        lease = hub.lease(0, 100)
        await session.send(m.Assign((spec,), (lease,)))
        assert (await session.results_of([lease.assignment]))[0].payload.strip() == b"25"
        assert hub.blobs_got == [spec.program]  # it was still here


@story
async def test_a_program_that_is_not_what_its_digest_says_is_never_run(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *WASM):
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm")
        hub.blobs[spec.program] = PRIMES + b"\x00"
        lease = hub.lease()
        await session.send(m.Assign((spec,), (lease,)))
        declined = await session.next(m.Decline)
        assert declined.assignments == (lease.assignment,)
        assert "another digest" in declined.reason
        assert not (folder / "cache" / spec.program).exists()


@story
async def test_what_cannot_run_here_is_declined_with_the_reason(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *ECHO, "--memory", "256MB"):
        session = await hub.session()
        specs = (hub.spec(runtime="container"), hub.spec(memory_bytes=1 << 30), hub.spec(milli_cpus=64_000))
        leases = tuple(msgspec.structs.replace(hub.lease(), spec=place) for place in range(3))
        await session.send(m.Assign(specs, leases))
        declined = [await session.next(m.Decline) for _ in range(3)]
        assert [one.assignments for one in declined] == [(lease.assignment,) for lease in leases]
        for one, word in zip(declined, ("runtime", "memory", "cores"), strict=True):
            assert word in one.reason


@story
async def test_items_answer_one_by_one_and_come_from_blobs_when_they_are_many(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder):
        session = await hub.session()
        digest = hub.put(pack_chunk([f"item {n}".encode() for n in range(300)]))
        lease = hub.lease(100, 300, Input(parts=(Part(100, 300, blob=digest),)))
        await session.send(m.Assign((hub.spec(split="items"),), (lease,)))
        (result,) = await session.results_of([lease.assignment])
        assert unpack_answers(result.payload) == [Answer(True, f"item {n}".encode()) for n in range(100, 300)]


@story
async def test_a_failing_program_is_an_answer_with_its_reason(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *WASM):
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        lease = hub.lease(given=Input(tails=(("not", "numbers"),)))
        slow = hub.lease(given=Input(tails=(ENDLESS,)))
        hasty = msgspec.structs.replace(spec, timeout_ms=300, job="hasty")
        await session.send(m.Assign((spec, hasty), (lease, msgspec.structs.replace(slow, spec=1))))
        wrong, late = await session.results_of([lease.assignment, slow.assignment])
        assert wrong.outcome is late.outcome is Outcome.PROGRAM_ERROR
        assert wrong.error
        assert "longer than" in late.error


@story
async def test_a_large_answer_goes_as_a_blob_before_its_report(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder):
        session = await hub.session()
        large = bytes(range(256)) * 2_000
        digest = hub.put(pack_chunk([large]))
        lease = hub.lease(0, 1, Input(parts=(Part(0, 1, blob=digest),)))
        spec = hub.spec(split="lines")
        given = Input(parts=lease.input.parts, joined=True)
        await session.send(m.Assign((spec,), (msgspec.structs.replace(lease, input=given),)))
        (result,) = await session.results_of([lease.assignment])
        assert result.payload == b""
        assert hub.blobs[result.blob] == large + b"\n"
        assert result.size == len(large) + 1


@story
async def test_offers_grow_with_what_is_known_about_the_tasks(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder):
        session = await hub.session()
        assert (await fetched(session)).slots <= 4
        spec = hub.spec()
        for _ in range(6):
            leases = tuple(hub.lease() for _ in range(40))
            await session.send(m.Assign((spec,), leases))
            await session.results_of([lease.assignment for lease in leases])
        offer = await session.next(m.Fetch, lambda offer: offer.slots > 100)
        assert offer.slots <= limits.FRAME_TASKS


# --- cancelling, deadlines -------------------------------------------------------------------


@story
async def test_a_cancelled_task_that_runs_is_gone_at_once_and_others_go_on(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, "--runtime", "wasm", "--cpus", "1") as agent:
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        endless, after = hub.lease(given=Input(tails=(ENDLESS,))), hub.lease(0, 100)
        await session.send(m.Assign((spec,), (endless,)))
        await agent.until(running=1)
        await session.send(m.Assign((spec,), (after,)), m.Cancel((endless.assignment,), "found"))
        (result,) = await session.results_of([after.assignment])
        assert result.payload.strip() == b"25"
        assert endless.assignment not in session.results
        assert (await agent.until(running=0, waiting=0))["unjudged"] == 0


@story
async def test_a_task_past_its_deadline_is_ended_and_not_named_any_more(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *WASM) as agent:
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        lease = hub.lease(given=Input(tails=(ENDLESS,)), deadline_ms=700)
        await session.send(m.Assign((spec,), (lease,)))
        await agent.until(running=1)
        await agent.until(running=0)
        await session.send(m.Beat(0))  # asks for a heartbeat
        beat = await session.next(m.Heartbeat)
        while lease.assignment in beat.held:
            beat = await session.next(m.Heartbeat)
        assert not session.all(m.Report)
        assert not session.all(m.Decline)


# --- losing one another ----------------------------------------------------------------------


@story
async def test_a_hub_that_comes_back_is_found_told_what_is_held_and_given_what_was_finished(
    hub: ScriptedHub, folder: Path
) -> None:
    async with agent_on(hub.url, folder, *WASM) as agent:
        session = await hub.session()
        hub.acknowledge = False
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        done, endless = hub.lease(0, 100), hub.lease(given=Input(tails=(ENDLESS,)))
        await session.send(m.Assign((spec,), (done, endless)))
        (before,) = await session.results_of([done.assignment])
        await agent.until(running=1)
        await hub.stop()
        await agent.until(linked=False)
        hub.acknowledge = True
        await hub.start()
        session = await hub.session()
        beat = await session.next(m.Heartbeat)
        assert set(beat.held) == {done.assignment, endless.assignment}
        (after,) = await session.results_of([done.assignment])
        assert after == before
        await agent.until(unjudged=0, running=1)


@story
async def test_an_agent_that_was_killed_delivers_what_it_had_finished(hub: ScriptedHub, folder: Path) -> None:
    """`kill -9`, and nothing the agent had finished and signed is computed again."""
    hub.acknowledge = False
    async with agent_on(hub.url, folder) as agent:
        session = await hub.session()
        leases = tuple(hub.lease() for _ in range(50))
        await session.send(m.Assign((hub.spec(),), leases))
        await session.next(m.Report)
        status = await agent.until(running=0, waiting=0, unjudged=50)
        assert status["spool_problem"] == ""
        await asyncio.sleep(0.6)  # what waits behind the frame in flight is spooled after a moment
        agent.kill()
        await agent.ended()
    hub.acknowledge = True
    async with agent_on(hub.url, folder) as agent:
        session = await hub.session()
        beat = await session.next(m.Heartbeat)
        assert set(beat.held) == {lease.assignment for lease in leases}
        await session.results_of([lease.assignment for lease in leases])
        await agent.until(unjudged=0)
        agent.terminate()
        assert await agent.ended() == 0
    async with agent_on(hub.url, folder) as agent:
        assert (await (await hub.session()).next(m.Heartbeat)).held == ()


@story
async def test_a_worker_that_is_killed_costs_nothing_but_time(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, "--runtime", "wasm", "--cpus", "1") as agent:
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        lease = hub.lease(0, 3_000_000_000)
        await session.send(m.Assign((spec,), (lease,)))
        await agent.until(running=1)
        for worker in agent.workers():
            worker.kill()
        (result,) = await session.results_of([lease.assignment])
        assert (result.outcome, result.payload.strip()) == (Outcome.OK, b"144449537")


@story
async def test_a_hub_that_is_not_there_yet_is_waited_for(hub: ScriptedHub, folder: Path) -> None:
    await hub.stop()
    async with agent_on(hub.url, folder) as agent:
        await agent.process.stderr.readuntil(b"Trying again.")  # type: ignore[union-attr]
        await hub.start()
        await fetched(await hub.session())


GARBAGE = {
    "bytes that are no msgpack": b"\xc1\xc1\xc1",
    "a message that does not fit": msgspec.msgpack.encode([["assign", 1, 2]]),
    "a lease without a spec": codec.encode([m.Assign((), (m.Lease(b"a" * 16, 3, 0, 1, Input(), 1000),))]),
    "a lease with a short id": codec.encode([m.Assign((), (m.Lease(b"a", 0, 0, 1, Input(), 1000),))]),
    "a frame over the limit": codec.encode([m.Bye("x" * 10)]) + b"\x00" * (limits.FRAME_BYTES + 1),
    "a list in a list in a list": b"\x91" * 100_000,
}


@pytest.mark.parametrize("frame", GARBAGE.values(), ids=list(GARBAGE))
def test_garbage_from_the_hub_ends_the_link_and_not_the_agent(frame: bytes, tmp_path: Path) -> None:
    async def play() -> None:
        async with serving() as hub, agent_on(hub.url, tmp_path / "agent") as agent:
            session = await hub.session()
            await session.socket.send_bytes(frame)
            await session.ended()
            session = await hub.session()
            lease = hub.lease()
            await session.send(m.Assign((hub.spec(),), (lease,)))
            await session.results_of([lease.assignment])
            agent.terminate()
            assert await agent.ended() == 0
            assert "Traceback" not in agent.text

    asyncio.run(play())


@story
async def test_messages_of_a_newer_hub_are_passed_over(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder):
        session = await hub.session()
        lease = hub.lease()
        assign = m.Assign((hub.spec(),), (lease,))
        await session.socket.send_bytes(msgspec.msgpack.encode([["from_the_future", 1, 2], assign]))
        await session.results_of([lease.assignment])


@story
async def test_a_lease_sent_twice_is_answered_once(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder):
        session = await hub.session()
        hub.acknowledge = False
        spec, lease, last = hub.spec(), hub.lease(), hub.lease()
        await session.send(m.Assign((spec,), (lease,)))
        await session.results_of([lease.assignment])
        await session.send(m.Assign((spec,), (lease, last)))
        hub.acknowledge = True
        await session.send(m.Acknowledge(((lease.assignment, "counted"),)))  # type: ignore[arg-type]
        await session.results_of([last.assignment])
        counted = [one.assignment for report in session.all(m.Report) for one in report.results]
        assert counted.count(lease.assignment) == 1


# --- the owner, the end ----------------------------------------------------------------------


async def grid_of(hub: ScriptedHub, runs: int, each: int) -> tuple[m.LeaseSpec, m.Lease]:
    """A task of many runs of some ms each."""
    spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20, split="grid")
    return spec, hub.lease(0, runs, Input(tails=(("0", str(each)),) * runs))


@story
async def test_draining_gives_back_what_waits_and_the_rest_of_what_runs(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, "--runtime", "wasm", "--cpus", "1") as agent:
        session = await hub.session()
        spec, lease = await grid_of(hub, 900, 40_000_000)
        waiting = hub.lease(0, 5, lease.input)
        await session.send(m.Assign((spec,), (lease, waiting)))
        await agent.until(running=1, waiting=1)
        await asyncio.sleep(0.3)
        agent.terminate()
        first = await session.next(m.Remainder)
        assert (first.assignment, first.at) == (waiting.assignment, waiting.start)
        second = await session.next(m.Remainder)
        assert second.assignment == lease.assignment
        assert 0 < second.at < 900
        part = hub.lease(0, second.at, Input(tails=lease.input.tails[: second.at]), parent=lease.assignment)
        await session.send(m.Assign((spec,), (part,)))
        (result,) = await session.results_of([part.assignment])
        answers = unpack_answers(result.payload)
        assert len(answers) == second.at
        assert {answer.data.strip() for answer in answers} == {b"2433654"}
        assert await agent.ended() == 0
        assert session.received[-1] == m.Bye("draining")


@story
async def test_draining_lets_what_runs_finish(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, "--runtime", "wasm", "--cpus", "1") as agent:
        session = await hub.session()
        spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
        lease = hub.lease(0, 2_000_000_000)
        await session.send(m.Assign((spec,), (lease,)))
        await agent.until(running=1)
        agent.terminate()
        (result,) = await session.results_of([lease.assignment])
        assert result.payload.strip() == b"98222287"
        assert await agent.ended() == 0
        assert session.all(m.Fetch)[-1].slots == 0


@pytest.mark.parametrize("how", ["time is up", "a second signal"])
def test_what_does_not_finish_in_time_is_given_back(how: str, tmp_path: Path) -> None:
    async def play() -> None:
        seconds = "0.3" if how == "time is up" else "3600"
        async with serving() as hub, agent_on(hub.url, tmp_path / "a", *WASM, "--drain-seconds", seconds) as agent:
            session = await hub.session()
            spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
            lease = hub.lease(given=Input(tails=(ENDLESS,)))
            await session.send(m.Assign((spec,), (lease,)))
            await agent.until(running=1)
            agent.terminate()
            if how == "a second signal":
                await session.next(m.Fetch, lambda offer: offer.slots == 0)
                agent.terminate()
            given = await session.next(m.Remainder)
            assert (given.assignment, given.at) == (lease.assignment, lease.start)
            assert await agent.ended() == 0

    asyncio.run(play())


@story
async def test_it_ends_when_its_parent_does(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *ECHO, "--with-parent") as agent:
        await hub.session()
        agent.process.stdin.close()  # type: ignore[union-attr]
        assert await agent.ended() == 0


async def occupied(hub: ScriptedHub, agent: AgentProcess) -> tuple[Session, m.Lease, m.Lease]:
    """An agent with one core that has one endless task running and one waiting."""
    session = await hub.session()
    spec = hub.spec(PRIMES, runtime="wasm", memory_bytes=64 << 20)
    running, waiting = hub.lease(given=Input(tails=(ENDLESS,))), hub.lease(0, 100)
    await session.send(m.Assign((spec,), (running, waiting)))
    await agent.until(running=1, waiting=1)
    return session, running, waiting


@story
async def test_its_owner_can_pause_stop_and_resume_it_and_see_why_it_waits(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, "--runtime", "wasm", "--cpus", "1") as agent:
        session, running, waiting = await occupied(hub, agent)
        await agent.ask("pause")
        given = await session.next(m.Remainder)
        assert given.assignment == waiting.assignment
        status = await agent.until(action="finish_current")
        assert (status["why"], status["running"], status["waiting"]) == ("Its owner paused it.", 1, 0)
        await session.next(m.Fetch, lambda offer: offer.slots == 0)
        beat = await session.next(m.Heartbeat, lambda beat: beat.load.get("action") == "finish_current")
        assert beat.held == (running.assignment,)
        await agent.ask("stop")
        assert (await session.next(m.Remainder)).assignment == running.assignment
        await agent.until(action="stop_now", running=0)
        await agent.ask("resume")
        await fetched(session)


@story
async def test_its_owner_can_leave(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder) as agent:
        await hub.session()
        await agent.ask("leave")
        assert await agent.ended() == 0
    async with agent_on("", folder) as agent:
        assert await agent.ended() != 0
        assert "not joined a hub" in agent.text


@story
async def test_less_may_be_lent_while_it_runs(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder) as agent:
        session = await hub.session()
        await agent.ask("limits", cpu_share=0.5)
        status = await agent.until(milli_cpus=1000)
        assert status["limits"]["cpu_share"] == 0.5
        lease = hub.lease()
        await session.send(m.Assign((hub.spec(),), (lease,)))
        await session.results_of([lease.assignment])
        while len(agent.workers()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        agent.terminate()
        await agent.ended()
    async with agent_on("", folder) as agent:
        await agent.until(milli_cpus=1000)


@story
async def test_benchmarks_reach_the_hub_when_nothing_is_under_way(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, measured=False):
        first = await hub.session()
        assert first.hello is not None
        assert first.hello.benchmarks == {}
        second = await hub.session()
        assert second.hello is not None
        assert second.hello.speed == second.hello.benchmarks["integer"] > 0
        assert set(second.hello.benchmarks) == {
            "integer",
            "floating_point",
            "memory_bytes_per_second",
            "sha256_bytes_per_second",
        }
