"""Items into a job: inside a message when they fit, else packed into a blob that the message names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from crowdgrid import limits
from crowdgrid.client.appends import Appends
from crowdgrid.client.joblink import JobLink
from crowdgrid.errors import TooLarge
from crowdgrid.protocol.packing import pack_chunk, packed_bytes


async def append_chunk(
    job: JobLink | Appends, chunk: Sequence[bytes], put_blob: Callable[[bytes], Awaitable[str]]
) -> asyncio.Future[int]:
    """Append items that belong together; call it for one chunk of a job at a time.

    Returns:
        A future of the number of units the job then has, durably.

    Raises:
        TooLarge: a single item is over the limit; nothing was appended.
    """
    size = packed_bytes(len(chunk), sum(map(len, chunk)))
    if size <= limits.INLINE_BYTES:
        return job.append(chunk)
    if len(chunk) == 1 and len(chunk[0]) > limits.ITEM_BYTES:
        raise TooLarge(
            f"An item of {len(chunk[0]):,} bytes is over the limit of {limits.ITEM_BYTES:,}.",
            hint="Split it into several, or send a reference to it (an address, a path every node can read).",
        )
    packed = pack_chunk(chunk) if size <= limits.CHUNK_BYTES else await asyncio.to_thread(pack_chunk, chunk)
    return job.append(blob=await put_blob(packed), units=len(chunk))
