"""What calls came to on its way to a terminal: whatever a result is, who looks at it gets a sentence and no traceback."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest

from crowdgrid.cli.outcomes import Failed, Taker, Writer
from crowdgrid.client.codec import Pickled
from crowdgrid.client.outcomes import Outcomes
from crowdgrid.core.model import Outcome, TaskState
from crowdgrid.core.reducing.answers import Answer, pack_answers
from crowdgrid.errors import BadInput
from crowdgrid.protocol import messages as m

NOT_INSTALLED = b"cno_such_package\nThing\n."  # a pickle that only names a class


def taken(row: m.ResultRow) -> list[tuple[int, Any, Failed | None]]:
    """What a taker makes of one task of pickled calls whose node is trusted."""

    class Arrived:
        async def take(self) -> list[tuple[m.ResultRow, bytes]]:
            return [(row, row.payload)]

    taker = Taker.__new__(Taker)
    taker._arrivals = Arrived()  # type: ignore[assignment]
    taker._outcomes = Outcomes(Pickled(), "0" * 64)
    return asyncio.run(taker._take())


def settled(start: int, stop: int, outcome: Outcome, payload: bytes = b"") -> m.ResultRow:
    return m.ResultRow(0, start, stop, TaskState.VALIDATED, outcome, payload)


def test_a_pickle_that_cannot_be_loaded_is_a_sentence_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    payload = pack_answers([Answer(True, b"I4\n."), Answer(True, NOT_INSTALLED), Answer(True, b"I6\n.")])
    found = taken(settled(4, 7, Outcome.OK, payload))
    out = io.StringIO()
    Writer(out).write(found)
    assert out.getvalue() == "4\n6\n"
    assert capsys.readouterr().err == (
        "Call 5 failed: What it returned cannot be read here: ModuleNotFoundError: No module named 'no_such_package'\n"
    )


def test_a_task_that_failed_as_a_whole_is_not_told_for_more_calls_than_one_can_have() -> None:
    """A hub could otherwise have a client write down 2⁴⁰ failures."""
    assert [index for index, _, _ in taken(settled(4, 7, Outcome.PROGRAM_ERROR))] == [4, 5, 6]
    with pytest.raises(BadInput, match="runs"):
        taken(settled(0, 1 << 40, Outcome.PROGRAM_ERROR))
