"""The asynchronous face: the same answers, and the caller's event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import crowdgrid as cg
from crowdgrid import aio

SECONDS = 60


def square(x: int) -> int:
    return x * x


def picky(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return x


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, str]]:
    with cg.local(agents=1, cpus=2) as grid:
        yield grid.url, grid.connection.address.token


def test_calls_and_maps_are_awaited_while_the_loop_goes_on(address: tuple[str, str]) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        async with aio.connect(*address) as grid:
            assert await grid.call(square, 5) == 25
            assert [y async for y in grid.map(square, range(2_000))] == [x * x for x in range(2_000)]
        ticking.cancel()
        assert ticks > 10

    asyncio.run(main())


def test_jobs_are_awaited(address: tuple[str, str]) -> None:
    async def main() -> None:
        async with aio.connect(*address) as grid:
            job = await grid.spawn_map(square, range(100), name="async")
            assert await job.wait(SECONDS) == "final"
            assert await job.result(SECONDS) == [x * x for x in range(100)]
            again = await grid.job("async")
            found = {given: value async for given, value in again.as_completed(with_inputs=True)}
            assert found == {x: x * x for x in range(100)}
            assert len([row async for row in again.results()]) == 100
            primes = await grid.run(cg.kernels.path("primes"), split=cg.Range(0, 10**6), reduce="sum")
            assert await primes.result(SECONDS) == 78_498
            assert await primes.errors() == []
            assert await primes.why()

    asyncio.run(main())


def test_a_failed_call_is_raised_where_it_is_awaited(address: tuple[str, str]) -> None:
    async def main() -> None:
        async with aio.connect(*address) as grid:
            with pytest.raises(ValueError, match="three"):
                await grid.call(picky, 3)
            found: list[object] = []
            with pytest.raises(ValueError, match="three"):
                found += [y async for y in grid.map(picky, range(10))]
            kept = [y async for y in grid.map(picky, range(5), return_exceptions=True)]
            assert [type(y) for y in kept] == [int, int, int, ValueError, int]

    asyncio.run(main())


def test_waiting_can_be_cancelled(address: tuple[str, str]) -> None:
    async def main() -> None:
        async with aio.connect(*address) as grid:
            job = await grid.spawn_map(forever, [1])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await job.result()
            await job.cancel()
            assert await job.wait(SECONDS) == "cancelled"

    asyncio.run(main())


def forever(x: int) -> int:
    import time

    while True:
        time.sleep(0.1)
