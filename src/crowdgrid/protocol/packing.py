"""Bytes inside messages: packed items, packed answers, a lease's input, and the digests that are signed.

Layout of a chunk (all integers little endian): version 0x01, count n as u32, the end offset of each item as
n × u32, then the items' bytes. So an item is found without reading those before it, and a slice of a chunk
needs no copy of the rest.

An `Input` is what a node gets for a task. It names how often the program runs, the arguments each run gets after
the job's own, and the bytes on stdin. The same task always gets the same `Input`, so its digest is the task's.

Everything here may come from a stranger: nothing is read beyond its end, nothing is allocated on the word of a
length field, and what does not fit is `errors.BadInput`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.core.reducing.answers import Answer, pack_answers, unpack_answers
from crowdgrid.errors import BadInput, TooLarge

__all__ = [
    "Answer",
    "Input",
    "Part",
    "answer_digest",
    "blobs_of",
    "check_chunk",
    "chunk_count",
    "cut_chunk",
    "head_count",
    "input_digest",
    "pack_answers",
    "pack_chunk",
    "pack_tails",
    "packed_bytes",
    "runs_of",
    "slice_bytes",
    "slice_chunk",
    "unpack_answers",
]

CHUNK_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BI")
_OFFSET_BYTES: Final = 4
_BYTES_MAX: Final = (1 << 32) - 1
ITEM_HEAD_BYTES: Final = _HEAD.size + _OFFSET_BYTES  # what stands before the item in a chunk of one
_INPUT_TAG: Final = b"crowdgrid input 1\0"
_ERROR_TAG: Final = b"crowdgrid error 1\0"


Tails: TypeAlias = tuple[tuple[str, ...], ...]


# --- chunks ----------------------------------------------------------------------------------


def packed_bytes(count: int, size: int) -> int:
    """The length of a chunk of `count` items that have `size` bytes together."""
    return _HEAD.size + _OFFSET_BYTES * count + size


def pack_chunk(items: Sequence[bytes]) -> bytes:
    """The chunk that holds `items` in order. Raises TooLarge at 4 GiB."""
    ends = list(accumulate(map(len, items)))
    if ends and ends[-1] > _BYTES_MAX:
        raise TooLarge("A chunk holds at most 4 GiB.", hint="Append in smaller parts.")
    return b"".join((_HEAD.pack(CHUNK_VERSION, len(ends)), struct.pack(f"<{len(ends)}I", *ends), *items))


def chunk_count(data: bytes) -> int:
    """How many items a chunk holds. Raises BadInput when it is no chunk or shorter than its index."""
    count = _count(data)
    if _HEAD.size + _OFFSET_BYTES * count > len(data):
        raise BadInput("A chunk of input is shorter than its index.")
    return count


def _count(data: bytes) -> int:
    if len(data) < _HEAD.size:
        raise BadInput("A chunk of input is shorter than its header.")
    version, count = _HEAD.unpack_from(data)
    if version != CHUNK_VERSION:
        raise BadInput(f"A chunk of input has the unknown version {version}.", hint="Is the sender newer than this?")
    return int(count)


def head_count(head: bytes, size: int) -> int:
    """How many items a larger chunk of `size` bytes holds, from its first `ITEM_HEAD_BYTES`; a single one is checked.

    Raises:
        BadInput: it is no chunk, or its only item does not fill it.
    """
    count = _count(head)
    if not count:
        raise BadInput("A chunk of input has bytes after its last item.")
    if count == 1 and int.from_bytes(head[_HEAD.size :], "little") != size - ITEM_HEAD_BYTES:
        raise _unfit()
    return count


def slice_chunk(data: bytes, start: int, stop: int) -> list[bytes]:
    """Items [start, stop) of a chunk. Raises BadInput when it is no chunk or has fewer items."""
    body, bounds = _bounds(data, start, stop)
    items = data[body:]
    return [items[a:b] for a, b in pairwise(bounds)]


def slice_bytes(data: bytes, start: int, stop: int) -> int:
    """How many bytes items [start, stop) of a chunk have together: looks at two places. Raises BadInput."""
    count = chunk_count(data)
    if not 0 <= start <= stop <= count:
        raise _outside(count, start, stop)
    size = _end(data, stop) - _end(data, start)
    if not 0 <= size <= len(data):
        raise _unfit()
    return size


def cut_chunk(pieces: Sequence[tuple[bytes, int, int]]) -> bytes:
    """The chunk of items [start, stop) of each (chunk, start, stop), in order; the items are not taken apart.

    Raises:
        BadInput: one is no chunk or has fewer items.
    """
    ends: list[int] = []
    bodies: list[memoryview] = []
    size = 0
    for data, start, stop in pieces:
        body, bounds = _bounds(data, start, stop)
        shift = size - bounds[0]
        ends += [bound + shift for bound in bounds[1:]]
        bodies.append(memoryview(data)[body + bounds[0] : body + bounds[-1]])
        size += bounds[-1] - bounds[0]
    return b"".join((_HEAD.pack(CHUNK_VERSION, len(ends)), struct.pack(f"<{len(ends)}I", *ends), *bodies))


def check_chunk(data: bytes) -> int:
    """Check a whole chunk from a stranger, every offset and its end; returns its count. Raises BadInput."""
    count = chunk_count(data)
    body, bounds = _bounds(data, 0, count)
    if body + bounds[-1] != len(data):
        raise BadInput("A chunk of input has bytes after its last item.")
    return count


def _bounds(data: bytes, start: int, stop: int) -> tuple[int, Sequence[int]]:
    """Where the items' bytes begin, and the stop − start + 1 bounds of the items asked for, relative to that."""
    count = chunk_count(data)
    if not 0 <= start <= stop <= count:
        raise _outside(count, start, stop)
    body = _HEAD.size + _OFFSET_BYTES * count
    bounds: Sequence[int]
    if start:
        at = _HEAD.size + _OFFSET_BYTES * (start - 1)
        bounds = struct.unpack_from(f"<{stop - start + 1}I", data, at)
    else:
        bounds = (0, *struct.unpack_from(f"<{stop}I", data, _HEAD.size))
    if bounds[-1] > len(data) - body or (stop - start > 1 and sorted(bounds) != list(bounds)) or bounds[0] > bounds[-1]:
        raise _unfit()
    return body, bounds


