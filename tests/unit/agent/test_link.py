"""The link by itself: a hub that is away for long, an unsure handshake, and a goodbye that gets through."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid.agent.link import Link, system_tls
from crowdgrid.agent.settings import hub_address
from crowdgrid.errors import BadInput, NotAllowed
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.signing import public_bytes
from tests.unit.agent.hub import SECONDS, ScriptedHub, serving

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Ear:
    """Records what the link tells."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.is_up = asyncio.Event()
        self.is_down = asyncio.Event()

    def hello(self) -> m.Hello:
        return m.Hello(1, public_bytes(KEY))

    def up(self, welcome: m.Welcome) -> None:
        self.is_up.set()

    def received(self, messages: Sequence[m.HubToNode]) -> None:
        self.heard += messages

    def down(self, refused: bool) -> None:
        self.heard.append("refused" if refused else "down")
        self.is_down.set()


class Time:
    """Sleeping that takes no time and is counted; `at` makes something happen when enough has passed."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.waits: list[float] = []
        self.at: tuple[float, Any] | None = None

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.waits.append(seconds)
        if self.at is not None and self.passed >= self.at[0]:
            (_, then), self.at = self.at, None
            await then()
        await asyncio.sleep(0)


def link_to(url: str, ear: Ear, time: Time | None = None) -> Link:
    sleep = time.sleep if time else asyncio.sleep
    return Link(hub_address(url), KEY, ear, lambda: system_tls(), sleep=sleep, rng=random.Random(7))


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()


def test_a_hub_that_is_away_for_a_minute_is_tried_for_ever_more_rarely() -> None:
    async def play() -> None:
        hub = ScriptedHub()
        await hub.start()
        await hub.stop()
        ear, time = Ear(), Time()
        time.at = (60.0, hub.start)
        run = asyncio.create_task(link_to(hub.url, ear, time).run())
        await soon(ear.is_up)
        assert time.passed >= 60
        assert 5 < len(time.waits) < 40
        assert max(time.waits) <= 30
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await hub.stop()

    asyncio.run(play())


def test_a_restarted_hub_is_found_soon_after_it_is_back() -> None:
    async def play() -> None:
        async with serving() as hub:
            ear, time = Ear(), Time()
            run = asyncio.create_task(link_to(hub.url, ear, time).run())
            await soon(ear.is_up)
            ear.is_up.clear()
            await hub.stop()
            await soon(ear.is_down)
            time.passed = 0.0
            time.at = (5.0, hub.start)  # away for five seconds
            await soon(ear.is_up)
            assert time.passed < 5.0 + 2.0
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    asyncio.run(play())


def test_what_is_said_in_one_turn_travels_in_one_frame_and_nothing_is_kept_for_later() -> None:
    async def play() -> None:
        async with serving() as hub:
            ear = Ear()
            link = link_to(hub.url, ear)
            link.send(m.Fetch(99))  # there is no link yet: this must not arrive late
            run = asyncio.create_task(link.run())
            await soon(ear.is_up)
            session = await hub.session()
            before = len(session.frames)
            link.send(m.Fetch(1))
            link.send(m.Heartbeat((b"a" * 16,), 5), m.Fetch(2))
            await session.next(m.Fetch, lambda offer: offer.slots == 2)
            assert len(session.frames) == before + 1
            assert [offer.slots for offer in session.all(m.Fetch)] == [1, 2]
            await link.close("enough")
            await session.ended()
            assert session.received[-1] == m.Bye("enough")
            async with asyncio.timeout(SECONDS):
                await run  # closed on purpose: it ends by itself

    asyncio.run(play())


def test_a_grid_that_changes_its_name_in_the_handshake_is_not_trusted() -> None:
    async def play() -> None:
        async with serving() as hub:
            hub.grid = b"another grid!!!!"
            ear, time = Ear(), Time()
            run = asyncio.create_task(link_to(hub.url, ear, time).run())
            await hub.greetings(3)
            assert not ear.is_up.is_set()
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (m.Error("bad_input", "A result is not what was signed.", fatal=True), "refused"),
        (m.Error("unavailable", "The hub starts over.", fatal=True, retry_after_ms=500), "down"),
        (m.Error("something_new", "Who knows.", fatal=True), "down"),
    ],
)
def test_a_fatal_error_on_a_link_that_worked_is_no_end(error: m.Error, heard: str) -> None:
    async def play() -> None:
        async with serving() as hub:
            ear, time = Ear(), Time()
            run = asyncio.create_task(link_to(hub.url, ear, time).run())
            session = await hub.session()
            await session.send(m.Error("busy", "Just so you know."), error)
            await hub.session()
            assert heard in ear.heard
            assert time.waits[-1] >= error.retry_after_ms / 1000
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    asyncio.run(play())


def test_a_node_that_is_removed_while_linked_stops() -> None:
    async def play() -> None:
        async with serving() as hub:
            ear = Ear()
            run = asyncio.create_task(link_to(hub.url, ear).run())
            session = await hub.session()
            await session.send(m.Error("not_allowed", "This node was removed.", fatal=True))
            with pytest.raises(NotAllowed, match="removed"):
                await run

    asyncio.run(play())


def test_a_wrong_certificate_is_an_error_and_not_a_retry(tmp_path: Any) -> None:
    """An agent that connected anyway would hand its work to whoever answers."""
    import ssl

    from tests.unit.agent.certificates import self_signed

    async def play() -> None:
        certificate, key = self_signed(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotAllowed, match="cannot be trusted") as refused:
            await link_to(f"https://127.0.0.1:{port}", Ear()).run()
        assert "--ca" in refused.value.hint
        server.close()

    asyncio.run(play())


def test_a_file_that_is_no_certificate_is_said(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(BadInput, match="certificate authority"):
        system_tls(str(tmp_path / "ca.pem"))


def test_a_hub_that_goes_down_during_the_goodbye_is_no_failure() -> None:
    """Both may be stopped at once: what is closed then is the connection there was."""

    async def play() -> None:
        async with serving() as hub:
            ear = Ear()
            link = link_to(hub.url, ear)
            run = asyncio.create_task(link.run())
            await soon(ear.is_up)
            session = await hub.session()
            goodbye = asyncio.create_task(link.close("enough"))
            await session.ended()
            link._socket = None  # what losing the connection does, whenever it comes
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(goodbye, run)

    asyncio.run(play())
