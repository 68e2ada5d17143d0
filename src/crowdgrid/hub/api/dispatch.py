"""From a request to a handler and back: sign-in, authorization, query, body, answer, errors.

Order matters: who is asking is settled before a byte of the body is read, and a body is never read beyond its
endpoint's limit or longer than `BODY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crowdgrid.errors import BadInput, CrowdgridError, NotFound, TimedOut, TooLarge
from crowdgrid.hub.access import authorize
from crowdgrid.hub.api import problems
from crowdgrid.hub.api.table import JSON, NOBODY, Answer, Body, Call, Endpoint

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from crowdgrid.hub.parts import Hub

BODY_SECONDS = 30.0
log = logging.getLogger("crowdgrid.hub.api")


class PathFace:
    """All methods of one path, as an ASGI application."""

    def __init__(self, hub: Hub, methods: Mapping[str, Endpoint]) -> None:
        self._hub = hub
        self._methods = dict(methods)
        if "GET" in methods:
            self._methods.setdefault("HEAD", methods["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._respond(request)
        if response is not None:
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response | None:
        where = f"{request.method} {request.url.path}"
        try:
            endpoint = self._methods.get(request.method)
            if endpoint is None:
                return self._no_such_method(request)
            return answer_of(endpoint, await endpoint.handler(await self._call(endpoint, request)))
        except CrowdgridError as error:
            if error.http_status >= 500:
                log.warning("%s: %s", where, error.message)
            return problems.response_of(error)
        except ClientDisconnect:
            return None
        except Exception as error:  # noqa: BLE001 - nobody may see a traceback
            return problems.unforeseen(error, where)

    def _no_such_method(self, request: Request) -> Response:
        known = ", ".join(sorted(self._methods))
        error = problems.NoSuchMethod(
            f"{request.url.path} does not know {request.method[:20]}.", hint=f"It knows {known}."
        )
        return problems.response_of(error, {"Allow": known})

    async def _call(self, endpoint: Endpoint, request: Request) -> Call:
        principal = NOBODY
        if endpoint.may is not None:
            address = request.client.host if request.client else ""
            principal = self._hub.access.principal(request.headers.get("authorization"), address)
            authorize(principal, *endpoint.may)
        query = read_query(endpoint, request)
        body = await read_body(endpoint.body, request) if endpoint.body and not endpoint.body.streamed else None
        return Call(self._hub, request, principal, query, body)


def routes(hub: Hub, endpoints: Iterable[Endpoint]) -> list[BaseRoute]:
    """One route a path."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [Route(path, PathFace(hub, methods)) for path, methods in paths.items()]


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer where no route leads."""
    error = NotFound(f"There is nothing at {scope['path'][:80]}.", hint="See /v1/openapi.json for what there is.")
    await problems.response_of(error)(scope, receive, send)


# --- reading --------------------------------------------------------------------------------------


def read_query(endpoint: Endpoint, request: Request) -> Any:
    """The query parameters as the endpoint's struct. Raises BadInput."""
    told = request.query_params
    if endpoint.query is None:
        if told:
            raise BadInput(f"There is no parameter {next(iter(told))[:40]!r} here.", hint="It takes none.")
        return None
    several = {name for name, kind in endpoint.query.__annotations__.items() if "tuple" in str(kind)}
    values = {name: tuple(told.getlist(name)) if name in several else told[name] for name in told}
    try:
        return msgspec.convert(values, endpoint.query, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"A parameter cannot be used: {error}.", hint="See /v1/openapi.json.") from None


async def read_body(body: Body, request: Request) -> Any:
    """The body, decoded by its media type. Raises BadInput, TooLarge or TimedOut."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = body.types.get(media)
    if kind is None:
        known = " or ".join(body.types)
        raise BadInput(
            f"A body of type {media[:60] or 'unknown'!r} cannot be used here.",
            hint=f"Send it as Content-Type: {known}.",
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            content = await whole(request, body.size_max)
    except TimeoutError:
        raise TimedOut(f"The body did not arrive within {BODY_SECONDS:.0f} s.") from None
    return decoded(content, kind) if media == JSON else content


async def whole(request: Request, size_max: int) -> bytes:
    """The body's bytes. Raises TooLarge before more than `size_max` are held."""
    check_length(request, size_max)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > size_max:
            raise too_large(size_max)
        parts.append(part)
    return b"".join(parts)


def check_length(request: Request, size_max: int) -> None:
    """Refuse a body whose announced length is over the limit. Raises TooLarge."""
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > size_max:
        raise too_large(size_max)


def too_large(size_max: int) -> TooLarge:
    """The error of a body over its limit."""
    return TooLarge(f"The body is over the limit of {size_max:,} bytes.", hint="Send it in smaller parts.")


def decoded(content: bytes, kind: Any) -> Any:
    """JSON decoded and checked in one step. Raises BadInput."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"The body does not fit: {error}.", hint="See /v1/openapi.json.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The body is not JSON: {error}.") from None


# --- answering ------------------------------------------------------------------------------------


def answer_of(endpoint: Endpoint, given: object) -> Response:
    """The response to what a handler returned."""
    if isinstance(given, Response):
        return given
    answer = given if isinstance(given, Answer) else Answer(given)
    headers = {"Cache-Control": "no-store", **answer.headers}
    status = answer.status or endpoint.status
    if answer.value is None:
        return Response(status_code=status, headers=headers)
    return Response(msgspec.json.encode(answer.value), status_code=status, headers=headers, media_type=JSON)


def unique(endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """The table, checked: no two endpoints for one method and path, no two operations of one name."""
    assert len({(endpoint.method, endpoint.path) for endpoint in endpoints}) == len(endpoints)
    assert len({endpoint.operation for endpoint in endpoints}) == len(endpoints)
    return endpoints
