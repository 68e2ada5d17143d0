"""The hub put together: the only place where its parts are wired, started and stopped.

Start: settings are checked, the socket listens, the store is taken over and what is open is loaded, and only then is
a request answered. Stop: nothing new is accepted, watchers and links are told goodbye, requests under way end,
the keeper commits what waits, the store is closed. What a crash leaves out of that costs nobody anything but time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Router

from crowdgrid.core import commands
from crowdgrid.core.effects import Effect, JobChanged
from crowdgrid.core.model import Chunk, Invitation, Record, Token
from crowdgrid.core.trust.policy import Policy
from crowdgrid.errors import BadInput
from crowdgrid.hub import logs
from crowdgrid.hub.access import TOKEN_PREFIX, Access, new_secret, secret_hash
from crowdgrid.hub.api.dispatch import nothing_here, routes
from crowdgrid.hub.api.endpoints import ENDPOINTS
from crowdgrid.hub.api.jobs import ENDED
from crowdgrid.hub.api.pages import PAGES
from crowdgrid.hub.bookkeeping import Bookkeeping
from crowdgrid.hub.collector import Collector
from crowdgrid.hub.folding import Folding
from crowdgrid.hub.happenings import Happenings
from crowdgrid.hub.inputs import Inputs
from crowdgrid.hub.keeper import Keeper
from crowdgrid.hub.links.clients import ClientLinks
from crowdgrid.hub.links.nodes import NodeLinks
from crowdgrid.hub.metrics import Metrics
from crowdgrid.hub.parts import Hub
from crowdgrid.hub.presence import Presence
from crowdgrid.hub.programs import Programs
from crowdgrid.hub.reduction import Reduction
from crowdgrid.hub.server import HubServer, listening_socket, server_of, url_of
from crowdgrid.hub.submission import Submissions
from crowdgrid.settings import HubSettings, is_loopback

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.hub.clock import Clock
    from crowdgrid.store import Store

ADMIN: Final = "admin"
SECRET_CHARS_MIN: Final = 16
INVITATION_USES: Final = 10_000  # of the one given by the environment
GOODBYE_SECONDS: Final = 2.0
log = logging.getLogger("crowdgrid.hub")


class App:
    """A hub: an ASGI application with a beginning and an end."""

    def __init__(
        self,
        hub: Hub,
        nodes: NodeLinks,
        clients: ClientLinks,
        collector: Collector,
        folding: Folding,
        bookkeeping: Bookkeeping,
    ) -> None:
        self.hub = hub
        self.nodes = nodes
        self.clients = clients
        self.collector = collector
        self.folding = folding
        self.bookkeeping = bookkeeping
        self._router = Router([*routes(hub, ENDPOINTS), *PAGES], redirect_slashes=False, default=nothing_here)
        self._links: dict[str, Any] = {"/v1/node": nodes, "/v1/client": clients}
        self._work: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._router(scope, receive, send)
        elif (link := self._links.get(scope["path"])) is not None:
            await link(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "There is no link here."})

    async def start(self) -> str:
        """Take the store over and go to work; returns the admin token if one was made just now.

        Raises:
            Unavailable: the store cannot be opened.
        """
        hub = self.hub
        await hub.keeper.start()
        hub.access.load(hub.keeper.opened.tokens, hub.keeper.opened.invitations)
        made = await make_sure_of_secrets(hub)
        self._work = [
            asyncio.create_task(self.collector.run(), name="collector"),
            asyncio.create_task(self.folding.run(), name="folding"),
            asyncio.create_task(self.bookkeeping.run(), name="bookkeeping"),
            asyncio.create_task(hub.metrics.watch_lag(), name="lag"),
            asyncio.create_task(hub.programs.learn_sizes(hub.keeper.opened.jobs), name="sizes"),
        ]
        return made

    async def say_goodbye(self) -> None:
        """End what would never end by itself: watchers and links."""
        self.hub.happenings.stop()
        self.clients.close("The hub is going down.")
        with suppress(TimeoutError):
            await asyncio.wait_for(self.nodes.close(), GOODBYE_SECONDS)

    async def stop(self) -> None:
        """Commit what waits and let go of everything."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.hub.programs.close()
        await self.hub.keeper.close()
        await self.hub.blobs.close()


