"""Why a task was given up, in a sentence for whoever submitted it."""

from __future__ import annotations

from crowdgrid.core.model import Assignment, AssignmentState, Task
from crowdgrid.store import Store

_NOT_SAID = {
    AssignmentState.EXPIRED: "The last one was not heard of again before its lease ran out.",
    AssignmentState.DECLINED: "The last one gave it back.",
}


async def reason_of(store: Store, task: Task) -> tuple[str, int]:
    """The reason, and the node (its number, 0 for none) that gave it.

    What a node said last counts more than a lease lost in silence after it: it is what can be acted on.

    Raises:
        Unavailable: the store cannot be read.
    """
    count = f"Given up after {task.stale} lost leases." if task.stale != 1 else "Given up after a lost lease."
    tried = await store.assignments(task.job, task.ordinal)
    told = next((one for one in reversed(tried) if one.result is not None and one.result.error), None)
    if told is not None and told.result is not None:
        return f"{count} The last node to say why: {told.result.error}", told.node
    last: Assignment | None = tried[-1] if tried else None
    if last is None or last.state not in _NOT_SAID:
        return count, 0
    return f"{count} {_NOT_SAID[last.state]}", last.node
