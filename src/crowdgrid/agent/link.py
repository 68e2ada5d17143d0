"""The link to the hub: one WebSocket, always called out, found again when it is lost.

1. Hello: who we are. 2. Challenge: the hub's nonce. 3. Proof: our signature of it. 4. Welcome. Then
messages both ways until either side closes.

Messages are sent in order and many to a frame: everything `send` is given in one turn of the event loop
goes together. What is sent while there is no link is dropped: after the next Welcome the agent tells
everything anew (heartbeat, offer, spool), so nothing needs a queue here.

Garbage from the hub ends the link, not the agent. Only a refusal that trying again cannot mend (wrong
invitation, node removed, no common version) ends `run`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from crowdgrid import errors, limits
from crowdgrid.agent.backoff import Backoff
from crowdgrid.agent.settings import HubAddress
from crowdgrid.errors import BadInput, CrowdgridError
from crowdgrid.protocol import codec, signing
from crowdgrid.protocol import messages as m

OPEN_SECONDS: Final = 10.0  # for TCP, TLS and the WebSocket together
HANDSHAKE_SECONDS: Final = 15.0  # from Hello to Welcome; a hub that is rebuilding takes a while
CLOSE_SECONDS: Final = 2.0
_RETRY_AFTER_MAX: Final = 3600.0

log = logging.getLogger(__name__)


class Events(Protocol):
    """What the link tells. Called on the event loop."""

    def hello(self) -> m.Hello:
        """What to say first."""

    def up(self, welcome: m.Welcome) -> None:
        """The node is in."""

    def received(self, messages: Sequence[m.HubToNode]) -> None:
        """Messages of one frame, in order."""

    def down(self, refused: bool) -> None:
        """The link is gone; it will be looked for again. `refused`: over something we sent."""


class _Lost(Exception):
    """The link ended or could not be made, and another try may help."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.refused = False  # over something we sent


