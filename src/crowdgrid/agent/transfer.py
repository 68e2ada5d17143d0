"""Blobs from and to the hub over HTTP, with the token of the present link.

Uses the standard library's client in a thread: a program is needed before the first task can run, and
importing a larger client costs more than the download. Everything that comes is checked against the
digest that named it before anybody sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crowdgrid import errors, limits
from crowdgrid.agent.settings import HubAddress
from crowdgrid.errors import BadInput, CrowdgridError, NotFound, TooLarge, Unavailable

SILENCE_SECONDS: Final = 30.0  # the hub may be silent so long within one transfer
PIECE_BYTES: Final = 256 * 1024


class Transfer:
    """Gets and puts blobs at one hub. `token` is set anew with each link."""

    def __init__(self, address: HubAddress, tls: Callable[[], ssl.SSLContext]) -> None:
        self.token = ""
        self._address, self._tls = address, tls
        self._open: set[http.client.HTTPConnection] = set()

    async def get(self, digest: str, into: Path, size_max: int) -> None:
        """Download a blob to the file `into`, which appears only when it is whole and right.

        Raises:
            NotFound: the hub has none.
            TooLarge: it is over `size_max` bytes.
            BadInput: its content is not what the digest says.
            Unavailable: no or a broken answer, or no room on disk; worth another try.
        """
        await asyncio.to_thread(self._guarded, self._get, digest, into, size_max)

    async def put(self, digest: str, payload: bytes) -> None:
        """Upload a blob; one that is there already is fine. Raises as `get`."""
        await asyncio.to_thread(self._guarded, self._put, digest, payload)

    def close(self) -> None:
        """Break off what is under way."""
        for connection in list(self._open):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(2)

    # --- in a thread ---

    def _guarded(self, work: Callable[..., None], digest: str, *rest: object) -> None:
        connection = self._connect()
        self._open.add(connection)
        try:
            work(connection, digest, *rest)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"The blob {digest[:12]}… could not be moved: {_said(error)}.") from None
        finally:
            self._open.discard(connection)
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        place = self._address
        if place.tls:
            return http.client.HTTPSConnection(place.host, place.port, timeout=SILENCE_SECONDS, context=self._tls())
        return http.client.HTTPConnection(place.host, place.port, timeout=SILENCE_SECONDS)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, digest: str, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Node {self.token}", "Content-Type": "application/octet-stream"}
        connection.request(method, f"{self._address.path}/v1/blobs/{digest}", body=body, headers=headers)
        response = connection.getresponse()
        if response.status >= 300:
            raise _refused(response, digest)
        return response

    def _get(self, connection: http.client.HTTPConnection, digest: str, into: Path, size_max: int) -> None:
        response = self._ask(connection, "GET", digest)
        draft = into.with_name(f"{into.name}.{os.getpid()}.part")
        found, size = hashlib.sha256(), 0
        try:
            with draft.open("wb") as file:
                while piece := response.read(PIECE_BYTES):
                    size += len(piece)
                    if size > size_max:
                        raise TooLarge(f"The blob {digest[:12]}… is over {size_max:,} bytes.")
                    found.update(piece)
                    file.write(piece)
            if found.hexdigest() != digest:
                raise BadInput(f"What the hub sent as {digest[:12]}… has another digest.")
            draft.replace(into)
        finally:
            draft.unlink(missing_ok=True)

    def _put(self, connection: http.client.HTTPConnection, digest: str, payload: bytes) -> None:
        self._ask(connection, "PUT", digest, payload).read()


def _refused(response: http.client.HTTPResponse, digest: str) -> CrowdgridError:
    """The error of an answer that is not a success; the hub's own sentence is not repeated, it may be anybody's."""
    response.read(limits.INLINE_BYTES)
    text = f"The hub answered {response.status} for the blob {digest[:12]}…."
    if response.status in {401, 403}:
        # The token's link may just have been replaced, or a new hub not yet know what we hold: worth trying again.
        return Unavailable(text)
    if response.status == 404:
        return NotFound(text)
    if response.status == 413:
        return TooLarge(text)
    if 400 <= response.status < 500 and response.status not in {408, 429}:
        return BadInput(text)
    return errors.Busy(text) if response.status in {429, 503} else Unavailable(text)


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
