"""What the engine needs to know of a payload when it is reported: can it be read, did runs fail, is it a hit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from crowdgrid.core.reducing.answers import unpack_answers
from crowdgrid.errors import BadInput

if TYPE_CHECKING:
    from crowdgrid.core.reducing import Reducer


class Look(msgspec.Struct, frozen=True, gc=False):
    """What is in one payload.

    Attributes:
        problem: "" or one sentence why it cannot be read at all.
        failed: runs in it that ended in an error or whose output the reducer cannot read.
        hit: whether a run's output is not blank, which is what `first` looks for.
    """

    problem: str = ""
    failed: int = 0
    hit: bool = False


def look(reducer: Reducer, payload: bytes, *, runs: int = 0) -> Look:
    """Look into the payload of one result.

    Args:
        reducer: the job's.
        payload: as reported, inline.
        runs: units of the task when each is a run of its own, so that answers come packed; 0 otherwise.
    """
    if not runs:
        return Look(problem=reducer.accepts(payload), hit=bool(payload.strip()))
    try:
        answers = unpack_answers(payload)
    except BadInput as error:
        return Look(problem=error.message)
    if len(answers) != runs:
        return Look(problem=f"The task has {runs:,} runs and the payload {len(answers):,} answers.")
    if reducer.takes_any:
        outputs = [a.data for a in answers if a.ok]
    else:
        outputs = [a.data for a in answers if a.ok and not reducer.accepts(a.data)]
    return Look(failed=runs - len(outputs), hit=any(output.strip() for output in outputs))
