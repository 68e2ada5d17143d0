"""Frames from strangers: whatever comes, it is messages, `Unknown`, or one of our own errors; never anything else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.model import Outcome, Range, Verdict
from crowdgrid.errors import BadInput, TooLarge
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Input, Part

DECODERS = {
    "node_to_hub": codec.node_to_hub,
    "hub_to_node": codec.hub_to_node,
    "client_to_hub": codec.client_to_hub,
    "hub_to_client": codec.hub_to_client,
}
EVERY = pytest.mark.parametrize("decoder", DECODERS.values(), ids=list(DECODERS))

LEASE = m.Lease(b"a" * 16, 0, 5, 9, Input(tails=(("5", "9"),)), 60_000)
SPEC = m.LeaseSpec("j", "ab" * 32, 10, "wasm", ("--fast",), 1000, 1 << 20, 1 << 20, 1000, "range")
ENTRY = m.ResultEntry(b"a" * 16, Outcome.OK, b"d" * 32, b"42", size=2)
NODE_TO_HUB: list[Any] = [
    m.Hello(1, b"k" * 32, name="n", runtimes=("wasm",), inventory={"cores": 2}),
    m.Proof(b"s" * 64),
    m.Heartbeat((b"a" * 16,), 17, {"x": 1}),
    m.Fetch(4),
    m.Progress(((b"a" * 16, 3),)),
    m.Report((ENTRY,), (0,), b"l" * 32, b"s" * 64),
    m.Decline((b"a" * 16,), "no"),
    m.Retract(b"a" * 16, "wrong"),
    m.Remainder(b"a" * 16, 7),
    m.Bye("later"),
]
HUB_TO_NODE: list[Any] = [
    m.Challenge(b"n" * 32, b"g" * 16),
    m.Welcome(1, "did:key:z", "n", b"g" * 16, 20_000, 60_000, blob_token="t"),
    m.Assign((SPEC,), (LEASE, msgspec.structs.replace(LEASE, input=Input(parts=(Part(0, 1, b"x"),), joined=True)))),
    m.Cancel((b"a" * 16,), "done"),
    m.Acknowledge(((b"a" * 16, Verdict.COUNTED),)),
    m.Beat(17),
    m.Hold("busy", 500),
    m.Resume(),
    m.Error("busy", "Too much.", fatal=True),
    m.Bye(),
]
CLIENT_TO_HUB: list[Any] = [
    m.Open(1, m.JobRequest("ab" * 32, Range(0, 10), args=("x",))),
    m.Attach(2, "job"),
    m.Append(3, "job", 0, (b"one", b"two")),
    m.Seal(4, "job"),
    m.CancelJob(5, "job", "enough"),
    m.Read(6, "job", -1, 10),
    m.Grant("job", 5, 2),
    m.StopReading("job"),
    m.Bye(),
]
HUB_TO_CLIENT: list[Any] = [
    m.Appended(1, "job", 2),
    m.Done(2),
    m.Results("job", (m.ResultRow(0, 0, 10, 5, 0, b"42"),)),
    m.Failed(3, "not_found", "There is none."),
    m.Error("busy", "Too much."),
    m.Bye(),
]
ALL = [
    (codec.node_to_hub, NODE_TO_HUB),
    (codec.hub_to_node, HUB_TO_NODE),
    (codec.client_to_hub, CLIENT_TO_HUB),
    (codec.hub_to_client, HUB_TO_CLIENT),
]

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
    | st.sampled_from(["hello", "report", "assign", "fetch", "open", "results", "wasm", "range"]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=25,
)


def never_anything_else(decoder: codec.FrameDecoder[Any], frame: bytes) -> None:
    """Decode; the only errors that may come are the ones a link answers."""
    try:
        found = decoder.decode(frame)
    except BadInput as error:
        assert error.message  # noqa: PT017 — an error is one of two good ends
        return
    assert all(isinstance(message, m.Message | codec.Unknown) for message in found)


@pytest.mark.parametrize(("decoder", "messages"), ALL, ids=list(DECODERS))
def test_what_is_sent_arrives(decoder: codec.FrameDecoder[Any], messages: list[Any]) -> None:
    """Every message survives the way, alone and together with all others of its direction."""
    assert decoder.decode(codec.encode(messages)) == messages
    for message in messages:
        assert decoder.decode(codec.encode([message])) == [message]


@EVERY
@given(frame=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
@example(frame=b"")
@example(frame=b"\xc1")  # the one byte msgpack never uses
@example(frame=b"\x91" * 5000)  # lists in lists
@example(frame=b"\x81\xa1a" * 3000)  # maps in maps
@example(frame=b"\xdd\xff\xff\xff\xff")  # a list of four billion, of which nothing follows
@example(frame=b"\xc6\xff\xff\xff\xff")  # four gigabytes of bytes
@example(frame=b"\x91\x92\xa5hello\xd9\x05\xff\xff\xff\xff\xff")  # text that is no UTF-8
@example(frame=b"\x91\xc7\x04\x05abcd")  # an extension type
def test_random_bytes_are_bad_input(decoder: codec.FrameDecoder[Any], frame: bytes) -> None:
    never_anything_else(decoder, frame)


@EVERY
@given(value=st.lists(PLAIN, max_size=4))
@settings(max_examples=150, deadline=None)
def test_msgpack_of_anything_is_bad_input_or_unknown(decoder: codec.FrameDecoder[Any], value: object) -> None:
    never_anything_else(decoder, msgspec.msgpack.encode(value))


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_mutated_frames_are_bad_input(data: st.DataObject) -> None:
    """Real frames with bytes changed, cut or doubled: the likely work of a bad line or a bad person."""
    decoder, messages = data.draw(st.sampled_from(ALL))
    frame = bytearray(codec.encode(data.draw(st.lists(st.sampled_from(messages), min_size=1, max_size=3))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame) - 1))
        frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not frame:
            break
    never_anything_else(decoder, bytes(frame))


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_fields_of_another_type_are_bad_input(data: st.DataObject) -> None:
    """One field of a real message, at any depth, in place of something else."""
    decoder, messages = data.draw(st.sampled_from(ALL))
    tree = msgspec.msgpack.decode(codec.encode([data.draw(st.sampled_from(messages))]))
    node = tree[0]
    while True:
        at = data.draw(st.integers(0, len(node) - 1))
        if not (isinstance(node[at], list) and node[at]) or data.draw(st.booleans()):
            break
        node = node[at]
    node[at] = data.draw(PLAIN)
    never_anything_else(decoder, msgspec.msgpack.encode(tree))


@EVERY
def test_an_unknown_kind_is_passed_over_and_its_neighbours_are_not(decoder: codec.FrameDecoder[Any]) -> None:
    """A newer peer may say what we do not know yet; the link lives and the rest of the frame counts."""
    frame = msgspec.msgpack.encode([["bye", "so long"], ["from_the_future", 1, {"x": [2]}], ["bye", ""]])
    assert decoder.decode(frame) == [m.Bye("so long"), codec.Unknown("from_the_future"), m.Bye()]


@EVERY
@pytest.mark.parametrize("tag", ["", "x" * 5000, "new\nline", "it's `$[0][0]`", "it's - at `$[0]`", "\x00"])
def test_a_tag_of_any_text_is_just_unknown(decoder: codec.FrameDecoder[Any], tag: str) -> None:
    found = decoder.decode(msgspec.msgpack.encode([[tag]]))
    assert len(found) == 1
    assert isinstance(found[0], codec.Unknown)
    assert len(found[0].tag) <= 40


@EVERY
def test_messages_of_the_other_direction_are_unknown(decoder: codec.FrameDecoder[Any]) -> None:
    """A hub that is sent a Welcome, or a node a Hello, must not act on it."""
    own = {type(message).__struct_config__.tag for one, messages in ALL if one is decoder for message in messages}
    for other, messages in ALL:
        for message in messages:
            tag = type(message).__struct_config__.tag
            if other is not decoder and tag not in own and tag not in {"opened", "job_update"}:
                assert decoder.decode(codec.encode([message])) == [codec.Unknown(str(tag))]


def test_fields_added_by_a_newer_peer_are_passed_over() -> None:
    assert codec.node_to_hub.decode(msgspec.msgpack.encode([["bye", "x", "new", 7]])) == [m.Bye("x")]


def test_fields_an_older_peer_leaves_out_have_their_default() -> None:
    assert codec.node_to_hub.decode(msgspec.msgpack.encode([["fetch", 3]])) == [m.Fetch(3)]


@EVERY
def test_an_oversized_frame_is_too_large_before_it_is_looked_at(decoder: codec.FrameDecoder[Any]) -> None:
    with pytest.raises(TooLarge, match="over the limit"):
        decoder.decode(b"\xc1" * (limits.FRAME_BYTES + 1))
    never_anything_else(decoder, codec.encode([m.Bye("x" * (limits.FRAME_BYTES - 20))]))


def test_many_messages_become_as_many_frames_as_they_need_in_order() -> None:
    messages = [m.Decline((number.to_bytes(16, "big"),), "r" * 50_000) for number in range(70)]
    frames = codec.frames(messages)
    assert len(frames) > 3
    assert all(len(frame) <= limits.FRAME_BYTES for frame in frames)
    assert [message for frame in frames for message in codec.node_to_hub.decode(frame)] == messages


def test_one_message_that_fits_no_frame_is_too_large() -> None:
    with pytest.raises(TooLarge, match="Decline"):
        codec.frames([m.Decline((), "x" * limits.FRAME_BYTES)])


def test_nothing_but_a_list_is_a_frame() -> None:
    for value in (None, 1, "hello", {"t": "bye"}, m.Bye()):
        if not isinstance(value, m.Bye):
            with pytest.raises(BadInput):
                codec.node_to_hub.decode(msgspec.msgpack.encode(value))
    # A bare message is a list, too: of its tag and fields, which are no messages.
    with pytest.raises(BadInput):
        codec.node_to_hub.decode(msgspec.msgpack.encode(m.Bye("x")))