def _policy(settings: HubSettings) -> Policy:
    return Policy(
        trust_least=settings.trust_least,
        trust_most=settings.trust_most,
        trust_up=settings.trust_up,
        trust_down=settings.trust_down,
        trust_from=settings.trust_from,
        absence_days=settings.absence_days,
        audit_rate=settings.audit_rate,
        canary_rate=settings.canary_rate,
        speculate=settings.speculate,
        closing_audits=settings.closing_audits,
        owners_vote_once=settings.owners_vote_once,
        blocks_vote_once=settings.blocks_vote_once,
    )


def build(
    settings: HubSettings, *, store: Store | None = None, blobs: Blobs | None = None, clock: Clock | None = None
) -> App:
    """A hub, wired and not yet started; store, blobs and clock as the settings say unless given."""
    store = store or _store(settings)
    blobs = blobs or _blobs(settings)
    keeper = Keeper(store, clock=clock, ranking=settings.ranking, policy=_policy(settings), blobs=blobs)
    access = Access(keeper.now)
    inputs = Inputs(store, blobs)
    programs = Programs(keeper, blobs)
    presence = Presence()
    submissions = Submissions(keeper, inputs, programs)
    nodes = NodeLinks(keeper, access, inputs, blobs, programs.sizes)
    clients = ClientLinks(keeper, access, submissions)
    hub = Hub(
        settings=settings,
        keeper=keeper,
        blobs=blobs,
        access=access,
        inputs=inputs,
        submissions=submissions,
        programs=programs,
        reduction=Reduction(store, blobs),
        happenings=Happenings(lambda: keeper.grid.batch, lambda: keeper.ids, time.monotonic),
        presence=presence,
        metrics=Metrics(keeper, presence, nodes.traffic, clients.figures),
        leases=nodes,
        names=clients.names,
    )
    _follow(hub, inputs)
    collector = Collector(
        keeper,
        blobs,
        keep_jobs_seconds=settings.keep_jobs_seconds,
        grace_seconds=settings.blob_grace_seconds,
        pause_seconds=settings.collect_seconds,
        is_read=clients.is_read,
    )
    return App(hub, nodes, clients, collector, Folding(keeper, hub.reduction), Bookkeeping(keeper))


def _follow(hub: Hub, inputs: Inputs) -> None:
    """Let the parts hear what is committed, and what a rebuilt engine starts from."""
    keeper = hub.keeper
    known: list[object] = [None]

    def begin_again(_: Sequence[Effect]) -> None:
        """After a rebuild the store's tokens and invitations count, not what was in memory."""
        if keeper.opened is not known[0]:
            known[0] = keeper.opened
            hub.access.load(keeper.opened.tokens, keeper.opened.invitations)

    def keep_chunks(records: Sequence[Record]) -> None:
        for record in records:
            if type(record) is Chunk:
                inputs.remember(record)

    def forget_chunks(batch: Sequence[Effect]) -> None:
        for effect in batch:
            if isinstance(effect, JobChanged) and effect.job.state in ENDED:
                inputs.forget(effect.job.number)

    keeper.listeners += [
        begin_again,
        hub.programs.saw,
        hub.presence.saw,
        hub.metrics.saw,
        hub.happenings.saw,
        forget_chunks,
    ]
    keeper.saved += [hub.access.saw, keep_chunks]
    keeper.resets += [hub.presence.clear, hub.happenings.start_over]


def _store(settings: HubSettings) -> Store:
    from crowdgrid.store.open import open_store

    return open_store(settings.store_url)


