"""Errors over HTTP: problem+json (RFC 9457) made from the one error tree.

`type` is `/problems/CODE`, `code` the stable word programs test, `hint` what to do next. What nobody foresaw becomes
a 500 with a reference that also stands in the log; the traceback stays there.
"""

from __future__ import annotations

import logging
import secrets

import msgspec
from starlette.responses import Response

from crowdgrid.errors import Busy, CrowdgridError, NotFound, NotSignedIn, Unavailable

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("crowdgrid.hub.api")


class Problem(msgspec.Struct, frozen=True):
    """What went wrong, as RFC 9457 has it, with our `code` and `hint`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    retryable: bool = False


class NoSuchMethod(NotFound):
    """This address does not know that method."""

    code = "no_such_method"
    http_status = 405


def problem_of(error: CrowdgridError) -> Problem:
    """The problem document of an error."""
    title = (type(error).__doc__ or "").strip().splitlines()[0]
    return Problem(
        type=f"/problems/{error.code}",
        title=title,
        status=error.http_status,
        detail=error.message,
        code=error.code,
        hint=error.hint,
        retryable=error.retryable,
    )


def response_of(error: CrowdgridError, headers: dict[str, str] | None = None) -> Response:
    """The HTTP answer to a refused request."""
    told = {"Cache-Control": "no-store", **(headers or {})}
    if isinstance(error, NotSignedIn):
        told["WWW-Authenticate"] = 'Bearer realm="crowdgrid"'
    if isinstance(error, Busy | Unavailable) and error.retryable:
        told["Retry-After"] = "1"
    body = msgspec.json.encode(problem_of(error))
    return Response(body, status_code=error.http_status, headers=told, media_type=MEDIA_TYPE)


def unforeseen(error: Exception, where: str) -> Response:
    """The answer when something nobody foresaw was raised; the log has the traceback under the same reference."""
    reference = secrets.token_hex(4)
    log.error("unforeseen error %s in %s", reference, where, exc_info=error)
    return response_of(
        CrowdgridError(
            f"The hub made a mistake while answering (reference {reference}).",
            hint="Nothing of yours is lost. Please report it with the lines of the hub's log that name the reference.",
        )
    )
