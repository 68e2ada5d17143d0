"""Events, for pages and tools that watch: server-sent events (WHATWG HTML, section 9.2).

`Last-Event-ID` (or `last`, where headers cannot be set) resumes; `reset` says that something was missed and
what is shown has to be read again. What is sent is told in `happenings`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from starlette.responses import StreamingResponse

from crowdgrid import limits
from crowdgrid.errors import NotAllowed
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.table import Call, Endpoint
from crowdgrid.hub.happenings import Reader, parse_id, texts

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE_SECONDS = 15.0
_HELLO = b"retry: 2000\n\n"


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to watch."""

    job: Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS, description="Only this job, with its tasks.")] = ""
    last: Annotated[str, msgspec.Meta(max_length=40, description="As the header Last-Event-ID.")] = ""


async def watch_events(call: Call) -> StreamingResponse:
    """Everything one may see: jobs and nodes; or one job with its tasks."""
    query: EventsQuery = call.query
    job = await call.hub.submissions.find(call.principal, query.job) if query.job else None
    last = call.request.headers.get("last-event-id", "") or query.last
    reader = call.hub.happenings.open(call.principal, job=job, last=parse_id(last) if last else None)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(call, reader), headers=headers, media_type=MEDIA_TYPE)


async def _stream(call: Call, reader: Reader) -> AsyncIterator[bytes]:
    try:
        yield _HELLO
        async for text in texts(reader, KEEP_ALIVE_SECONDS):
            if not _still_signed_in(call):
                return
            yield text
    finally:
        call.hub.happenings.close(reader)


def _still_signed_in(call: Call) -> bool:
    """Whether the token that opened the stream still counts: one revoked or expired is shown nothing more."""
    address = call.request.client.host if call.request.client else ""
    try:
        call.hub.access.principal(call.request.headers.get("authorization"), address)
    except NotAllowed:
        return False
    return True


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/events",
        "Watch",
        watch_events,
        (Verb.READ, Place.JOBS),
        {200: (MEDIA_TYPE, None, "Events job, counts, node, tasks, reset; their data is JSON.")},
        query=EventsQuery,
        headers={"Last-Event-ID": "Id of the last event seen; what came since is sent again."},
    ),
)