class Link:
    """The link of one agent.

    Args:
        address: of the hub.
        key: the node's.
        events: is told what happens.
        tls: makes the TLS context when the address wants one.
        sleep, rng: waiting and chance, given by tests.
    """

    def __init__(
        self,
        address: HubAddress,
        key: Ed25519PrivateKey,
        events: Events,
        tls: Callable[[], ssl.SSLContext],
        *,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.problem = "The hub has not been reached yet."  # why there is no link, "" when there is one
        self._closing = self._renewing = False
        self._address, self._key, self._events, self._tls = address, key, events, tls
        self._sleep = sleep
        self._backoff = Backoff(rng or random.Random())
        self._socket: ClientConnection | None = None
        self._up = False
        self._ever_up = False
        self._outbox: list[m.Message] = []
        self.first_up = asyncio.Event()  # there has been a link
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether messages get through."""
        return self._up

    def send(self, *messages: m.Message) -> None:
        """Put messages on the link, in order; dropped when there is none."""
        if self._up:
            self._outbox += messages
            self._empty.clear()
            self._wake.set()

    def drop(self, reason: str) -> None:
        """Give this connection up at once and look for a new one."""
        if self._socket is not None:
            log.warning("Giving up the link: %s", reason)
            self.problem = reason
            self._socket.transport.abort()

    def renew(self) -> None:
        """Greet the hub anew: what we tell of ourselves has changed."""
        if self._up and self._socket is not None:
            self._renewing = True
            self._socket.transport.abort()

    async def run(self) -> None:
        """Keep a link until closed or cancelled.

        Raises:
            CrowdgridError: the hub refuses this node for good.
        """
        while True:
            try:
                await self._once()
            except _Lost as lost:
                if self._closing:
                    return
                if self._renewing:
                    self._renewing = False
                    continue
                wait = self._backoff.next(lost.retry_after)
                if not self.problem or str(lost) != self.problem:
                    log.warning("No link to %s: %s Trying again.", self._address.shown, lost)
                self.problem = str(lost)
                await self._sleep(wait)

    async def close(self, reason: str) -> None:
        """Send what waits, say goodbye, close."""
        self._closing = True
        socket = self._socket  # the hub may go down meanwhile, and then it is none of ours any more
        if self._up and socket is not None:
            self.send(m.Bye(reason))
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._empty.wait()
                    await socket.close()
            except TimeoutError:
                socket.transport.abort()

    # --- one connection ---

    async def _once(self) -> None:
        socket = await self._connect()
        self._socket = socket
        began = asyncio.get_running_loop().time()
        sender: asyncio.Task[None] | None = None
        refused = False
        try:
            welcome, rest = await self._handshake(socket)
            self._began(welcome)
            sender = asyncio.get_running_loop().create_task(self._sender(socket))
            self._take(rest)
            while True:
                self._take(_decoded(await socket.recv()))
        except ConnectionClosed as closed:
            raise _Lost(_why(closed)) from None
        except _Lost as lost:
            refused = lost.refused
            raise
        except BadInput as error:
            raise _Lost(f"The hub sent something that makes no sense: {error.message}", 1.0) from None
        finally:
            was_up, self._up, self._socket = self._up, False, None
            self._outbox.clear()
            if sender is not None:
                sender.cancel()
            socket.transport.abort()
            if was_up:
                self._backoff.lost(asyncio.get_running_loop().time() - began)
                self._events.down(refused)

    async def _connect(self) -> ClientConnection:
        tls = self._tls() if self._address.tls else None
        try:
            return await connect(
                self._address.websocket,
                ssl=tls,
                compression=None,
                max_size=limits.FRAME_BYTES,
                max_queue=limits.FRAMES_QUEUED,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                ping_interval=None,  # heartbeats and their answers show a dead link
                proxy=None if self._address.host in {"127.0.0.1", "::1", "localhost"} else True,
                user_agent_header=None,
            )
        except ssl.SSLCertVerificationError as error:
            if not self._ever_up:
                raise errors.NotAllowed(
                    f"The certificate of {self._address.shown} cannot be trusted: {error.verify_message}.",
                    hint="If the hub made its own certificate, give it with --ca FILE.",
                ) from None
            raise _Lost(f"The hub's certificate cannot be trusted: {error.verify_message}.") from None
        except InvalidStatus as refused:
            raise self._refused(refused) from None
        except TimeoutError:
            raise _Lost("The hub did not answer in time.") from None
        except (OSError, InvalidHandshake, WebSocketException, EOFError) as error:
            raise _Lost(f"It cannot be reached ({_short(error)}).") from None

    def _refused(self, refused: InvalidStatus) -> Exception:
        status = refused.response.status_code
        if status < 500 and status not in {408, 425, 429} and not self._ever_up:
            return errors.NotFound(
                f"There is no crowdgrid hub at {self._address.shown}: it answered {status}.",
                hint="Check the address and its port.",
            )
        after = refused.response.headers.get("Retry-After", "")
        return _Lost(f"It answered {status}.", min(float(after), _RETRY_AFTER_MAX) if after.isdigit() else 0.0)

    async def _handshake(self, socket: ClientConnection) -> tuple[m.Welcome, list[m.HubToNode]]:
        hello = self._events.hello()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await socket.send(codec.encode([hello]))  # 1.
                challenge, rest = self._expect(m.Challenge, _decoded(await socket.recv()))  # 2.
                if rest:
                    raise BadInput("Something came along with the challenge.")
                signature = self._key.sign(signing.proof_bytes(challenge.grid, challenge.nonce, hello.key))
                await socket.send(codec.encode([m.Proof(signature)]))  # 3.
                welcome, rest = self._expect(m.Welcome, _decoded(await socket.recv()))  # 4.
        except TimeoutError:
            raise _Lost("It did not finish the handshake in time.") from None
        if welcome.grid != challenge.grid:
            raise BadInput("The grid's id changed during the handshake.")
        return welcome, rest

    def _expect(self, kind: type[Any], messages: list[m.HubToNode]) -> tuple[Any, list[m.HubToNode]]:
        if not messages:
            raise BadInput("A frame was empty.")
        first, *rest = messages
        if isinstance(first, m.Error):
            raise self._said(first)
        if not isinstance(first, kind):
            raise BadInput(f"{type(first).__name__} came in place of {kind.__name__}.")
        return first, rest

    def _said(self, error: m.Error) -> Exception:
        """The exception for an `Error` that ends the link."""
        known = errors.from_code(error.code, error.message, error.hint)
        at_first = isinstance(known, BadInput | errors.NotFound) and not self._ever_up
        if at_first or isinstance(known, errors.NotAllowed):
            return known
        lost = _Lost(error.message, min(error.retry_after_ms / 1000, _RETRY_AFTER_MAX))
        lost.refused = isinstance(known, BadInput)
        return lost

    def _began(self, welcome: m.Welcome) -> None:
        self._up = self._ever_up = True
        self.first_up.set()
        if self.problem:  # not when it was only renewed
            log.info("Linked to %s as %s.", self._address.shown, welcome.name or welcome.node)
        self.problem = ""
        self._wake.clear()
        self._empty.set()
        self._events.up(welcome)

    def _take(self, messages: list[m.HubToNode]) -> None:
        fatal = None
        for message in messages:
            if isinstance(message, m.Error):
                if message.fatal:
                    fatal = message
                else:
                    log.warning("The hub says: %s %s", message.message, message.hint)
            elif isinstance(message, m.Bye):
                raise _Lost(message.reason or "The hub said goodbye.")
        self._events.received(messages)
        if fatal is not None:
            raise self._said(fatal)

    async def _sender(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                messages, self._outbox = self._outbox, []
                for frame in codec.frames(messages):
                    await socket.send(frame)
                if not self._outbox:
                    self._empty.set()
        except ConnectionClosed:
            pass  # the reader sees it too
        except CrowdgridError as error:
            self.drop(error.message)


def system_tls(ca: str | None = None) -> ssl.SSLContext:
    """TLS that trusts the system's authorities, or only those in the PEM file `ca`.

    Raises:
        BadInput: the file cannot be read as certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"{ca} cannot be used as a certificate authority: {_short(error)}.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _decoded(frame: str | bytes) -> list[m.HubToNode]:
    if isinstance(frame, str):
        raise BadInput("A frame of text came; frames are binary.")
    known: list[m.HubToNode] = []
    for message in codec.hub_to_node.decode(frame):
        if isinstance(message, codec.Unknown):
            log.info("The hub sent a message of a newer kind, %r; passed over.", message.tag)
        else:
            known.append(message)
    return known


def _why(closed: ConnectionClosed) -> str:
    said = closed.rcvd.reason if closed.rcvd else ""
    return f"The link was closed: {said[:200]}" if said else "The link was lost."


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:200]
