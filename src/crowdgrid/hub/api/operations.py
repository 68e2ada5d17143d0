"""For whoever runs the hub and for machines that watch it: alive, ready, figures, version, this API's description.

`/metrics` is open without a token only to this machine itself: a peer on loopback that named the hub by a loopback
name and was not passed on by a proxy (then the machine at the other end is anybody's). Everybody else needs a token.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from crowdgrid.core import commands
from crowdgrid.core.effects import Live
from crowdgrid.errors import Busy, CrowdgridError, NotAllowed, NotSignedIn, Unavailable
from crowdgrid.hub.access import Place, Verb, authorize
from crowdgrid.hub.api.table import JSON, Call, Endpoint, gives
from crowdgrid.hub.version import version
from crowdgrid.protocol.messages import VERSION
from crowdgrid.settings import is_loopback

if TYPE_CHECKING:
    from starlette.requests import Request

PROMETHEUS = "text/plain"
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
LIVE_SECONDS = 2.0


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Version(msgspec.Struct, frozen=True):
    """Which software, and which version of the links' protocol."""

    crowdgrid: str
    protocol: int


async def healthz(call: Call) -> Health:
    """This process is alive; nothing is said of the store."""
    return Health()


async def readyz(call: Call) -> Health:
    """The hub can commit."""
    if problem := call.hub.keeper.problem:
        raise Unavailable(problem, hint="The hub goes on trying by itself; see its log.")
    return Health()


async def show_version(call: Call) -> Version:
    """Which version this is."""
    return Version(version(), VERSION)


async def metrics(call: Call) -> Response:
    """Figures in Prometheus' text format."""
    request = call.request
    if not from_this_machine(request):
        address = request.client.host if request.client else ""
        principal = call.hub.access.principal(request.headers.get("authorization"), address)
        authorize(principal, Verb.READ, Place.GRID)
    text = call.hub.metrics.text(await _live(call))
    return Response(text, headers={"Cache-Control": "no-store"}, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _live(call: Call) -> Live | None:
    """What is alive; None when the engine cannot be asked now: figures matter most when something is wrong."""
    try:
        async with asyncio.timeout(LIVE_SECONDS):
            live: Live = await call.hub.keeper.ask(commands.Snapshot())
            return live
    except (CrowdgridError, TimeoutError):
        return None


def from_this_machine(request: Request) -> bool:
    """Whether a request surely comes from this machine. See the module."""
    if request.client is None or not is_loopback(request.client.host):
        return False
    if any(name in request.headers for name in _PASSED_ON):
        return False
    return is_loopback(request.url.hostname or "")


async def openapi(call: Call) -> Response:
    """This API, as OpenAPI 3.1."""
    from crowdgrid.hub.api.endpoints import document_text

    return Response(document_text(), media_type=JSON)


ENDPOINTS = (
    Endpoint("GET", "/healthz", "Is the process alive", healthz, None, gives(Health, "It is.")),
    Endpoint("GET", "/readyz", "Can the hub commit", readyz, None, gives(Health, "It can."), errors=(Unavailable,)),
    Endpoint(
        "GET",
        "/metrics",
        "Figures for Prometheus",
        metrics,
        None,
        {200: (PROMETHEUS, None, "Figures. Without a token only for this machine itself.")},
        errors=(NotSignedIn, NotAllowed, Busy),
    ),
    Endpoint("GET", "/v1/version", "Which version this is", show_version, None, gives(Version, "Versions.")),
    Endpoint(
        "GET",
        "/v1/openapi.json",
        "This API's description",
        openapi,
        None,
        {200: (JSON, dict, "OpenAPI 3.1.")},
    ),
)
