"""Pool and worker understand one another however the socket cuts their words."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid.runtimes import Finished, Group, Limits, Outcome, frames

finished = st.builds(
    Finished, st.sampled_from(Outcome), st.binary(max_size=50), st.integers(-1, 255), st.text(max_size=20)
)
results = st.one_of(finished, st.binary(max_size=50))
groups = st.builds(
    Group,
    st.lists(st.text(max_size=10), max_size=3).map(tuple),
    st.lists(st.binary(max_size=50), max_size=3),
    st.builds(Limits, st.integers(1, 1 << 40), st.integers(1, 1 << 40), st.integers(0, 1 << 40)),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
messages = st.one_of(
    st.builds(frames.Hello, st.text(max_size=20)),
    st.just(frames.Loaded()),
    st.builds(frames.Done, st.lists(results, max_size=3), st.booleans()),
    st.builds(frames.Batch, st.text(max_size=64), st.text(max_size=20), st.lists(groups, max_size=3)),
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 60), min_size=1, max_size=50))
def test_messages_arrive_whole_and_in_order_however_they_are_cut(sent: list[frames.Message], cuts: list[int]) -> None:
    stream = b"".join(frames.encode(message) for message in sent)
    reader, got, at, turn = frames.Frames(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        got += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert got == sent
    assert not reader.partial


def test_part_of_a_message_is_kept_and_noticed() -> None:
    stream = frames.encode(frames.Hello("no"))
    reader = frames.Frames()
    assert reader.feed(bytes(stream[:-1])) == []
    assert reader.partial
    assert reader.feed(bytes(stream[-1:])) == [frames.Hello("no")]


@pytest.mark.parametrize(
    "stream",
    [
        b"\1\0\0\0\0\0\0\0\xc1",
        b"\1\0\0\0\0\0\0\0\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f",
        (3).to_bytes(8, "little") + b"\x91\xa1x",
        (9).to_bytes(8, "little") + b"\x92\xa4done\x91\xa1x",
        (11).to_bytes(8, "little") + b"\x92\xa4done\x91\x91\xa2ko",
        (8).to_bytes(8, "little") + b"\x92\xa4done\x91\x07",
    ],
    ids=[
        "no msgpack",
        "a number",
        "larger than allowed",
        "an unknown message",
        "a result that is text",
        "an unknown outcome",
        "a result that is a number",
    ],
)
def test_what_no_worker_of_ours_would_say_is_refused(stream: bytes) -> None:
    """A worker taken over by its program may send anything; the pool must notice and not fill its memory."""
    with pytest.raises(msgspec.DecodeError):
        frames.Frames().feed(stream)
