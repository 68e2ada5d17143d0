"""Submitters' own comparators, run by the hub in the sandbox: what they say, and what becomes of those that do not work."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from crowdgrid import kernels, limits
from crowdgrid.blobs.folder import FolderBlobs
from crowdgrid.hub.comparing import OwnComparators
from crowdgrid.runtimes import Limits

WORDS = kernels.path("words").read_bytes()
LOOPS = wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))')
TRAPS = wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start") unreachable))')
QUICK = Limits(300, limits.COMPARATOR_BYTES, limits.STDERR_TAIL_BYTES)
PAIRS = [(b"a  b\n", b"a b"), (b"a b", b"ab"), (b"", b" \t\n"), (b"x" * 300_000, b"x" * 300_000 + b" ")]


def exits(code: int) -> bytes:
    return bytes(
        wasmtime.wat2wasm(
            '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
            f' (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))'
        )
    )


def play(folder: Path, program: bytes, story: Callable[[OwnComparators, str], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        blobs = FolderBlobs(folder / "blobs")
        digest = await blobs.put_bytes(program) if program else hashlib.sha256(b"").hexdigest()
        comparators = OwnComparators(blobs)
        try:
            return await story(comparators, digest)
        finally:
            await comparators.close()

    return asyncio.run(main())


def test_what_a_program_says_counts(tmp_path: Path) -> None:
    async def story(comparators: OwnComparators, digest: str) -> Any:
        return await comparators(digest, PAIRS)

    assert play(tmp_path, WORDS, story) == ([True, False, True, True], "")


def test_it_is_asked_once(tmp_path: Path) -> None:
    """The engine asks again when an answer is long in coming: the second time nothing is run."""

    async def story(comparators: OwnComparators, digest: str) -> Any:
        first = await asyncio.gather(comparators(digest, PAIRS), comparators(digest, PAIRS))
        assert comparators._runtime is not None
        await comparators._runtime.close()
        return [*first, await comparators(digest, PAIRS)]

    assert play(tmp_path, WORDS, story) == [([True, False, True, True], "")] * 3


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (exits(3), "The program exited with code 3."),
        (TRAPS, "unreachable"),
        (LOOPS, "ran longer than"),
        (b"", "no blob"),
    ],
    ids=["exit 3", "trap", "loop", "gone"],
)
def test_one_that_does_not_work_takes_all_for_different_and_says_why(
    tmp_path: Path, program: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdgrid.hub.comparing._LIMITS", QUICK)

    async def story(comparators: OwnComparators, digest: str) -> Any:
        return await comparators(digest, [(b"%d" % at, b"%d " % at) for at in range(20)])

    same, problem = play(tmp_path, program, story)
    assert same == [False] * 20
    assert says.lower() in problem.lower()


def test_exit_codes_are_same_and_different(tmp_path: Path) -> None:
    async def story(comparators: OwnComparators, digest: str) -> Any:
        return await comparators(digest, [(b"1", b"2")])

    assert play(tmp_path / "0", exits(0), story) == ([True], "")
    assert play(tmp_path / "1", exits(1), story) == ([False], "")


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    async def story(comparators: OwnComparators, digest: str) -> Any:
        await comparators(digest, PAIRS)
        return len(list((tmp_path / "temporary").iterdir()))

    assert play(tmp_path, WORDS, story) >= 1
    assert list((tmp_path / "temporary").glob("crowdgrid-comparators-*")) == []
