"""A job's input, for those who submit it: append items or lines, and read back what was appended."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.responses import Response, StreamingResponse

from crowdgrid import limits
from crowdgrid.core.model import Items, Lines
from crowdgrid.errors import BadInput, Conflict, NotFound
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.jobs import find_job
from crowdgrid.hub.api.table import BYTES, JSON, Body, Call, Endpoint, gives
from crowdgrid.protocol.packing import pack_chunk

_JSON_BODY_BYTES = 2 * limits.CHUNK_BYTES  # base64 and quotes around at most a chunk's worth of items


class AppendText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units as text, or as base64 where they are not text: one of the two. `first` −1 appends at the end."""

    first: Annotated[int, msgspec.Meta(ge=-1, le=limits.JOB_ITEMS)] = -1
    text: list[str] = []
    base64: list[bytes] = []


class FirstQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where raw lines are appended; −1 at the end."""

    first: Annotated[
        int, msgspec.Meta(ge=-1, le=limits.JOB_ITEMS, description="Ordinal of the first line; −1: the end.")
    ] = -1


class Appended(msgspec.Struct, frozen=True):
    """How many units the job has now, durably."""

    units: int


class InputQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which units."""

    start: Annotated[int, msgspec.Meta(ge=0, le=limits.JOB_ITEMS, description="The first unit.")] = 0
    stop: Annotated[
        int, msgspec.Meta(ge=-1, le=limits.JOB_ITEMS, description="The unit after the last one; −1: all that fit.")
    ] = -1


async def append_items(call: Call) -> Appended:
    """Append items or lines: a JSON list, or raw bytes of which each line is one unit."""
    job = await find_job(call)
    if isinstance(call.body, bytes):
        items, first = lines_of(call.body), call.query.first
    else:
        told: AppendText = call.body
        if bool(told.text) == bool(told.base64):
            raise BadInput("An append needs either text or base64, with at least one unit.")
        items, first = [text.encode() for text in told.text] or told.base64, told.first
    if not isinstance(job.spec.split, Items | Lines):
        raise Conflict("Nothing can be appended to this job: its input was complete when it was opened.")
    submissions, id = call.hub.submissions, call.path["job"]
    if first < 0:
        return Appended(await submissions.append_last(call.principal, id, items))
    return Appended(await submissions.append(call.principal, id, first, items))


def lines_of(content: bytes) -> list[bytes]:
    """The lines in `content` without their newlines; only a line feed ends one, and the last one may lack it."""
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


async def read_input(call: Call) -> Response:
    """Units of the job as a packed chunk (`protocol.packing`), the first of those asked for that fit one; X-Units says
    how many. None when the job has none there (yet)."""
    query: InputQuery = call.query
    job = await find_job(call)
    if not isinstance(job.spec.split, Items | Lines):
        raise Conflict("This job was given no items or lines.", hint="What it works on stands in its `spec.split`.")
    units = job.counts.units
    stop = units if query.stop < 0 else min(query.stop, units)
    found = await call.hub.inputs.units(job.number, query.start, stop) if query.start < stop else []
    if isinstance(found, str):  # one large item: the blob is its chunk
        size = await call.hub.blobs.size(found)
        if size is None:
            raise NotFound("The item is not here any more.", hint="Restore the blobs from a backup.")
        headers = {**_headers(1), "Content-Length": str(size)}
        return StreamingResponse(call.hub.blobs.read(found), headers=headers, media_type=BYTES)
    return Response(pack_chunk(found), headers=_headers(len(found)), media_type=BYTES)


def _headers(units: int) -> dict[str, str]:
    return {"Cache-Control": "no-store", "X-Units": str(units)}


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/jobs/{job}/items",
        "Append items or lines",
        append_items,
        (Verb.CHANGE, Place.JOBS),
        gives(Appended, "How many units the job has."),
        query=FirstQuery,
        body=Body({JSON: AppendText, BYTES: bytes}, _JSON_BODY_BYTES),
        errors=(Conflict,),
    ),
    Endpoint(
        "GET",
        "/v1/jobs/{job}/input",
        "Read items or lines back",
        read_input,
        (Verb.READ, Place.JOBS),
        {200: (BYTES, bytes, "A packed chunk of as many of them as fit; X-Units says how many.")},
        query=InputQuery,
        errors=(Conflict,),
    ),
)
