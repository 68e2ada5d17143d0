"""Whose Python an agent runs, as a hub sees it that does not keep to what it was told: a real agent, a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from crowdgrid.agent import joined
from crowdgrid.agent.trust import LABEL
from crowdgrid.core.model import Outcome
from crowdgrid.errors import BadInput, NotAllowed
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Input, Part, pack_chunk, unpack_answers
from tests import marks
from tests.api.test_agent_link import story
from tests.unit.agent.hub import ScriptedHub, Session, serving
from tests.unit.agent.process import AgentProcess, agent_on, start_agent

ECHO = ("--runtime", "echo", "--cpus", "2")
OWN = (*ECHO, "--python", "own")


class Sent:
    """One lease of Python the hub sends, and the mark its program would leave."""

    def __init__(self, hub: ScriptedHub, place: Path | float, runtime: str = "python", **spec: Any) -> None:
        self.place = place
        program = marks.program(runtime) if isinstance(place, Path) else marks.program(runtime, "time", "sleep")
        chunk = pack_chunk([marks.item(place, runtime)])
        self.lease = hub.lease(0, 1, Input(parts=(Part(0, 1, chunk),)))
        self.program = hub.put(program)
        self.assign = m.Assign(
            (hub.spec(program, runtime=runtime, split="items", memory_bytes=512 << 20, **spec),), (self.lease,)
        )

    @property
    def marked(self) -> bool:
        assert isinstance(self.place, Path)
        return self.place.exists()


async def declined(session: Session, sent: Sent) -> str:
    """The reason the lease was given back with."""
    while True:
        for told in session.all(m.Decline):
            if sent.lease.assignment in told.assignments:
                return told.reason
        await session.next(m.Decline)


async def answered(session: Session, sent: Sent) -> list[Any]:
    await session.next(m.Report, lambda each: sent.lease.assignment in [one.assignment for one in each.results])
    entry = session.results[sent.lease.assignment]
    assert entry.outcome is Outcome.OK, entry
    return unpack_answers(entry.payload)


async def working(agent: AgentProcess, count: int) -> list[Any]:
    """These processes, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = marks.workers(agent.process.pid)
            if len(found) == count:
                return found
            await asyncio.sleep(0.01)


async def until_gone(processes: list[Any]) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 20)
    assert alive == []


@story
async def test_by_default_no_python_is_offered_fetched_or_run(hub: ScriptedHub, folder: Path) -> None:
    """Protects whoever just joined: their machine's Python is nobody's, not even their own, until they say so."""
    async with agent_on(hub.url, folder, *ECHO) as agent:
        session = await hub.session()
        assert session.hello is not None
        assert (session.hello.runtimes, session.hello.trusts) == (("echo",), ())
        for runtime in ("python", "python-pickle"):
            sent = Sent(hub, folder.parent / f"mark-{runtime}", runtime, owner=hub.owner)
            await session.send(sent.assign)
            assert await declined(session, sent) == "It runs nobody's Python."
            assert not sent.marked
        assert hub.blobs_got == []
        assert marks.workers(agent.process.pid) == []


@story
async def test_a_hub_that_leases_a_strangers_python_gets_it_back_unread(hub: ScriptedHub, folder: Path) -> None:
    """Protects the machine from a hub that does not keep to what it was told: the runtime is there, for others."""
    async with agent_on(hub.url, folder, *OWN, "--python", "alice") as agent:
        session = await hub.session()
        assert session.hello is not None
        assert session.hello.runtimes == ("echo", "python", "python-pickle")
        assert session.hello.trusts == ("own", "alice")
        assert session.hello.labels == (LABEL,)
        cases: list[tuple[str, dict[str, str]]] = [
            ("python", {"owner": "eve"}),
            ("python", {"owner": "own"}),
            ("python", {"owner": "everyone"}),
            ("python", {"owner": "eve", "group": "alice"}),
            ("python", {"owner": ""}),
            ("python", {}),
            ("python-pickle", {"owner": "alice"}),
            ("python-pickle", {"owner": "eve"}),
            ("python-pickle", {}),
        ]
        for at, (runtime, spec) in enumerate(cases):
            sent = Sent(hub, folder.parent / f"mark-{at}", runtime, **spec)
            await session.send(sent.assign)
            assert await declined(session, sent)
            assert not sent.marked, spec
        assert hub.blobs_got == [], "what does not run is not fetched either"
        assert marks.workers(agent.process.pid) == []
        for owner in ("olga", "alice"):
            sent = Sent(hub, folder.parent / f"mark-of-{owner}", owner=owner)
            await session.send(sent.assign)
            assert (await answered(session, sent))[0].ok
            assert sent.marked


