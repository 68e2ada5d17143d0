"""An endpoint as data: the one table that routes requests, checks them, and writes the OpenAPI document.

What an endpoint takes and gives are msgspec structs; who may call it is a verb and a place for
`access.authorize`. A handler gets a `Call` whose every part has been checked and returns a struct, an `Answer` when
it wants another status or headers, or a Starlette response when bytes flow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from crowdgrid.errors import CrowdgridError
from crowdgrid.hub.access import Place, Principal, Thing, Verb, authorize

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from crowdgrid.hub.parts import Hub

T = TypeVar("T")
JSON = "application/json"
BYTES = "application/octet-stream"
NOBODY = Principal(owner="", role="reader", name="nobody")


@dataclass(frozen=True, slots=True)
class Answer:
    """A struct with a status or headers of its own."""

    value: object = None
    status: int = 0  # 0: the endpoint's
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One checked request."""

    hub: Hub
    request: Request
    principal: Principal
    query: Any  # an instance of the endpoint's query struct
    body: Any  # an instance of its body type, bytes, or None

    @property
    def path(self) -> dict[str, Any]:
        """The parameters in the path."""
        found: dict[str, Any] = self.request.path_params
        return found

    def allow(self, verb: Verb, thing: Thing) -> None:
        """`authorize` for who is asking."""
        authorize(self.principal, verb, thing)


Handler: TypeAlias = Callable[[Call], Awaitable["msgspec.Struct | Answer | Response | None"]]


@dataclass(frozen=True, slots=True)
class Body:
    """What an endpoint takes.

    Attributes:
        types: media type -> the type it is decoded to; bytes are handed over as they are. streamed: the handler reads
            the request itself.
        size_max: bytes.
    """

    types: Mapping[str, Any]
    size_max: int
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        may: verb and place that are authorized first; None: everybody, without a token.
        query: struct of the query parameters. headers: name -> what it is for, of optional request headers.
        answers: status -> (media type, type or None for plain bytes or text, what it means).
        errors: what it may raise beside what every endpoint may (see `openapi`).
    """

    method: str
    path: str
    summary: str
    handler: Handler
    may: tuple[Verb, Place] | None
    answers: Mapping[int, tuple[str, Any, str]]
    query: type[msgspec.Struct] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    errors: tuple[type[CrowdgridError], ...] = ()

    @property
    def status(self) -> int:
        """The status when the handler names none."""
        first: int = next(iter(self.answers))
        return first

    @property
    def tag(self) -> str:
        """The audience: the module the handler stands in."""
        return self.handler.__module__.rpartition(".")[2]

    @property
    def operation(self) -> str:
        """The handler's name, unique over the table."""
        return self.handler.__name__


def gives(kind: Any, meaning: str, *, status: int = 200) -> dict[int, tuple[str, Any, str]]:
    """`Endpoint.answers` of the usual case: one status, JSON."""
    return {status: (JSON, kind, meaning)}


NOTHING: dict[int, tuple[str, Any, str]] = {204: ("", None, "Done.")}