def _end(data: bytes, item: int) -> int:
    """Where the items before `item` end, counted from the first one's beginning."""
    at = _HEAD.size + _OFFSET_BYTES * (item - 1)
    return int.from_bytes(data[at : at + _OFFSET_BYTES], "little") if item else 0


def _outside(count: int, start: int, stop: int) -> BadInput:
    return BadInput(f"A chunk of {count:,} items was asked for items {start:,} to {stop:,}.")


def _unfit() -> BadInput:
    return BadInput("The index of a chunk of input does not fit its bytes.")


# --- what a node gets ------------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=True):
    """Items [start, stop) of a chunk: `data` is the chunk, or `blob` (hex SHA-256) names it.

    With `data`, start is 0 and stop its count: a chunk inside a message holds what is needed only.
    """

    start: int
    stop: int
    data: bytes = b""
    blob: str = ""


class Input(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=True):
    """The input of one task.

    Attributes:
        tails: arguments of each run after the job's own (ranges, grids); empty when runs have none.
        parts: items in order. joined: they are lines, all for one run; otherwise each item is a run.
        tails_blob: names a blob with the tails (`pack_tails`) when they are too long for a message.
    """

    tails: Tails = ()
    parts: tuple[Part, ...] = ()
    joined: bool = False
    tails_blob: str = ""


_tails_encoder = msgspec.msgpack.Encoder()
_tails_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, ...], ...])


def pack_tails(tails: Sequence[Sequence[str]]) -> bytes:
    """The content of a `tails_blob`."""
    return _tails_encoder.encode(tails)


def blobs_of(given: Input) -> list[str]:
    """The blobs a node must fetch before it can run this input; each once, in order."""
    named = [part.blob for part in given.parts if part.blob]
    return list(dict.fromkeys([given.tails_blob, *named] if given.tails_blob else named))


