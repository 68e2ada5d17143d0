"""How a node comes in, and what it may send at all: who is not let in is told why, and what makes no sense ends its link."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.exceptions import ConnectionClosed

from crowdgrid import limits
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.e2e.faults.conftest import ECHO
from tests.e2e.faults.raw import RawLink, RawNode, fresh
from tests.e2e.grid import Grid, until

pytestmark = pytest.mark.usefixtures("unharmed")


# --- the door ------------------------------------------------------------------------------------


def test_a_node_with_another_nodes_key_is_refused(grid: Grid) -> None:
    """Who cannot sign the challenge with the key it names is not let in."""
    with RawNode(grid.url, fresh(), greet=False) as node:
        node.say(node.hello())
        challenge = node.next(m.Challenge)
        node.key = Ed25519PrivateKey.generate()
        node.say(node.proof(challenge))
        error = node.error()
        assert (error.code, error.fatal) == ("not_allowed", True)
        assert "could not prove" in error.message
        assert "join" in error.hint
        assert node.ended()[0] == 1002


def test_a_replayed_proof_fits_no_other_challenge(grid: Grid) -> None:
    """What was recorded on one connection opens no other."""
    seed = fresh()
    with RawNode(grid.url, seed, greet=False) as first:
        first.say(first.hello())
        proof = first.proof(first.next(m.Challenge))
        first.say(proof)
        first.next(m.Welcome)
    with RawNode(grid.url, seed, greet=False) as second:
        second.say(second.hello())
        second.next(m.Challenge)
        second.say(proof)
        assert second.error().code == "not_allowed"
        second.ended()


def test_a_proof_before_its_challenge_or_anything_else_first_is_refused(grid: Grid) -> None:
    for first in (m.Proof(bytes(64)), m.Heartbeat(), m.Fetch(1)):
        with RawNode(grid.url, fresh(), greet=False) as node:
            node.say(first)
            error = node.error()
            assert (error.code, error.fatal) == ("bad_input", True)
            assert "Hello" in error.message
            node.ended()


def test_a_new_node_needs_a_good_invitation(grid: Grid) -> None:
    for code, word in (("", "no invitation"), ("cgi_not-one-of-this-hub", "invitation")):
        with RawNode(grid.url, fresh(), invitation=code, greet=False) as node:
            node.say(node.hello())
            node.say(node.proof(node.next(m.Challenge)))
            error = node.error()
            assert error.code == "not_allowed", error
            assert word in error.message
            assert error.hint
            node.ended()


@pytest.mark.parametrize(
    "told",
    [
        {"name": "x" * 1_000},
        {"name": "bell \a"},
        {"runtimes": tuple(str(n) for n in range(1_000))},
        {"milli_cpus": 0},
        {"milli_cpus": 1 << 62},
        {"memory_bytes": -1},
        {"memory_bytes": (1 << 64) - 1},
        {"speed": float("nan")},
        {"speed": float("inf")},
        {"speed": -1.0},
        {"inventory": {"disk": "x" * 100_000}},
        {"trusts": ("x" * 1_000,)},
        {"trusts": tuple(str(n) for n in range(65))},
        {"trusts": ("everyone\x1b[2J",)},
        {"trusts": ("",)},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_a_node_says_of_itself_is_checked(grid: Grid, told: dict[str, object]) -> None:
    with RawNode(grid.url, fresh(), greet=False) as node:
        node.say(node.hello(**told))
        error = node.error()
        assert (error.code, error.fatal) == ("bad_input", True), error
        node.ended()


def test_many_half_open_links_lock_nobody_out(grid: Grid) -> None:
    """A thousand connections that say nothing, WebSockets and bare ones, and the grid works as before."""
    bare = [socket.create_connection(("127.0.0.1", grid.port)) for _ in range(700)]
    with ThreadPoolExecutor(8) as pool:
        silent = list(pool.map(lambda _: RawLink(grid.url, "/v1/node", None), range(300)))
    try:
        with grid.connect() as connected:
            job = connected.run(ECHO, items=[b"a", b"b"])
            assert job.result(timeout=60) == [b"a", b"b"]
    finally:
        for each in bare:
            each.close()
        for link in silent:
            link.drop()


def test_links_that_stay_half_open_are_ended_by_the_hub(tmp_path: Path) -> None:
    """Who says nothing, only half a request, or no Hello is not kept for ever, and costs little while it is."""
    patience = {"hub.server:HEAD_SECONDS": 2.0, "hub.server:CLOSE_SECONDS": 1.0, "hub.links.handshake:_SECONDS": 2.0}
    with Grid(tmp_path, timers=patience) as grid:
        hub = psutil.Process(grid.start_hub().pid)
        before = hub.memory_info().rss
        silent = [socket.create_connection(("127.0.0.1", grid.port), timeout=30) for _ in range(500)]
        for half in silent[::2]:
            half.sendall(b"GET /readyz HTTP/1.1\r\nHost: ")
        with ThreadPoolExecutor(8) as pool:
            waiting = list(pool.map(lambda _: RawLink(grid.url, "/v1/node", codec.hub_to_node), range(300)))
        assert hub.memory_info().rss - before < 128 << 20
        assert all(half.recv(1) == b"" for half in silent)
        error = waiting[0].error()
        assert error.code == "timed_out"
        assert "did not prove itself" in error.message
        until(lambda: len(hub.net_connections("tcp")) < 10, "the hub has let go of them")
        for half in silent:
            half.close()
        for link in waiting:
            link.drop()


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "schema"),
        (b"\xc1", "msgpack"),
        (msgspec.msgpack.encode({"not": "a list"}), "schema"),
        (msgspec.msgpack.encode([["heartbeat", "not a list of ids"]]), "schema"),
        (msgspec.msgpack.encode([["hello"]]), "schema"),
        (b"\x91" * 5_000, "schema"),
    ],
    ids=["text", "reserved", "map", "type", "short", "deep"],
)
def test_a_frame_that_makes_no_sense_ends_the_link_with_a_reason(node: RawNode, frame: bytes, word: str) -> None:
    node.socket.send(frame)
    error = node.error()
    assert (error.code, error.fatal) == ("bad_input", True)
    assert word in error.message
    assert node.ended()[0] == 1002


def test_an_oversized_frame_ends_the_link(node: RawNode) -> None:
    with suppress(ConnectionClosed):  # it may be closed before all of it was sent
        node.socket.send(bytes(limits.FRAME_BYTES + 1))
    assert node.ended()[0] in (1009, 1006)


def test_a_frame_of_text_ends_the_link_with_a_reason(node: RawNode) -> None:
    node.socket.send("hello?")
    code, reason = node.ended()
    assert code == 1002
    assert "binary msgpack" in reason


def test_an_unknown_message_is_answered_and_the_link_lives(node: RawNode) -> None:
    node.socket.send(msgspec.msgpack.encode([["shout", 1, 2], ["heartbeat", [], 7]]))
    error = node.error()
    assert (error.code, error.fatal) == ("unknown_message", False)
    assert "'shout'" in error.message
    assert node.next(m.Beat).sent == 7
