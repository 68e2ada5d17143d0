"""Blobs on this machine: checked against their digest, fetched once, and not more of them than agreed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from crowdgrid.agent.programs import Programs
from crowdgrid.agent.settings import hub_address
from crowdgrid.agent.transfer import Transfer
from crowdgrid.errors import BadInput, NotFound, TooLarge, Unavailable
from tests.unit.agent.hub import TOKEN, ScriptedHub, serving


class Shop:
    """The cache in a folder, and the hub it fetches from."""

    def __init__(self, hub: ScriptedHub, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self.transfer = Transfer(hub_address(hub.url), lambda: pytest.fail("no TLS here"))
        self.transfer.token = TOKEN
        self.programs = self.opened()

    def opened(self, bytes_max: int = 1 << 20) -> Programs:
        return Programs(self.folder, self.transfer, bytes_max, sleep=lambda seconds: asyncio.sleep(0))

    @property
    def here(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


def shop(story: Callable[[Shop], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    @wraps(story)
    def test(tmp_path: Path) -> None:
        async def play() -> None:
            async with serving() as hub:
                await story(Shop(hub, tmp_path / "cache"))

        asyncio.run(play())

    del test.__wrapped__  # pytest would ask for the story's own arguments
    return test


@shop
async def test_many_that_ask_at_once_share_one_download(s: Shop) -> None:
    digest = s.hub.put(b"program" * 100_000)
    found = await asyncio.gather(*(s.programs.path(digest) for _ in range(10)))
    assert {path.read_bytes() for path in found} == {b"program" * 100_000}
    assert s.hub.blobs_got == [digest]
    assert s.here == {digest}


@shop
async def test_what_was_fetched_is_here_after_a_restart(s: Shop) -> None:
    digest = s.hub.put(b"program")
    await s.programs.path(digest)
    (s.folder / "left-over.part").write_bytes(b"half")
    again = s.opened()
    assert again.here(digest) == s.folder / digest
    assert s.here == {digest}


@shop
async def test_content_that_is_not_what_its_name_says_never_appears(s: Shop) -> None:
    digest = s.hub.put(b"program")
    s.hub.blobs[digest] = b"something else"
    with pytest.raises(BadInput, match="another digest"):
        await s.programs.path(digest)
    assert s.here == set()


@shop
async def test_an_input_damaged_on_disk_is_fetched_anew(s: Shop) -> None:
    digest = s.hub.put(b"input")
    (await s.programs.path(digest)).write_bytes(b"inpuT")
    assert await s.programs.read([digest]) == {digest: b"input"}
    (s.folder / digest).unlink()
    assert await s.programs.read([digest]) == {digest: b"input"}


@shop
async def test_the_longest_unused_go_first_when_there_is_no_room(s: Shop) -> None:
    programs = s.opened(bytes_max=2_500)
    first, second, third = (s.hub.put(letter * 1_000) for letter in (b"a", b"b", b"c"))
    await programs.path(first)
    await programs.path(second)
    programs.here(first)
    await programs.path(third)
    assert s.here == {first, third}
    huge = s.hub.put(b"d" * 5_000)
    assert (await programs.path(huge)).exists()  # what is needed now is kept, whatever its size


@shop
async def test_what_the_hub_has_not_is_not_found_and_asked_for_once(s: Shop) -> None:
    with pytest.raises(NotFound):
        await s.programs.path("ab" * 32)
    assert len(s.hub.blobs_got) == 1


@shop
async def test_a_token_that_is_not_valid_yet_is_worth_another_try(s: Shop) -> None:
    """After a reconnect the hub may not know yet what this node holds."""
    digest = s.hub.put(b"program")
    s.transfer.token = "old"

    async def renewed(seconds: float) -> None:
        s.transfer.token = TOKEN

    programs = Programs(s.folder, s.transfer, 1 << 20, sleep=renewed)
    assert (await programs.path(digest)).read_bytes() == b"program"


@shop
async def test_what_is_wanted_ahead_is_here_when_it_is_read(s: Shop) -> None:
    digest, missing = s.hub.put(b"input"), "ab" * 32
    s.programs.want([digest, missing])
    assert await s.programs.read([digest]) == {digest: b"input"}
    assert s.hub.blobs_got.count(digest) == 1
    with pytest.raises(NotFound):
        await s.programs.read([missing])
    await s.programs.close()


@shop
async def test_more_than_agreed_is_not_downloaded(s: Shop) -> None:
    digest = s.hub.put(os.urandom(300_000))
    with pytest.raises(TooLarge):
        await s.transfer.get(digest, s.folder / digest, 100_000)
    assert s.here == set()


@shop
async def test_an_upload_arrives_whole(s: Shop) -> None:
    payload = os.urandom(3_000_000)
    digest = hashlib.sha256(payload).hexdigest()
    await s.transfer.put(digest, payload)
    assert s.hub.blobs[digest] == payload


@shop
async def test_a_hub_that_is_gone_is_worth_another_try(s: Shop) -> None:
    digest = s.hub.put(b"program")
    await s.hub.stop()
    with pytest.raises(Unavailable, match="could not be moved"):
        await s.transfer.get(digest, s.folder / digest, 1000)
    await s.hub.start()


@shop
async def test_an_order_to_end_breaks_a_download_off(s: Shop) -> None:
    """A thread that waits for a silent hub must not hold up the end of the agent."""
    over = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the agent hangs up
        writer.close()
        over.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    transfer = Transfer(hub_address(f"http://127.0.0.1:{port}"), lambda: pytest.fail("no TLS here"))
    waiting = asyncio.create_task(transfer.get("ab" * 32, s.folder / "x", 1000))
    while not any(connection.sock for connection in transfer._open):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    transfer.close()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await waiting
        await over.wait()
    silent.close()
