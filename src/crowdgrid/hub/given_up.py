"""Why a task was given up, in a sentence for whoever submitted it."""

from __future__ import annotations

from crowdgrid.core.model import Task
from crowdgrid.store import Store


async def reason_of(store: Store, task: Task) -> tuple[str, int]:
    """The reason, and the node (its number, 0 for none) it is about.

    What a node said last counts more than a lease lost in silence after it: it is what can be acted on.

    Raises:
        Unavailable: the store cannot be read.
    """
    count = f"Given up after {task.stale} lost leases." if task.stale != 1 else "Given up after a lost lease."
    tried = await store.assignments(task.job, task.ordinal)
    for one in reversed(tried):
        if one.result is not None and one.result.error:
            return f"{count} The last node to say why: {one.result.error}", one.node
    return f"{count} No answer of the last node came in time.", tried[-1].node if tried else 0
