"""Programs, for those who submit them: put one, get its digest."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadProgram
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.table import BYTES, JSON, Answer, Body, Call, Endpoint


class ProgramQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the program is for."""

    runtime: Annotated[
        Literal["wasm", "echo", "python", "python-pickle"], msgspec.Meta(description="The runtime that is to run it.")
    ] = "wasm"


class ProgramInfo(msgspec.Struct, frozen=True):
    """A program on this grid."""

    digest: str
    size: int


async def put_program(call: Call) -> Answer:
    """Keep a program; one that cannot run here is refused with the reason."""
    query: ProgramQuery = call.query
    digest = await call.hub.programs.add(call.body, query.runtime)
    return Answer(ProgramInfo(digest, len(call.body)))


ENDPOINTS = (
    Endpoint(
        "PUT",
        "/v1/programs",
        "Put a program",
        put_program,
        (Verb.CREATE, Place.PROGRAMS),
        {200: (JSON, ProgramInfo, "It is here, under this digest.")},
        query=ProgramQuery,
        body=Body({BYTES: bytes, "application/wasm": bytes}, limits.PROGRAM_BYTES),
        errors=(BadProgram,),
    ),
)
