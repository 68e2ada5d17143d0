"""Items into a job: inside a message when they fit, else packed into a blob that the message names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from crowdgrid import limits
from crowdgrid.client.joblink import JobLink
from crowdgrid.errors import TooLarge
from crowdgrid.protocol.packing import pack_chunk, packed_bytes


async def append_chunk(
    job: JobLink, chunk: Sequence[bytes], put_blob: Callable[[bytes], Awaitable[str]]
) -> asyncio.Future[int]:
    """Append items that belong together; call it for one chunk of a job at a time.

    Returns:
        A future of the number of units the job then has, durably.

    Raises:
        TooLarge: a single item is over the limit; nothing was appended.
    """
    if packed_bytes(len(chunk), sum(map(len, chunk))) <= limits.INLINE_BYTES:
        return job.append(chunk)
    packed = pack_chunk(chunk)
    if len(packed) > limits.CHUNK_BYTES:
        raise TooLarge(
            f"An item of {len(chunk[0]):,} bytes is over the limit of {limits.CHUNK_BYTES:,}.",
            hint="Split the input into smaller items.",
        )
    return job.append(blob=await put_blob(packed), units=len(chunk))
