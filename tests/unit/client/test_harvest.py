"""What a job's runs came to reaches both faces the same way: it is one core that tells values from what was raised."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from crowdgrid.client.harvest import Harvest
from crowdgrid.client.joblink import JobLink
from crowdgrid.core.model import Counts, Items, JobSpec, Outcome, TaskState
from crowdgrid.errors import BadInput
from crowdgrid.protocol import messages as m

INFO = m.JobInfo("j", "", "o", "", "open", False, "", 0, 0, 0, Counts(), JobSpec("0" * 64, Items()))
FOUND = [(3, True, 9), (4, False, ValueError("four")), (5, True, 25)]


class Silent:
    """A link to a hub that never answers."""

    def __init__(self) -> None:
        self.reads: dict[int, JobLink] = {}

    def say(self, message: m.Message) -> None:
        pass

    def next_id(self) -> int:
        return 1


def harvested(look: Callable[[Harvest], Any], *, with_inputs: bool = False) -> Any:
    async def play() -> Any:
        job = JobLink(Silent(), INFO)  # type: ignore[arg-type]
        connection: Any = SimpleNamespace(rest=SimpleNamespace(blob=None))
        found = look(Harvest(connection, job, ordered=True, with_inputs=with_inputs))
        return await found if inspect.isawaitable(found) else found

    return asyncio.run(play())


def test_what_came_before_a_failed_run_is_given_and_then_it_is_raised() -> None:
    def look(harvest: Harvest) -> None:
        outcomes = harvest.each(FOUND, return_exceptions=False)
        assert next(outcomes) == 9
        with pytest.raises(ValueError, match="four"):
            next(outcomes)

    harvested(look)


def test_a_failed_task_has_no_more_runs_than_one_can_have() -> None:
    """Each is told by itself: a hub that says there are 2⁴⁰ would have the client's memory."""

    async def look(harvest: Harvest) -> None:
        huge = m.ResultRow(0, 0, 1 << 40, TaskState.VALIDATED, Outcome.PROGRAM_ERROR, b"")
        with pytest.raises(BadInput, match="runs"):
            await harvest._read(huge, b"")

    harvested(look)


def test_exceptions_are_given_in_their_place_and_inputs_beside_them_if_wanted() -> None:
    def look(harvest: Harvest) -> list[Any]:
        return list(harvest.each(FOUND, return_exceptions=True))

    assert harvested(look) == [9, FOUND[1][2], 25]
    assert harvested(look, with_inputs=True) == [(3, 9), (4, FOUND[1][2]), (5, 25)]
