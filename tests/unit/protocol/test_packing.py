"""Chunks, packed answers, inputs and digests: they come back as they went, and hostile bytes harm nobody."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.errors import BadInput, TooLarge
from crowdgrid.protocol import packing
from crowdgrid.protocol.packing import Answer, Input, Part

items = st.lists(st.binary(max_size=20), max_size=20)
DIGEST = hashlib.sha256(b"blob").hexdigest()


@given(items, st.data())
def test_chunks_come_back_as_they_went(found: list[bytes], data: st.DataObject) -> None:
    """Any slice of a chunk is that slice of its items, with the size it says."""
    packed = packing.pack_chunk(found)
    assert packing.check_chunk(packed) == packing.chunk_count(packed) == len(found)
    start = data.draw(st.integers(0, len(found)))
    stop = data.draw(st.integers(start, len(found)))
    assert packing.slice_chunk(packed, start, stop) == found[start:stop]
    assert packing.slice_bytes(packed, start, stop) == sum(map(len, found[start:stop]))
    assert packing.cut_chunk([(packed, start, stop)]) == packing.pack_chunk(found[start:stop])
    twice = [*found[start:stop], *found]
    assert packing.cut_chunk([(packed, start, stop), (packed, 0, len(found))]) == packing.pack_chunk(twice)
    assert len(packed) == packing.packed_bytes(len(found), sum(map(len, found)))


@given(st.binary(max_size=60), st.integers(-1, 5), st.integers(-1, 5))
def test_hostile_chunks_are_refused(body: bytes, start: int, stop: int) -> None:
    """Any bytes after the version are a chunk or BadInput: never read beyond the end, never another error."""
    for packed in (body, b"\x01" + body, b"\x01" + struct.pack("<I", 2) + body):
        try:
            found = packing.slice_chunk(packed, start, stop)
            packing.check_chunk(packed)
        except BadInput:
            continue
        assert len(found) == stop - start
        assert sum(map(len, found)) <= len(packed)


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (b"", "shorter than its header"),
        (b"\x02\0\0\0\0", "unknown version 2"),
        (b"\x01\xff\xff\xff\xff", "shorter than its index"),
        (b"\x01" + struct.pack("<III", 2, 5, 3) + b"hello", "does not fit"),
        (b"\x01" + struct.pack("<II", 1, 9) + b"hello", "does not fit"),
        (b"\x01" + struct.pack("<II", 1, 2) + b"hello", "after its last item"),
    ],
)
def test_what_is_wrong_with_a_chunk_is_said(packed: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        packing.check_chunk(packed)


def test_items_outside_a_chunk_are_refused() -> None:
    with pytest.raises(BadInput, match="asked for items 1 to 3"):
        packing.slice_chunk(packing.pack_chunk([b"a", b"b"]), 1, 3)


@given(st.lists(st.builds(Answer, st.booleans(), st.binary(max_size=9), st.text(max_size=9)), max_size=9))
def test_answers_come_back_as_they_went(answers: list[Answer]) -> None:
    assert packing.unpack_answers(packing.pack_answers(answers)) == answers


@given(st.binary(max_size=40))
def test_hostile_answers_are_refused(body: bytes) -> None:
    """Bytes that claim a list of 2³² answers, no UTF-8, the wrong shape: all BadInput."""
    for payload in (body, b"\x01" + body, b"\x01\xdd\xff\xff\xff\xff" + body):
        try:
            packing.unpack_answers(payload)
        except BadInput:
            continue
        assert payload[:1] == b"\x01"


def test_more_answers_than_a_task_has_runs_are_refused_before_one_is_made() -> None:
    """A blob of a hostile node holds a hundred million: where they are not there to be read, their number is."""
    with pytest.raises(BadInput, match="length <= 1000"):
        packing.unpack_answers(packing.pack_answers([Answer(True)] * (limits.APPEND_ITEMS + 1)))
    with pytest.raises(BadInput, match="length <= 1000"):
        packing.unpack_answers(b"\x01\xdd\xff\xff\xff\xff")


def test_why_a_run_has_no_answer_is_a_sentence_and_no_book() -> None:
    """A hub shows it, and a page of them."""
    long = "x" * limits.ANSWER_ERROR_CHARS
    assert packing.unpack_answers(packing.pack_answers([Answer(False, error=long)]))[0].error == long
    with pytest.raises(BadInput, match="length <= 2000"):
        packing.unpack_answers(packing.pack_answers([Answer(False, error=long + "x")]))


def test_what_a_program_is_run_with() -> None:
    """Ranges and grids by arguments, items one run each, lines all in one run with a newline after each."""
    chunk = packing.pack_chunk([b"a", b"b\n", b"c"])
    assert packing.runs_of(Input(tails=(("0", "9"),)), {}) == ((("0", "9"),), [])
    assert packing.runs_of(Input(parts=(Part(0, 3, chunk),)), {}) == ((), [b"a", b"b\n", b"c"])
    assert packing.runs_of(Input(parts=(Part(0, 3, chunk),), joined=True), {}) == ((), [b"a\nb\nc\n"])


def test_blobs_are_fetched_once_and_read_in_part() -> None:
    chunk = packing.pack_chunk([b"a", b"b", b"c"])
    given_ = Input(parts=(Part(2, 3, blob=DIGEST), Part(0, 1, blob=DIGEST)))
    assert packing.blobs_of(given_) == [DIGEST]
    assert packing.runs_of(given_, {DIGEST: chunk}) == ((), [b"c", b"a"])
    tails = Input(tails_blob=DIGEST)
    assert packing.blobs_of(tails) == [DIGEST]
    assert packing.runs_of(tails, {DIGEST: packing.pack_tails([["--a", "1"]])}) == ((("--a", "1"),), [])


def test_inputs_a_node_cannot_use_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing blob, arguments that are none, too many runs, a small message that stands for a huge input."""
    with pytest.raises(BadInput, match="not fetched"):
        packing.runs_of(Input(parts=(Part(0, 1, blob=DIGEST),)), {})
    with pytest.raises(BadInput, match="cannot be read"):
        packing.runs_of(Input(tails_blob=DIGEST), {DIGEST: b"\xc1"})
    with pytest.raises(BadInput, match="at most 1,000 runs"):
        packing.runs_of(Input(tails=((),) * 1001), {})
    monkeypatch.setattr(limits, "BLOB_BYTES", 100)
    chunk = packing.pack_chunk([b"x" * 60])
    with pytest.raises(TooLarge, match="over 100 bytes"):
        packing.runs_of(Input(parts=(Part(0, 1, chunk),) * 2, joined=True), {})


