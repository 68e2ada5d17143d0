"""The first act: the nonces of three real blocks, each found in a stated window of 10^8."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from crowdgrid import kernels
from crowdgrid.cli.demo.watch import Watch
from crowdgrid.client.splits import Range
from crowdgrid.errors import JobFailed

if TYPE_CHECKING:
    from crowdgrid.cli.demo.processes import Crowd
    from crowdgrid.cli.demo.stage import Stage

TASKS_A_WINDOW: Final = 128
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the Bitcoin main chain: 80 bytes of header in hex, and what is known of it."""

    height: int
    header: str
    nonce: int
    hash: str


@dataclass(frozen=True, slots=True)
class Search:
    """What came of one block."""

    block: Block
    window: Range
    found: int | None
    hash: str
    tasks: int
    by_node: dict[str, int]
    seconds: float
    stopped_seconds: float

    @property
    def right(self) -> bool:
        """Whether the nonce found makes the hash the block is known by."""
        return self.found == self.block.nonce and self.hash == self.block.hash


def blocks() -> list[Block]:
    """The blocks that come with crowdgrid."""
    told = json.loads(files("crowdgrid.cli.demo").joinpath("bitcoin_headers.json").read_text(encoding="utf-8"))
    return [Block(**block) for block in told["blocks"]]


def window_of(nonce: int, size: int) -> Range:
    """The window of `size` nonces, aligned to its size, that holds this one: where in it the winner lies is chance."""
    start = nonce // size * size
    return Range(start, start + size, piece=max(1, size // TASKS_A_WINDOW))


def hash_of(header: str, nonce: int) -> str:
    """The block's hash with this nonce: SHA-256 twice over the 80 bytes, shown in reversed order."""
    data = bytes.fromhex(header)[:76] + nonce.to_bytes(4, "little")
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[::-1].hex()


def search_all(crowd: Crowd, shown: Stage, size: int) -> list[Search]:
    """Search every block's window."""
    return [_search(crowd, shown, block, size) for block in blocks()]


def _search(crowd: Crowd, shown: Stage, block: Block, size: int) -> Search:
    window = window_of(block.nonce, size)
    shown.say(f"Block {block.height:,}: its nonce is searched for in [{window.start:,}, {window.stop:,}).")
    shown.act(f"nonce of block {block.height:,}")
    began = time.monotonic()
    job = crowd.grid.run(kernels.path("nonces"), args=[block.header], split=window, reduce="first")
    watch = Watch(job)
    while job.state not in {"completed", "final", "failed", "cancelled", "invalid"}:
        shown.at(watch.units / (window.stop - window.start), f"{watch.tasks} tasks")
        time.sleep(LOOK_SECONDS)
    ended = time.monotonic()
    try:
        answer = job.result(timeout=30)
    except JobFailed as error:
        shown.say(str(error))
        answer = None
    watch.stop()
    found = int(answer) if answer else None
    cancelled = TASKS_A_WINDOW - watch.tasks
    shown.at(1.0, f"{found or 'nothing'}, {watch.tasks} tasks, {cancelled} spared")
    stopped = max(0.0, ended - watch.last)
    if found is not None:
        shown.say(f"Block {block.height:,}: found; the search stopped everywhere {stopped * 1000:.0f} ms later.")
    return Search(
        block=block,
        window=window,
        found=found,
        hash=hash_of(block.header, found) if found is not None else "",
        tasks=watch.tasks,
        by_node=watch.by_name(crowd.names()),
        seconds=ended - began,
        stopped_seconds=stopped,
    )
