"""What the hub says is heard in the order in which it says it, however much of it comes in one frame."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from crowdgrid.client.address import Address
from crowdgrid.client.link import Link
from crowdgrid.core.model import Counts, Items, JobSpec
from crowdgrid.protocol import messages as m

INFO = m.JobInfo("j", "", "o", "", "sealed", False, "", 0, 0, 0, Counts(units=1), JobSpec("0" * 64, Items()))
FINAL = replace(INFO, state="final", counts=Counts(units=1, units_done=1))


def test_a_job_that_ends_while_it_is_taken_in_hand_is_seen_to_end() -> None:
    """Its last news may stand right behind the answer; whoever waits for it would wait for ever."""

    async def story() -> None:
        link = Link(Address.parse("127.0.0.1:1"))
        asked = asyncio.create_task(link.attach("j"))
        await asyncio.sleep(0)
        link._take(m.Opened(1, INFO))
        link._take(m.JobUpdate(FINAL))
        assert (await asked).ended

    asyncio.run(story())


def test_a_job_that_ends_while_a_new_connection_takes_it_in_hand_is_seen_to_end() -> None:
    async def story() -> None:
        link = Link(Address.parse("127.0.0.1:1"))
        asked = asyncio.create_task(link.attach("j"))
        await asyncio.sleep(0)
        link._take(m.Opened(1, INFO))
        job = await asked
        link.attach_again(job)
        link._take(m.Opened(2, INFO))
        link._take(m.JobUpdate(FINAL))
        await asyncio.sleep(0)
        assert job.resumed == INFO.counts
        assert job.ended

    asyncio.run(story())


def test_a_job_nobody_asked_for_any_longer_is_not_kept() -> None:
    async def story() -> None:
        link = Link(Address.parse("127.0.0.1:1"))
        asked = asyncio.create_task(link.attach("j"))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        link._take(m.Opened(1, INFO))
        assert link.jobs == {}

    asyncio.run(story())
