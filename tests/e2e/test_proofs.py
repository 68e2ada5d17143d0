"""Results that carry their node's signature, from a real agent through a real hub to the client that checks them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from crowdgrid.client import background
from crowdgrid.client.address import Address
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.link import Link
from crowdgrid.client.proving import NotProved, verified
from crowdgrid.client.rest import Rest
from crowdgrid.core.model import Items
from crowdgrid.core.reducing.answers import unpack_answers
from crowdgrid.protocol import messages as m
from tests.e2e.grid import SECONDS, TOKEN, Grid

PROGRAM = b"the echo runtime needs none"
ITEMS = [b"%d" % n for n in range(300)] + [b"x" * 100_000]  # the last one's answer is kept as a blob


async def opened(link: Link, rest: Rest) -> JobLink:
    digest = await rest.put_program(PROGRAM, "echo")
    job = await link.open(m.JobRequest(program=digest, split=Items(piece=7), runtime="echo", key="proved"))
    for at in range(0, 300, 100):
        await job.append(ITEMS[at : at + 100])
    await job.append(ITEMS[300:])
    await job.seal()
    return job


async def rows_of(job: JobLink, *, signed: bool) -> list[m.ResultRow]:
    """Every row, once the job has ended: how many there are depends on when it was appended to."""
    rows: list[m.ResultRow] = []
    news = asyncio.Event()

    def arrived(found: Sequence[m.ResultRow]) -> None:
        rows.extend(found)
        news.set()

    job.watchers.append(news.set)
    job.read(arrived, signed=signed)
    async with asyncio.timeout(SECONDS):
        while not job.ended or len(rows) < job.info.counts.validated:
            await news.wait()
            news.clear()
    job.stop_reading()
    return rows


async def check(rest: Rest, rows: list[m.ResultRow]) -> None:
    program = hashlib.sha256(PROGRAM).hexdigest()
    node = (await rest.get("/v1/nodes"))["nodes"][0]["id"]
    units: dict[int, bytes] = {}
    for row in rows:
        payload = await rest.blob(row.blob) if row.blob else row.payload
        assert verified(row, payload, program, row.proof) == node
        units.update(enumerate([answer.data for answer in unpack_answers(payload)], row.start))
        other = rows[(row.ordinal + 1) % len(rows)]
        with pytest.raises(NotProved):
            verified(replace(row, proof=other.proof), payload, program, other.proof)
    assert [units[at] for at in range(len(ITEMS))] == ITEMS


async def story(grid: Grid) -> None:
    address = Address.parse(grid.url, TOKEN)
    link, rest = Link(address), Rest(address)
    await link.start(patience=SECONDS)
    try:
        job = await opened(link, rest)
        await check(rest, await rows_of(job, signed=True))  # as they settle
        await asyncio.to_thread(grid.hub.kill)
        await asyncio.to_thread(grid.restart_hub)
        again = await link.attach(job.id)
        assert all(row.proof is None for row in await rows_of(again, signed=False))
        await check(rest, await rows_of(again, signed=True))  # from the store of a hub that remembers none
    finally:
        await rest.close()
        await link.close()


def test_every_row_is_proved_to_be_the_agents(tmp_path: Path) -> None:
    """What the client needs before it opens a pickle: live rows, rows after a restart, and answers kept as blobs."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        grid.start_agents(1, runtimes=("echo",))
        background.run(story(grid))