def runs_of(given: Input, fetched: Mapping[str, bytes]) -> tuple[Tails, list[bytes]]:
    """What the program is run with: first once for each of the tails, arguments after the job's own, with nothing on
    stdin; then once for each stdin, without arguments of its own.

    Args:
        given: the input of a lease.
        fetched: content of every blob `blobs_of` names, checked against its digest.

    Raises:
        BadInput: a blob is missing, or the input is not what it says it is.
    """
    if given.joined:
        return (), [b"".join(map(_line, _items(given.parts, fetched)))]
    tails = _read_tails(_blob(given.tails_blob, fetched)) if given.tails_blob else given.tails
    items = _items(given.parts, fetched)
    if len(tails) + len(items) > limits.APPEND_ITEMS:
        raise BadInput(f"A task has at most {limits.APPEND_ITEMS:,} runs, not {len(tails) + len(items):,}.")
    return tails, items


def _line(line: bytes) -> bytes:
    """A line as it stands on stdin: with exactly one newline at its end, whether it came with one or not."""
    return line if line.endswith(b"\n") else line + b"\n"


def _items(parts: Iterable[Part], fetched: Mapping[str, bytes]) -> list[bytes]:
    found: list[bytes] = []
    size = 0
    for part in parts:
        items = slice_chunk(_blob(part.blob, fetched) if part.blob else part.data, part.start, part.stop)
        size += sum(map(len, items))
        if size > limits.BLOB_BYTES:  # many parts may name one blob: a small message, a huge input
            raise TooLarge(f"The input of a task is over {limits.BLOB_BYTES:,} bytes.", hint="Use smaller pieces.")
        found += items
    return found


def _blob(digest: str, fetched: Mapping[str, bytes]) -> bytes:
    content = fetched.get(digest)
    if content is None:
        raise BadInput(f"The input names the blob {digest[:12]}…, which was not fetched.")
    return content


def _read_tails(content: bytes) -> tuple[tuple[str, ...], ...]:
    try:
        return _tails_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"The arguments of a task cannot be read: {error}.") from None


# --- digests ---------------------------------------------------------------------------------


def input_digest(given: Input, args: Sequence[str] = ()) -> bytes:
    """SHA-256 (32 bytes) of a task's input, the same on hub and node; it is signed with the result.

    `args` are the job's own arguments: what a program was asked is its arguments and its input, and a result of
    other arguments must never pass for one of these (after a hub was restored from an old backup, numbers of
    assignments are given out again).

    Over fixed bytes, never over msgpack: tag, joined as u8; the tails as u32 count and for each its u32 count of
    arguments, each after its u32 length; the tails blob; the u32 count of parts and for each start and stop as u64,
    its data after its u32 length, its blob. A blob is its u8 length (0 or 32) and its raw digest, so that naming
    content stands for having it. Then, if the job has arguments, their u32 count and each after its u32 length.

    Raises:
        BadInput: a blob's name is not a hex SHA-256.
    """
    words = [_INPUT_TAG, b"\1" if given.joined else b"\0", _u32(len(given.tails))]
    for tail in given.tails:
        words.append(_u32(len(tail)))
        for argument in tail:
            raw = argument.encode()
            words += (_u32(len(raw)), raw)
    words += (_name(given.tails_blob), _u32(len(given.parts)))
    for part in given.parts:
        words += (struct.pack("<QQI", part.start, part.stop, len(part.data)), part.data, _name(part.blob))
    if args:
        words.append(_u32(len(args)))
        for raw in [arg.encode() for arg in args]:
            words += (_u32(len(raw)), raw)
    return hashlib.sha256(b"".join(words)).digest()


def answer_digest(*, ok: bool, payload: bytes = b"", exit_code: int = 0, error: str = "") -> bytes:
    """SHA-256 (32 bytes) of an answer: what nodes must agree on.

    Of a payload it is the plain SHA-256, and so the name of the blob when the payload is kept as one. A program's
    error is an answer too and is voted on: it is known by its exit code (i64) and the sentence about it, never by
    stderr or usage, which differ between machines that agree. The outcome is signed beside the digest, so the two
    kinds cannot be taken for one another.
    """
    if ok:
        return hashlib.sha256(payload).digest()
    return hashlib.sha256(_ERROR_TAG + struct.pack("<q", exit_code) + error.encode()).digest()


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _name(blob: str) -> bytes:
    if not blob:
        return b"\0"
    try:
        raw = bytes.fromhex(blob)
    except ValueError:
        raw = b""
    if len(raw) != hashlib.sha256().digest_size or len(blob) != 2 * len(raw):
        raise BadInput(f"{blob[:80]!r} is not the name of a blob.", hint="A blob's name is a hex SHA-256.")
    return b"\x20" + raw
