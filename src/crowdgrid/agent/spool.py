"""The spool: finished results on disk until the hub has said what became of them.

It is a folder of append-only segments. A record is `length u32 ‖ CRC-32 u32 ‖ msgpack`, little endian: a
signed batch of results, or the numbers of batches that may be forgotten. A batch is one `write`, so it
survives `kill -9` of the agent. It is not synced: should the machine itself go down, what was
lost is computed again, which costs less than an fsync per batch on every node of a grid.

Reading stops at the first record that is cut or damaged: after a crash that is the end of the segment.
A segment with nothing left to deliver is removed; when most of a full one is delivered, the rest is copied
to the newest. On a full disk batches stay in memory, `problem` says so, and they are written when there
is room. Payloads too large for a message are files beside the segments.

Invariants: what `batches` names is on disk or in `problem`'s care; a batch is in one segment, or for the
moment of a copy in two, and is read once.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from crowdgrid.errors import Unavailable
from crowdgrid.protocol.messages import ResultEntry

SEGMENT_BYTES: Final = 8 << 20
EMPTY_BYTES: Final = 64 << 10  # a segment with nothing to deliver is emptied beyond this size
_HEADER: Final = struct.Struct("<II")
_RECORD_BYTES_MAX: Final = 16 << 20
_FORGET_AT_ONCE: Final = 256  # numbers to forget that are put off until then


class Batch(msgspec.Struct, frozen=True, tag="b", array_like=True):
    """Results that were signed together. `leaves` is n × 32 bytes, one for each of `results`."""

    number: int
    results: tuple[ResultEntry, ...]
    leaves: bytes
    signature: bytes


class _Forget(msgspec.Struct, frozen=True, tag="f", array_like=True):
    numbers: tuple[int, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Batch | _Forget] = msgspec.msgpack.Decoder(Batch | _Forget)


class Spool:
    """Batches of one grid in `folder`. Opening it reads what an earlier agent left.

    Raises:
        Unavailable: the folder cannot be read or made.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.problem = ""  # why results are kept in memory only, "" when they are not
        self.batches: dict[int, Batch] = {}  # to be delivered, oldest first
        self._folder, self._segment_bytes = folder, segment_bytes
        self._place: dict[int, int] = {}  # batch → segment; absent: only in memory
        self._sizes: dict[int, int] = {}  # segment → bytes
        self._forgotten: dict[int, int] = {}  # judged batch → segment that still has it
        self._unwritten: list[int] = []  # of these, what is not written down yet
        self._payloads: dict[str, bytes] = {}  # those a full disk did not take
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._next = 1  # a number that is still written anywhere is not used again
            self._read()
            self._current = max(self._sizes, default=0) + 1
            self._file = self._open()
        except OSError as error:
            raise Unavailable(f"The spool {folder} cannot be used: {error.strerror}.") from None
        self._settle()

    def keep(self, results: tuple[ResultEntry, ...], leaves: bytes, signature: bytes) -> Batch:
        """Write a batch, or keep it in memory and say so in `problem`."""
        batch = Batch(self._next, results, leaves, signature)
        self._next += 1
        self.batches[batch.number] = batch
        self._write(batch)
        return batch

    def forget(self, number: int) -> None:
        """The hub has judged every result of this batch."""
        batch = self.batches.pop(number, None)
        if batch is None:
            return
        for result in batch.results:
            if result.blob:
                self._payloads.pop(result.blob, None)
                _remove(self._payload_path(result.blob))
        place = self._place.pop(number, None)
        if place is not None:
            self._forgotten[number] = place
            self._unwritten.append(number)
        if not self.batches or len(self._unwritten) >= _FORGET_AT_ONCE:
            self._settle()

    def keep_payload(self, digest: str, payload: bytes) -> None:
        """Keep the bytes of a result that is too large for a message."""
        path = self._payload_path(digest)
        draft = path.with_suffix(".part")
        try:
            draft.write_bytes(payload)
            draft.replace(path)
        except OSError as error:
            _remove(draft)
            self._payloads[digest] = payload
            self._say(error)

    def payload(self, digest: str) -> bytes | None:
        """What `keep_payload` kept, None if it is gone."""
        kept = self._payloads.get(digest)
        if kept is not None:
            return kept
        try:
            return self._payload_path(digest).read_bytes()
        except OSError:
            return None

    def tidy(self) -> None:
        """To be called now and then: write what a full disk did not take, and what may be forgotten."""
        if self.problem:
            self._retry()
        if self._unwritten:
            self._settle()

    def close(self) -> None:
        """Write what was put off and close the file."""
        self.tidy()
        os.close(self._file)

    # --- writing ---

    def _write(self, batch: Batch) -> None:
        if self._append(batch):
            self._place[batch.number] = self._current
            if self._sizes[self._current] >= self._segment_bytes:
                self._turn()

    def _append(self, record: Batch | _Forget) -> bool:
        body = _encoder.encode(record)
        data = _HEADER.pack(len(body), zlib.crc32(body)) + body
        size = self._sizes[self._current]
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)  # half a record would hide those after it
            self._say(error)
            return False
        self._sizes[self._current] = size + len(data)
        return True

    def _say(self, error: OSError) -> None:
        self.problem = (
            f"Finished results cannot be written to {self._folder}: {error.strerror}. They are kept in memory "
            "and would be lost with this process."
        )

    def _retry(self) -> None:
        self.problem = ""
        for digest, payload in list(self._payloads.items()):
            del self._payloads[digest]
            self.keep_payload(digest, payload)
        for number in [number for number in self.batches if number not in self._place]:
            if self.problem:
                return
            self._write(self.batches[number])

    # --- segments ---

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.spool"

    def _payload_path(self, digest: str) -> Path:
        return self._folder / f"{digest}.payload"

    def _open(self) -> int:
        self._sizes[self._current] = 0
        return os.open(self._path(self._current), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)

    def _turn(self) -> None:
        """Begin a new segment."""
        old, self._current = self._file, self._current + 1
        try:
            self._file = self._open()
        except OSError as error:
            self._sizes.pop(self._current, None)
            self._current -= 1
            self._say(error)
            return
        os.close(old)
        self._settle()

    def _settle(self) -> None:
        """Write down what may be forgotten, or better, remove the segments it was in."""
        self._copy_remnants()
        live = set(self._place.values())
        dead = [segment for segment in self._sizes if segment not in live and segment != self._current]
        for segment in dead:
            _remove(self._path(segment))
            del self._sizes[segment]
        self._forgotten = {number: place for number, place in self._forgotten.items() if place in self._sizes}
        if not live and self._sizes[self._current] > EMPTY_BYTES:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
                self._sizes[self._current] = 0
                self._forgotten.clear()
        # A segment that went may have held what older ones need to hear: then everything is said again.
        numbers = self._forgotten if dead else [one for one in self._unwritten if one in self._forgotten]
        if numbers:
            self._append(_Forget(tuple(numbers)))
        self._unwritten.clear()

    def _copy_remnants(self) -> None:
        """Copy what little is left in old segments to the newest, so that they can go."""
        for segment in [one for one in self._sizes if one != self._current]:
            left = [number for number, place in self._place.items() if place == segment]
            size = sum(_size(self.batches[number]) for number in left)
            if left and size * 4 < self._segment_bytes:
                for number in left:
                    if self._append(self.batches[number]):
                        self._place[number] = self._current

    # --- reading ---

    def _read(self) -> None:
        for path in sorted(self._folder.glob("*.spool")):
            segment = int(path.stem) if path.stem.isdigit() else 0
            self._sizes[segment] = path.stat().st_size
            for record in records(path):
                numbers = (record.number,) if isinstance(record, Batch) else record.numbers
                self._next = max([self._next, *(number + 1 for number in numbers)])
                if isinstance(record, Batch):
                    self.batches[record.number] = record
                    self._place[record.number] = segment
                else:
                    for number in record.numbers:
                        self.batches.pop(number, None)
                        place = self._place.pop(number, None)
                        if place is not None:
                            self._forgotten[number] = place
        needed = {result.blob for batch in self.batches.values() for result in batch.results}
        for path in self._folder.glob("*.payload"):
            if path.stem not in needed:
                _remove(path)
        for path in self._folder.glob("*.part"):
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # what stays is only in the way
        path.unlink()


def _size(batch: Batch) -> int:
    return sum(len(result.payload) + 200 for result in batch.results) + len(batch.leaves)


def records(path: Path) -> Iterable[Batch | _Forget]:
    """The records of a segment up to the first that is cut or damaged."""
    data = path.read_bytes()
    at = 0
    while at + _HEADER.size <= len(data):
        length, crc = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        body = data[at : at + length]
        if length > _RECORD_BYTES_MAX or len(body) < length or zlib.crc32(body) != crc:
            return
        try:
            yield _decoder.decode(body)
        except msgspec.DecodeError:
            return
        at += length
