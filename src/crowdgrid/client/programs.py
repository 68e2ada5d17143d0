"""What a job's program is called, for people: Python functions say so in their first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from crowdgrid.core.model import UNSANDBOXED
from crowdgrid.errors import CrowdgridError
from crowdgrid.protocol.functions import MAGIC

if TYPE_CHECKING:
    from crowdgrid.client.rest import Rest

HEAD_BYTES: Final = 2_000  # the longest name a function may have, and what is before it

_known: dict[str, str] = {}


async def function_name(rest: Rest, runtime: str, program: str) -> str:
    """The function a job calls; "" for other programs, or when the hub does not tell."""
    if runtime not in UNSANDBOXED:
        return ""
    if program not in _known:
        try:
            head = await rest.fetch("GET", f"/v1/blobs/{program}", headers={"Range": f"bytes=0-{HEAD_BYTES - 1}"})
        except CrowdgridError:
            return ""
        _known[program] = name_in(head)
    return _known[program]


def name_in(head: bytes) -> str:
    """The name in the first bytes of a packed function (its second text), "" when there is none.

    The rest of it may be megabytes, which nobody should have to fetch for a name.
    """
    if not head.startswith(MAGIC):
        return ""
    texts = _texts(head[len(MAGIC) + 1 :])  # after the head of the array
    next(texts, "")
    return next(texts, "")


def _texts(data: bytes) -> Iterator[str]:
    """The texts of msgpack's three short forms that `data` begins with."""
    at = 0
    while at < len(data):
        kind = data[at]
        if 0xA0 <= kind <= 0xBF:
            size, begin = kind & 0x1F, at + 1
        elif kind in (0xD9, 0xDA):
            width = kind - 0xD8
            size, begin = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
        else:
            return
        at = begin + size
        if at > len(data):
            return
        yield data[begin:at].decode(errors="replace")