tails = st.lists(st.lists(st.text(max_size=3), max_size=3).map(tuple), max_size=3).map(tuple)
inputs = st.builds(
    Input,
    tails=tails,
    parts=st.lists(st.builds(Part, st.integers(0, 3), st.integers(0, 3), st.binary(max_size=3)), max_size=3).map(tuple),
    joined=st.booleans(),
    tails_blob=st.sampled_from(["", DIGEST]),
)


@given(inputs, inputs)
def test_inputs_differ_exactly_when_their_digests_do(one: Input, other: Input) -> None:
    """The fixed encoding that is signed leaves no two inputs alike, however their pieces are shifted."""
    assert (packing.input_digest(one) == packing.input_digest(other)) is (one == other)


def test_the_digest_of_an_input_is_fixed() -> None:
    """Nodes in other languages and results signed long ago depend on these bytes: never change them."""
    given_ = Input(tails=(("--a", "é"),), parts=(Part(0, 1, b"xyz"), Part(3, 9, blob=DIGEST)), joined=True)
    encoded = (
        b"crowdgrid input 1\0\x01"
        + struct.pack("<II", 1, 2) + struct.pack("<I", 3) + b"--a" + struct.pack("<I", 2) + "é".encode()
        + b"\0"
        + struct.pack("<I", 2)
        + struct.pack("<QQI", 0, 1, 3) + b"xyz" + b"\0"
        + struct.pack("<QQI", 3, 9, 0) + b"\x20" + bytes.fromhex(DIGEST)
    )  # fmt: skip
    assert packing.input_digest(given_) == hashlib.sha256(encoded).digest()


@pytest.mark.parametrize("name", ["zz", "ab", DIGEST + "00", " " + DIGEST[1:]])
def test_a_blob_that_is_no_digest_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="not the name of a blob"):
        packing.input_digest(Input(tails_blob=name))


def test_answer_digests() -> None:
    """A payload's digest is its blob's name; an error is known by exit code and sentence, nothing else."""
    assert packing.answer_digest(ok=True, payload=b"42").hex() == hashlib.sha256(b"42").hexdigest()
    error = packing.answer_digest(ok=False, exit_code=3, error="It failed.")
    assert error == packing.answer_digest(ok=False, payload=b"ignored", exit_code=3, error="It failed.")
    assert error != packing.answer_digest(ok=False, exit_code=4, error="It failed.")
    assert error != packing.answer_digest(ok=False, exit_code=3, error="It failed!")


def test_the_jobs_arguments_are_part_of_the_digest() -> None:
    """Protects against a result of another job of the same program: an old backup gives its numbers out again."""
    given_ = Input(tails=(("0", "10"),))
    digests = {
        packing.input_digest(given_, args) for args in ((), ("",), ("a",), ("a", ""), ("", "a"), ("ab",), ("a", "b"))
    }
    assert len(digests) == 7
