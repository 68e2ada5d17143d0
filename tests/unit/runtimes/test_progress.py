"""What a worker wrote about itself is what its pool reads, from another mapping of the same file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crowdgrid.runtimes import progress
from crowdgrid.runtimes.output import Ring
from crowdgrid.runtimes.progress import NOTES_AT, NUMBER_SHIFT, RING_BYTES, RUNS_MAX, STATE, Doing, Progress


@pytest.fixture
def page() -> Iterator[int]:
    descriptor = progress.make()
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("doing", [Doing(0, 1), Doing(999, 1 << 39), Doing(RUNS_MAX - 1, (1 << 40) - 1), Doing(5, 0)])
def test_the_pool_reads_which_run_is_under_way_and_since_when(page: int, doing: Doing) -> None:
    worker, pool = Progress(page), Progress(page)
    assert pool.read() == Doing(-1, 0)
    worker.words[STATE] = (doing.run + 1) << NUMBER_SHIFT | doing.since_ms
    assert pool.read() == doing
    pool.clear()
    assert worker.read() == Doing(-1, 0)


@given(st.lists(st.binary(max_size=3 * RING_BYTES), max_size=8))
@example([b"x" * RING_BYTES, b"y"])
@example([b"x" * (RING_BYTES - 1), b"yz"])
@example([b"x" * (2 * RING_BYTES + 1)])
def test_of_what_is_written_the_end_is_kept(pieces: list[bytes]) -> None:
    descriptor = progress.make()
    try:
        output = Ring(Progress(descriptor))
        for piece in pieces:
            assert output.write(piece) == len(piece)
        assert Progress(descriptor).tail() == b"".join(pieces)[-RING_BYTES:]
        assert output.used == bool(pieces)
    finally:
        os.close(descriptor)


def test_text_that_is_no_text_can_be_printed(page: int) -> None:
    stream = Ring(Progress(page)).as_text()
    print("half a pair: \ud800", "ü", file=stream)
    stream.close()
    print("and on", end="", file=stream)
    assert Progress(page).tail() == "half a pair: \\ud800 ü\nand on".encode()


def test_what_a_fatal_signal_leaves_is_found(page: int) -> None:
    pool = Progress(page)
    assert pool.notes() == b""
    os.pwrite(page, b"Fatal Python error", NOTES_AT)
    assert pool.notes() == b"Fatal Python error"


def test_the_file_is_in_memory_or_nowhere_anybody_finds_it(page: int) -> None:
    assert os.fstat(page).st_nlink == 0
    assert os.fstat(page).st_size == progress.FILE_BYTES
