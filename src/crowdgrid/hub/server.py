"""The HTTP and WebSocket server: uvicorn, set up for many idle links and few words.

- WebSockets without compression (results are compressed or random already, and a window costs 64 kB a link), frames
  bounded, pings rare: nodes send heartbeats by themselves, a ping only finds dead sockets of clients.
- A request whose head is not whole after `HEAD_SECONDS` closes its connection; uvicorn by itself waits for ever.
- Signals are ours: uvicorn would raise them again after it has ended, and so exit with an error.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from crowdgrid import limits
from crowdgrid.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from crowdgrid.settings import HubSettings

HEAD_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 30
PING_SECONDS: Final = 60.0
GRACEFUL_SECONDS: Final = 5
BACKLOG: Final = 4096

_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
]
_TLS_HEADERS = [("Strict-Transport-Security", "max-age=31536000")]


class HubProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a time limit for the head of each request."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and getattr(self.cycle, "response_complete", False):
            self._await_head()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._head_arrived()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class HubWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which does not wait for ever until a peer that reads nothing has read it all, and
    does not call it an error of ours when a handshake is refused with an answer."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


class HubServer(uvicorn.Server):
    """uvicorn without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_accepting(self) -> None:
        """No new connection from now on; those there go on."""
        for server in getattr(self, "servers", ()):
            server.close()

    def stop(self) -> None:
        """End in good order."""
        self.should_exit = True


def server_of(app: Any, settings: HubSettings) -> HubServer:
    """The server of `app`. Raises BadInput when certificate or key cannot be used."""
    config = uvicorn.Config(
        app,
        http=HubProtocol,
        ws=HubWebSocket,
        ws_max_size=limits.FRAME_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        lifespan="off",
        loop="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=_HEADERS + (_TLS_HEADERS if settings.tls else []),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        backlog=BACKLOG,
    )
    config.load()
    if settings.tls:
        config.ssl = _tls(settings)
    return HubServer(config)


def _tls(settings: HubSettings) -> ssl.SSLContext:
    """TLS 1.2 at least; OpenSSL prefers 1.3 and forward secrecy by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(
            f"The certificate {settings.tls_cert} and key {settings.tls_key} cannot be used: {error}.",
            hint="Both are PEM files; the certificate file holds the chain, and the key is that of the certificate.",
        ) from None
    return context


def listening_socket(settings: HubSettings) -> socket.socket:
    """A socket that listens where the settings say. Raises Unavailable when it cannot be had."""
    if settings.fd >= 0:
        return _inherited(settings.fd)
    host, port = settings.address
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(where[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        hint = "Does a hub run here already? Choose another --listen." if taken else "Choose another --listen."
        raise Unavailable(f"The hub cannot listen on {settings.listen}: {error.strerror}.", hint=hint) from None
    listener.setblocking(False)
    return listener


def _inherited(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise BadInput(f"File descriptor {fd} is no socket: {error.strerror}.") from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """The address people use."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"
