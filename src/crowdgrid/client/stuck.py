"""Says why when nothing of a job begins: a call nobody may run would otherwise be waited for in silence, for ever."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from crowdgrid.client.joblink import JobLink
from crowdgrid.core.model import UNSANDBOXED
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
    if objections and job.info.spec.runtime in UNSANDBOXED:
        told.append("Whose Python a node runs is up to its owner: crowdgrid agent python.")
    said = printable(" ".join(told))
    log.warning("Nothing has begun yet. %s More: crowdgrid why %s", said, printable(job.info.name or job.id))