def _blobs(settings: HubSettings) -> Blobs:
    from crowdgrid.blobs.folder import FolderBlobs

    return FolderBlobs(settings.blobs_folder)


# --- secrets of the first start ----------------------------------------------------------------


async def make_sure_of_secrets(hub: Hub) -> str:
    """See that there is an admin token, and the token and invitation the settings name.

    Returns:
        A new admin token, made because there was none and none was named; "" otherwise. It is also written to
        `admin-token` in the data folder, readable by its owner only.
    """
    settings, keeper, access = hub.settings, hub.keeper, hub.access
    made = ""
    token = settings.admin_token
    if not token and not access.has_admin():
        token = made = new_secret(TOKEN_PREFIX)
        await asyncio.to_thread(_write_secret, settings, made)
    if token and not access.knows(_long_enough(token)):
        hashed = secret_hash(token)
        await keeper.ask(commands.Put(Token(0, hashed, ADMIN, ADMIN, "first", keeper.now())))
    code = settings.invitation
    if code and not access.knows(_long_enough(code)):
        invitation = Invitation(0, secret_hash(code), ADMIN, "", keeper.now(), INVITATION_USES)
        await keeper.ask(commands.Put(invitation))
    return made


def _long_enough(secret: str) -> str:
    if len(secret) < SECRET_CHARS_MIN:
        raise BadInput(
            f"A token or invitation given to the hub has at least {SECRET_CHARS_MIN} characters.",
            hint="Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return secret


def _write_secret(settings: HubSettings, secret: str) -> None:
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "admin-token"
    path.unlink(missing_ok=True)  # its mode may have been anything
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secret + "\n")


# --- running -----------------------------------------------------------------------------------


def serve(settings: HubSettings) -> int:
    """Run a hub until SIGTERM or SIGINT; returns the exit status.

    Raises:
        CrowdgridError: it cannot start, or another hub took its store over (Fenced).
    """
    logs.configure(settings.log)
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings))


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


async def _serve(settings: HubSettings) -> int:
    listener = listening_socket(settings)
    app = build(settings)
    server = server_of(app, settings)
    made = await app.start()
    stopping = _when_told_to_stop(settings)
    _announce(settings, url_of(listener, tls=settings.tls), made)
    serving = asyncio.create_task(server.serve([listener]), name="server")
    closed = asyncio.create_task(app.hub.keeper.wait_closed(), name="closed")
    await asyncio.wait({serving, closed, stopping}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    await _shut_down(app, server, serving)
    if closed.done() and (error := closed.exception()) is not None:
        raise error
    closed.cancel()
    return 0


async def _shut_down(app: App, server: HubServer, serving: asyncio.Task[None]) -> None:
    server.stop_accepting()
    await app.say_goodbye()
    server.stop()
    await serving
    await app.stop()


def _when_told_to_stop(settings: HubSettings) -> asyncio.Future[None]:
    """Done on SIGTERM, SIGINT, or when the parent that holds our stdin is gone."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not told.done():
            told.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if settings.with_parent:
        threading.Thread(target=_wait_for_parent, args=(loop, stop), daemon=True, name="parent").start()
    return told


def _wait_for_parent(loop: asyncio.AbstractEventLoop, stop: Any) -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    with suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(stop)


def _announce(settings: HubSettings, url: str, made: str) -> None:
    """Say where the hub listens and who can reach it; the only place where a secret is ever written out."""
    host, _ = settings.address
    reach = "this machine only" if is_loopback(host) else "everybody who can reach this address"
    log.info("the hub listens on %s (%s)", url, reach)
    if not (settings.tls or is_loopback(host)):
        log.warning("tokens, programs and results cross the network in the clear: --insecure was given")
    if made:
        sys.stderr.write(
            f"\nAdmin token, shown this once: {made}\nIt is kept in {settings.folder / 'admin-token'} (mode 0600).\n\n"
        )
        sys.stderr.flush()
