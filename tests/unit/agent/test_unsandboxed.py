"""Runtimes that are no sandbox come and go with whom the owner trusts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from crowdgrid.agent.unsandboxed import Unsandboxed
from crowdgrid.errors import Unavailable
from crowdgrid.runtimes import Runtime
from tests.unit.agent.test_slots import Gate, settle


class Kept(Gate):
    """A runtime that knows what was done to it."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name = name
        self.log = log
        self.problem: Exception | None = None
        self.may_start = asyncio.Event()
        self.may_start.set()

    async def start(self) -> None:
        await self.may_start.wait()
        if self.problem:
            raise self.problem
        self.log.append(f"start {self.name}")

    async def resize(self, workers: int) -> None:
        self.log.append(f"resize {self.name} {workers}")

    async def close(self) -> None:
        self.log.append(f"close {self.name}")


class Stage:
    """One agent's runtimes, with a sandboxed one among them."""

    def __init__(self, *names: str) -> None:
        self.log: list[str] = []
        self.made: list[Kept] = []
        self.problem: Exception | None = None
        self.held = False
        self.told = 0
        self.runtimes: dict[str, Runtime] = {"wasm": Kept("wasm", self.log)}
        self.runtimes |= {name: self.make(name) for name in names}
        self.one = Unsandboxed(self.runtimes, self.make, lambda: 3, self.tell)

    def make(self, name: str) -> Runtime:
        made = Kept(name, self.log)
        made.problem = self.problem
        if self.held:
            made.may_start.clear()
        self.made.append(made)
        return made

    def tell(self) -> None:
        self.told += 1

    async def want(self, *trusts: str, narrower: bool = False) -> bool:
        starting = self.one.want(trusts, narrower=narrower)
        await settle()
        return starting


def scene(story: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    def test() -> None:
        asyncio.run(story())

    test.__name__, test.__doc__ = story.__name__, story.__doc__
    return test


@scene
async def test_who_is_trusted_first_brings_the_runtime_along() -> None:
    """The hub hears of a runtime only when it is there."""
    s = Stage()
    s.held = True
    assert await s.want("alice")
    assert (list(s.runtimes), s.told) == (["wasm"], 0)
    s.made[0].may_start.set()
    await settle()
    assert (list(s.runtimes), s.told) == (["wasm", "python"], 1)
    assert s.log == ["start python"]


@scene
async def test_pickles_come_with_own_and_go_with_it() -> None:
    s = Stage("python")
    assert await s.want("own", "alice")
    assert set(s.runtimes) == {"wasm", "python", "python-pickle"}
    assert not await s.want("alice", narrower=True)
    assert set(s.runtimes) == {"wasm", "python"}
    assert s.log[-3:] == ["close python-pickle", "resize python 0", "resize python 3"]


@scene
async def test_for_nobody_nothing_stays_and_what_is_sandboxed_does() -> None:
    s = Stage("python", "python-pickle")
    assert not s.one.want((), narrower=True)
    assert set(s.runtimes) == {"wasm"}, "it is out at once, before its processes have ended"
    await settle()
    assert sorted(s.log) == ["close python", "close python-pickle"]


@scene
async def test_one_more_to_trust_disturbs_nobody() -> None:
    s = Stage("python")
    assert not await s.want("alice", "bob")
    assert s.log == []


@scene
async def test_an_owner_who_thinks_better_of_it_while_it_starts() -> None:
    s = Stage()
    s.held = True
    await s.want("own")
    await s.want(narrower=True)
    for made in s.made:
        made.may_start.set()
    await settle()
    assert set(s.runtimes) == {"wasm"}
    assert s.log == ["start python", "close python"]


@scene
async def test_what_cannot_start_is_said_and_tried_anew() -> None:
    s = Stage()
    s.problem = Unavailable("There is no Python here.")
    await s.want("alice")
    assert (s.one.problem, list(s.runtimes), s.told) == ("There is no Python here.", ["wasm"], 1)
    s.problem = None
    await s.want("alice", "bob")
    assert (s.one.problem, list(s.runtimes)) == ("", ["wasm", "python"])


@scene
async def test_an_agent_that_ends_meanwhile_leaves_nothing() -> None:
    s = Stage()
    s.held = True
    await s.want("own")
    await s.one.close()
    assert s.log == ["close python"]
    assert set(s.runtimes) == {"wasm"}
