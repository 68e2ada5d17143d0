"""Submitters' own comparators: WASM programs that say whether two answers are the same, run here and in the sandbox.

Here and not on a node, because a node could lie about that as well. One worker process, started when the first is
needed, with the limits of `limits.COMPARATOR_*`. What a program said of two answers is remembered: the engine asks
again when an answer is long in coming.

The program gets the length of the first answer as its argument, and both answers, one after the other, on stdin. Exit code 0:
the same; 1: not. Anything else is its error: then the two are taken for different, and its owner is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from crowdgrid import limits
from crowdgrid.errors import CrowdgridError
from crowdgrid.runtimes import Finished, Limits, Outcome, Run

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.runtimes.wasm import WasmRuntime

_AT_ONCE: Final = 4  # runs before it is looked whether the program works at all
_KEPT: Final = 10_000
_LIMITS: Final = Limits(limits.COMPARATOR_MS, limits.COMPARATOR_BYTES, limits.STDERR_TAIL_BYTES)


class Said(NamedTuple):
    """What a comparator said of two answers. `problem`: a sentence, when it said nothing that can be used. `lasts`: it
    would say so again."""

    same: bool
    problem: str = ""
    lasts: bool = True


class OwnComparators:
    """See the module. Call it with a program's digest and pairs of answers."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._turn = asyncio.Lock()
        self._known: OrderedDict[bytes, Said] = OrderedDict()
        self._folder: Path | None = None
        self._runtime: WasmRuntime | None = None

    async def __call__(self, digest: str, pairs: Sequence[tuple[bytes, bytes]]) -> tuple[list[bool], str]:
        """For each pair whether it is the same answer, and the first problem there was."""
        keys = [_key(digest, one, other) for one, other in pairs]
        async with self._turn:
            found = {key: self._known[key] for key in keys if key in self._known}
            new = [at for at, key in enumerate(keys) if key not in found]
            for start in range(0, len(new), _AT_ONCE):
                some = new[start : start + _AT_ONCE]
                said = await self._run(digest, [pairs[at] for at in some])
                found.update(zip([keys[at] for at in some], said))
                if any(each.problem for each in said):
                    break
            self._remember(found)
        said = [found.get(key, Said(False)) for key in keys]
        return [each.same for each in said], next((each.problem for each in said if each.problem), "")

    def _remember(self, found: dict[bytes, Said]) -> None:
        self._known.update((key, said) for key, said in found.items() if said.lasts)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """End the worker and remove what was put on disk."""
        if self._runtime is not None:
            await self._runtime.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, digest: str, pairs: Sequence[tuple[bytes, bytes]]) -> list[Said]:
        try:
            path = await self._path(digest)
            runtime = await self._started(path.parent)
            runs = [Run((str(len(one)),), one + other, _LIMITS) for one, other in pairs]
            return [_said(finished) for finished in await runtime.run(digest, str(path), runs)]
        except CrowdgridError as error:
            return [Said(False, error.message, lasts=False)] * len(pairs)
        except OSError as error:
            return [Said(False, f"The hub could not run it: {error.strerror}.", lasts=False)] * len(pairs)

    async def _path(self, digest: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="crowdgrid-comparators-"))
        path = self._folder / digest
        if not path.exists():
            content = await self._blobs.read_bytes(digest)
            draft = path.with_suffix(".part")
            draft.write_bytes(content)
            draft.rename(path)
        return path

    async def _started(self, folder: Path) -> WasmRuntime:
        if self._runtime is None:
            from crowdgrid.runtimes.wasm import WasmRuntime  # loads nothing heavy before it is needed

            runtime = WasmRuntime(1, folder / "compiled")
            await runtime.start()
            self._runtime = runtime
        return self._runtime


def _said(finished: Finished) -> Said:
    if finished.outcome is Outcome.OK:
        return Said(True)
    if finished.outcome is Outcome.PROGRAM_ERROR and finished.exit_code == 1:
        return Said(False)
    return Said(False, finished.error, lasts=finished.outcome is Outcome.PROGRAM_ERROR)


def _key(digest: str, one: bytes, other: bytes) -> bytes:
    return b"".join((bytes.fromhex(digest), hashlib.sha256(one).digest(), hashlib.sha256(other).digest()))