@story
async def test_everyone_does_not_stand_for_pickles(hub: ScriptedHub, folder: Path) -> None:
    """To read a pickle is to run whatever is in it: for the node's own owner alone, and only if `own` was said."""
    async with agent_on(hub.url, folder, *ECHO, "--python", "everyone"):
        session = await hub.session()
        assert session.hello is not None
        assert session.hello.runtimes == ("echo", "python")
        for owner in ("eve", hub.owner):
            sent = Sent(hub, folder.parent / f"mark-{owner}", "python-pickle", owner=owner)
            await session.send(sent.assign)
            assert "pickled" in await declined(session, sent)
            assert not sent.marked
        sent = Sent(hub, folder.parent / "mark", owner="eve")
        await session.send(sent.assign)
        await answered(session, sent)
        assert sent.marked


@story
async def test_where_the_hub_does_not_say_whose_the_node_is_own_means_nobody(hub: ScriptedHub, folder: Path) -> None:
    hub.owner = ""
    async with agent_on(hub.url, folder, *OWN):
        session = await hub.session()
        for owner in ("olga", ""):
            sent = Sent(hub, folder.parent / "mark", owner=owner)
            await session.send(sent.assign)
            assert await declined(session, sent)
            assert not sent.marked


@story
async def test_an_owner_who_trusts_nobody_any_more_is_obeyed_at_once(hub: ScriptedHub, folder: Path) -> None:
    """What runs ends with its processes, what waits goes back, the hub hears of it, and a restart remembers."""
    async with agent_on(hub.url, folder, *OWN) as agent:
        session = await hub.session()
        sent = [Sent(hub, 600.0, owner="olga") for _ in range(3)]
        for each in sent:
            await session.send(each.assign)
        await agent.until(running=2, waiting=1)
        workers = await working(agent, 2)
        told = await agent.ask("python", who=["nobody"])
        assert told == {"python": [], "says": "It runs nobody's Python."}
        for each in sent:
            assert await declined(session, each) == "It runs nobody's Python."
        await until_gone(workers)
        again = await hub.session()
        assert again.hello is not None
        assert (again.hello.runtimes, again.hello.trusts) == (("echo",), ())
        await agent.until(running=0, waiting=0, python=[], runtimes=["echo"])
        agent.terminate()
        assert await agent.ended() == 0
    assert joined.python_of(folder) == ()
    async with agent_on("", folder, *ECHO):
        later = await hub.session()
        assert later.hello is not None
        assert later.hello.trusts == ()


@story
async def test_an_owner_who_trusts_more_is_believed_at_once(hub: ScriptedHub, folder: Path) -> None:
    async with agent_on(hub.url, folder, *ECHO) as agent:
        await hub.session()
        told = await agent.ask("python", who=["own", "alice"])
        assert told["python"] == ["own", "alice"]
        session = await hub.session()
        assert session.hello is not None
        assert session.hello.runtimes == ("echo", "python", "python-pickle"), "told when they are there, and once"
        sent = Sent(hub, folder.parent / "mark", owner="alice")
        await session.send(sent.assign)
        await answered(session, sent)
        assert sent.marked
        status = await agent.until(python=["own", "alice"])
        assert "alice" in status["python_says"]
        with pytest.raises(BadInput, match="exclude each other"):
            await agent.ask("python", who=["nobody", "own"])
        with pytest.raises(BadInput):
            await agent.ask("python", who="own")
        assert (await agent.ask("python"))["python"] == ["own", "alice"]


@story
async def test_a_node_that_is_given_to_somebody_else_does_not_go_on_for_its_new_owner(
    hub: ScriptedHub, folder: Path
) -> None:
    """`own` is whoever the hub says owns the node: what was taken for another owner is given back."""
    async with agent_on(hub.url, folder, *OWN) as agent:
        session = await hub.session()
        sent = Sent(hub, 600.0, owner="olga")
        await session.send(sent.assign)
        await agent.until(running=1)
        workers = await working(agent, 1)
        hub.owner = "eve"
        await session.socket.close(1012)
        again = await hub.session()
        assert await declined(again, sent)
        await until_gone(workers)


def test_over_a_way_anybody_can_speak_on_nobodys_python_runs(tmp_path: Path) -> None:
    """Refused before a word is said to anybody; and a running agent cannot be talked into it either."""

    async def play() -> None:
        agent = await start_agent("http://192.0.2.1:7070", tmp_path / "agent", *OWN)
        assert await agent.ended() == 4
        assert "without TLS" in agent.text
        assert "--python nobody" in agent.text
        assert "Traceback" not in agent.text
        options = (*ECHO, "--drain-seconds", "0")
        async with agent_on("http://192.0.2.1:7070", tmp_path / "other", *options) as other:
            await other.until(linked=False)
            with pytest.raises(NotAllowed, match="without TLS"):
                await other.ask("python", who=["own"])
            assert (await other.ask("python"))["python"] == []

    asyncio.run(play())


def test_python_that_runs_for_nobody_cannot_be_asked_for(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving() as hub:
            agent = await start_agent(hub.url, tmp_path / "agent", "--runtime", "python")
            assert await agent.ended() == 2
            assert "--python own" in agent.text

    asyncio.run(play())
