"""Blobs, for clients and nodes: content too large for a message, streamed both ways under its SHA-256.

Who may: a person with a role, or a node with its session's token (`Authorization: Node TOKEN`), which reads what its
assignments name and writes results. A digest says nothing of the content and cannot be guessed, so for people
knowing it is enough.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crowdgrid import limits
from crowdgrid.errors import BadInput, NotAllowed, NotFound, NotSignedIn, TimedOut, TooLarge
from crowdgrid.hub.access import Place, Verb, authorize
from crowdgrid.hub.api.dispatch import check_length, too_large
from crowdgrid.hub.api.table import BYTES, JSON, Answer, Body, Call, Endpoint
from crowdgrid.ids import check_digest

PIECE_SECONDS = 30.0  # the longest silence within an upload
_RANGE = re.compile(r"bytes=(\d{1,15})?-(\d{1,15})?")


class BlobInfo(msgspec.Struct, frozen=True):
    """A blob that is here."""

    digest: str
    size: int


def _node_token(call: Call) -> str:
    """The session token of a node, "" when it is a person who asks."""
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "node" else ""


def _sign_in(call: Call, verb: Verb) -> None:
    """Let a person pass. Raises NotSignedIn or NotAllowed."""
    header = call.request.headers.get("authorization", "")
    address = call.request.client.host if call.request.client else ""
    authorize(call.hub.access.principal(header or None, address), verb, Place.BLOBS)


def _may_read(call: Call, digest: str) -> None:
    """Let a person, or a node whose lease names the blob, pass. Raises NotSignedIn or NotAllowed."""
    token = _node_token(call)
    if not token:
        _sign_in(call, Verb.READ)
    elif not call.hub.leases.may_read(token, digest):
        raise NotAllowed("No assignment this node holds names this blob.", hint="The lease may have ended.")


async def put_blob(call: Call) -> Answer:
    """Store content under its SHA-256."""
    digest = check_digest(call.path["digest"])
    token, size_max = _node_token(call), limits.BLOB_BYTES
    if not token:
        _sign_in(call, Verb.CREATE)
    elif not (size_max := call.hub.leases.may_write(token)):
        raise NotAllowed(
            "This node may not put a blob now.",
            hint="It holds no assignment, or has put much that no report has named yet.",
        )
    try:
        check_length(call.request, size_max)
    except TooLarge:
        if not token:
            raise
        raise TooLarge(
            f"A node may put {size_max:,} bytes now: no answers of one task have more.",
            hint="Let the program write less, or give its tasks fewer items.",
        ) from None
    is_new = await call.hub.blobs.size(digest) is None
    pieces = _pieces(call.request)
    size = await call.hub.blobs.put(pieces, digest=digest, size_max=size_max)
    if token and is_new:
        call.hub.leases.wrote(token, size)
    async for _ in pieces:  # it was here already: a client that still sends must be able to read the answer
        pass
    return Answer(BlobInfo(digest, size))


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises TimedOut when it stalls, TooLarge above the limit."""
    pieces = request.stream()
    size = 0
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces), PIECE_SECONDS)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TimedOut(f"The upload stood still for {PIECE_SECONDS:.0f} s.") from None
        size += len(piece)
        if size > limits.BLOB_BYTES:
            raise too_large(limits.BLOB_BYTES)
        if piece:
            yield piece


async def get_blob(call: Call) -> Response:
    """The content, or with a Range header one stretch of it (RFC 9110, section 14)."""
    digest = check_digest(call.path["digest"])
    _may_read(call, digest)
    size = await call.hub.blobs.size(digest)
    if size is None:
        raise NotFound(f"The blob {digest[:12]}… is not here.")
    start, stop = stretch(call.request.headers.get("range", ""), size)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable, max-age=31536000",
        "Content-Length": str(stop - start),
        "ETag": f'"{digest}"',
    }
    whole = (start, stop) == (0, size)
    if not whole:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 200 if whole else 206
    if call.request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=BYTES)
    content = call.hub.blobs.read(digest, start=start, stop=stop)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=BYTES)


class BadRange(BadInput):
    """The stretch asked for is not in this blob."""

    code = "bad_range"
    http_status = 416


def stretch(header: str, size: int) -> tuple[int, int]:
    """[start, stop) of a Range header; the whole for none, or for one of a form we need not know (RFC 9110, 14.2).

    Raises:
        BadRange: nothing of it lies in the blob.
    """
    found = _RANGE.fullmatch(header.strip())
    if not found or found.groups() == (None, None):
        return 0, size
    first, last = found.groups()
    if first is None:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
    if start >= stop:
        raise BadRange(f"The stretch {header[:60]!r} is not in a blob of {size:,} bytes.")
    return start, stop


_WHO = (NotSignedIn, NotAllowed)

# Nodes sign in by a scheme of their own, so the handlers ask who it is themselves.
ENDPOINTS = (
    Endpoint(
        "PUT",
        "/v1/blobs/{digest}",
        "Put a blob",
        put_blob,
        None,
        {200: (JSON, BlobInfo, "It is here.")},
        body=Body({BYTES: bytes}, limits.BLOB_BYTES, streamed=True),
        errors=_WHO,
    ),
    Endpoint(
        "GET",
        "/v1/blobs/{digest}",
        "Get a blob",
        get_blob,
        None,
        {200: (BYTES, bytes, "The content."), 206: (BYTES, bytes, "One stretch of it.")},
        headers={"Range": "bytes=FIRST-LAST, one stretch."},
        errors=(*_WHO, BadRange),
    ),
)
