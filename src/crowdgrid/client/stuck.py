"""Says why when nothing of a job begins: a call nobody may run would otherwise be waited for in silence, for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crowdgrid.client.codec import python_label
from crowdgrid.client.joblink import JobLink
from crowdgrid.core.model import PICKLED, UNSANDBOXED
from crowdgrid.errors import CrowdgridError, printable

if TYPE_CHECKING:
    from crowdgrid.client.rest import Rest

LOOK_AFTER_SECONDS: Final = 5.0
REASONS_TOLD: Final = 3
log = logging.getLogger("crowdgrid")  # without a handler Python shows warnings on stderr


async def tell_if_stuck(rest: Rest, job: JobLink) -> None:
    """Wait a while; if nothing of the job has begun by then, log what the hub says why. On crowdgrid's loop."""
    await asyncio.sleep(LOOK_AFTER_SECONDS)
    counts = job.info.counts
    if job.ended or job.failure or not counts.units or counts.units_done or counts.in_progress:
        return
    try:
        why = await rest.get(f"/v1/why/{job.id}")
    except CrowdgridError:
        return  # the way to the hub is the trouble, and said elsewhere
    blocking = [reason["text"] for reason in why.get("reasons", ()) if reason.get("blocks", True)]
    objections = [text for rejected in why.get("rejected", ()) for text in rejected.get("reasons", ())]
    told = list(dict.fromkeys([why["summary"], *blocking, *objections]))[: 1 + REASONS_TOLD]
    told += _what_to_do(job.info.spec.runtime, objections)
    said = printable(" ".join(told))
    log.warning("Nothing has begun yet. %s More: crowdgrid why %s", said, printable(job.info.name or job.id))


def _what_to_do(runtime: str, objections: Sequence[str]) -> list[str]:
    """What helps against why no node may run a function."""
    if runtime not in UNSANDBOXED:
        return []
    label = python_label()
    other_python = [text for text in objections if runtime == PICKLED and "label" in text and label in text]
    found = []
    if other_python:
        here = label.removeprefix("python")
        found.append(
            f"Its functions are pickled by Python {here}, and no other Python reads them. "
            f'Add a node with Python {here}, or send source: codec="msgpack".'
        )
    declined = [text for text in objections if text.startswith("It declined")]  # and says why itself
    if len(other_python) + len(declined) < len(objections):
        found.append("Whose Python a node runs is up to its owner: crowdgrid agent python.")
    return found
