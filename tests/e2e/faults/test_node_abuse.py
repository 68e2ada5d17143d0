"""What a node may not do: each is refused in plain words, and the grid goes on as if nothing had happened."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.exceptions import ConnectionClosed

from crowdgrid import limits
from crowdgrid.core.model import Outcome, Range, Verdict
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.e2e.faults.conftest import ECHO
from tests.e2e.faults.raw import RawClient, RawLink, RawNode, changed
from tests.e2e.grid import Grid, until

pytestmark = pytest.mark.usefixtures("unharmed")
_seeds = (f"node {number}" for number in itertools.count())


@pytest.fixture
def client(grid: Grid) -> Iterator[RawClient]:
    with RawClient(grid.url) as found:
        yield found


@pytest.fixture
def node(grid: Grid) -> Iterator[RawNode]:
    """A node of its own for each test, that ends with an empty offer."""
    with RawNode(grid.url, next(_seeds)) as found:
        yield found


def open_job(client: RawClient, echo: str, units: int = 8, **told: object) -> m.JobInfo:
    """A job of tasks of one unit, only for the nodes these tests play."""
    request = m.JobRequest(
        program=echo, split=Range(0, units, 1), runtime="echo", key=secrets.token_hex(8), **told  # type: ignore[arg-type]
    )
    opened = client.ask(m.Open, request)
    assert isinstance(opened, m.Opened), opened
    info: m.JobInfo = opened.job
    return info


def job_of(client: RawClient, info: m.JobInfo) -> m.JobInfo:
    """The job as it is now."""
    found: m.JobInfo = client.ask(m.Attach, info.id).job
    return found


def end(client: RawClient, info: m.JobInfo) -> None:
    """Cancel it, so that later tests' nodes get nothing of it."""
    assert isinstance(client.ask(m.CancelJob, info.id), m.Done)


# --- the door ------------------------------------------------------------------------------------


def test_a_node_with_another_nodes_key_is_refused(grid: Grid) -> None:
    """Who cannot sign the challenge with the key it names is not let in."""
    with RawNode(grid.url, next(_seeds), greet=False) as node:
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
    seed = next(_seeds)
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
        with RawNode(grid.url, next(_seeds), greet=False) as node:
            node.say(first)
            error = node.error()
            assert (error.code, error.fatal) == ("bad_input", True)
            assert "Hello" in error.message
            node.ended()


def test_a_new_node_needs_a_good_invitation(grid: Grid) -> None:
    for code, word in (("", "no invitation"), ("cgi_not-one-of-this-hub", "invitation")):
        with RawNode(grid.url, next(_seeds), invitation=code, greet=False) as node:
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
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_a_node_says_of_itself_is_checked(grid: Grid, told: dict[str, object]) -> None:
    with RawNode(grid.url, next(_seeds), greet=False) as node:
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
    with pytest.raises(ConnectionClosed):
        node.socket.send(bytes(limits.FRAME_BYTES + 1))
        node.socket.recv(30)
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


# --- reports -------------------------------------------------------------------------------------


def test_a_report_for_somebody_elses_assignment_is_not_counted(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    """Neither while it is open nor after it has been answered; the one it belongs to is not disturbed."""
    info = open_job(client, echo)
    (lease,) = node.leases()
    with RawNode(grid.url, next(_seeds)) as thief:
        thief.specs = node.specs
        assert thief.report(lease, b"stolen") is Verdict.NOT_YOURS
        assert node.report(lease, b"mine") is Verdict.COUNTED
        assert thief.report(lease, b"stolen") is Verdict.NOT_YOURS
    assert job_of(client, info).counts.validated == 1
    end(client, info)


def test_a_report_twice_is_a_duplicate_and_a_different_one_conflicts(
    client: RawClient, node: RawNode, echo: str
) -> None:
    info = open_job(client, echo)
    first, second = node.leases(2)
    assert node.report(first, b"1") is Verdict.COUNTED
    assert node.report(first, b"1") is Verdict.DUPLICATE
    assert node.report(first, b"2") is Verdict.CONFLICTING
    both = [(second, node.answer(second, b"7")), (second, node.answer(second, b"8"))]
    node.say(node.signed(both))  # in one frame
    told: list[Verdict] = []
    while len(told) < 2:
        told += [verdict for _, verdict in node.next(m.Acknowledge).verdicts]
    assert sorted(told) == sorted([Verdict.COUNTED, Verdict.CONFLICTING])
    client.ask(m.Read, info.id)
    rows = client.next(m.Results).rows
    assert [row.payload for row in rows if row.ordinal in (0, 1)] == [b"1", b"7"]
    end(client, info)


def test_a_result_of_an_assignment_nobody_gave_out_is_unknown(node: RawNode, client: RawClient, echo: str) -> None:
    info = open_job(client, echo)
    (lease,) = node.leases()
    for token in (bytes(16), secrets.token_bytes(16)):
        strange = changed(lease, assignment=token)
        node.specs[token] = node.specs[lease.assignment]
        assert node.report(strange) is Verdict.UNKNOWN
    end(client, info)


def test_a_result_after_its_task_was_settled_is_told_so(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    """A lease given back, done by another, and reported after all: late, with or without agreement; never counted."""
    info = open_job(client, echo, 2)
    leases = node.leases(2)
    node.say(m.Decline(tuple(lease.assignment for lease in leases), "changed its mind"))
    with RawNode(grid.url, next(_seeds)) as other:
        for lease in other.leases(2):
            assert other.report(lease, b"42") is Verdict.COUNTED
    assert node.report(leases[0], b"42") is Verdict.LATE_PAID
    assert node.report(leases[1], b"43") is Verdict.LATE_UNNEEDED
    final = job_of(client, info)
    assert (final.state, final.counts.validated) == ("final", 2)


def test_a_result_of_a_cancelled_job_is_told_so(client: RawClient, node: RawNode, echo: str) -> None:
    info = open_job(client, echo)
    (lease,) = node.leases()
    end(client, info)
    assert node.next(m.Cancel).assignments == (lease.assignment,)
    assert node.report(lease) is Verdict.LATE_UNNEEDED


def bad_reports(node: RawNode, lease: m.Lease) -> dict[str, m.Report]:
    """Reports with one thing wrong each."""
    good = node.signed([(lease, node.answer(lease, b"1"))])
    other = signed_as(node, lease, digest=bytes(32))
    stranger = Ed25519PrivateKey.generate()
    huge = (1 << 64) - 1
    return {
        "signature": changed(good, signature=stranger.sign(b"something else")),
        "no signature": changed(good, signature=b""),
        "leaf": changed(good, leaves=bytes(32)),
        "no leaves": changed(good, leaves=b""),
        "place": changed(good, places=(7,)),
        "negative place": changed(good, places=(-1,)),
        "places": changed(good, places=()),
        "payload": changed(good, results=(changed(good.results[0], payload=b"2"),)),
        "digest": other,
        "usage": changed(good, results=(changed(good.results[0], cpu_ms=10**12),)),
        "negative usage": changed(good, results=(changed(good.results[0], wall_ms=-1),)),
        "usage over 63 bits": signed_as(node, lease, cpu_ms=huge),
        "size over 63 bits": signed_as(node, lease, size=huge),
        "memory over 63 bits": signed_as(node, lease, memory_bytes=1 << 63),
        "short digest": changed(good, results=(changed(good.results[0], digest=b"short"),)),
        "blob that was never put": signed_as(node, lease, payload=b"", blob=good.results[0].digest.hex()),
        "blob that is no digest": signed_as(node, lease, payload=b"", blob="zz" * 32),
        "blob and payload": signed_as(node, lease, blob=bytes(32).hex()),
        "large payload": signed_as(node, lease, output=bytes(limits.INLINE_BYTES + 1)),
        "another outcome": changed(good, results=(changed(good.results[0], outcome=Outcome.PROGRAM_ERROR),)),
    }


def signed_as(node: RawNode, lease: m.Lease, output: bytes = b"1", **wrong: object) -> m.Report:
    return node.signed([(lease, node.answer(lease, output, **wrong))])


BAD_REPORTS = (
    "signature", "no signature", "leaf", "no leaves", "place", "negative place", "places", "payload", "digest", "usage",
    "negative usage", "usage over 63 bits", "size over 63 bits", "memory over 63 bits", "short digest",
    "blob that was never put", "blob that is no digest", "blob and payload", "large payload", "another outcome",
)  # fmt: skip


@pytest.mark.parametrize("wrong", BAD_REPORTS)
def test_a_report_that_is_not_what_was_signed_or_makes_no_sense_is_refused(
    grid: Grid, client: RawClient, echo: str, wrong: str
) -> None:
    """It ends the link with a reason and settles nothing; the node comes back, keeps its lease and reports rightly."""
    info = open_job(client, echo, 1)
    seed = next(_seeds)
    with RawNode(grid.url, seed) as node:
        (lease,) = node.leases()
        specs = node.specs
        node.say(bad_reports(node, lease)[wrong])
        error = node.error()
        assert error.fatal, error
        assert error.code in ("bad_input", "too_large"), error
        assert error.message.endswith(".")
        assert node.ended()[0] == 1002
    assert job_of(client, info).counts.validated == 0
    with RawNode(grid.url, seed) as again:
        again.specs = specs
        assert again.report(lease) is Verdict.COUNTED
    assert job_of(client, info).state == "final"


# --- holding, offering, listening ------------------------------------------------------------------


def test_a_heartbeat_renews_nobody_elses_lease(grid: Grid, client: RawClient, node: RawNode, echo: str) -> None:
    """It is told to drop what is not its own, and gets no hold on it."""
    info = open_job(client, echo)
    (lease,) = node.leases()
    with RawNode(grid.url, next(_seeds)) as thief:
        thief.say(m.Heartbeat((lease.assignment, bytes(16)), 5))
        assert thief.next(m.Beat).sent == 5
        assert lease.assignment in thief.next(m.Cancel).assignments
    assert node.report(lease) is Verdict.COUNTED
    end(client, info)


def test_heartbeats_full_of_nonsense_keep_nobody_waiting(grid: Grid, node: RawNode) -> None:
    """Frames with tens of thousands of ids nobody gave out are answered, and cost the hub no more than a look."""
    tokens = tuple(secrets.token_bytes(16) for _ in range(50_000))
    for beat in range(1, 6):
        node.say(m.Heartbeat(tokens, beat))
    assert node.next(m.Beat, lambda answer: answer.sent == 5)
    assert grid.ready()


def test_giving_back_and_taking_back_what_is_not_ones_own_does_nothing(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    info = open_job(client, echo, 2)
    (lease,) = node.leases()
    with RawNode(grid.url, next(_seeds)) as thief:
        thief.say(m.Decline((lease.assignment,), "no"))
        thief.say(m.Remainder(lease.assignment, 0))
        thief.say(m.Retract(lease.assignment, "no"))
        thief.say(m.Progress(((lease.assignment, 10**9),)))
        thief.say(m.Heartbeat((), 9))
        assert thief.next(m.Beat).sent == 9
    assert node.report(lease) is Verdict.COUNTED
    assert job_of(client, info).counts.lost == 0
    end(client, info)


def test_impossible_offers_and_remainders_are_refused_or_passed_over(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    info = open_job(client, echo, 2)
    for slots, milli, memory in ((-5, 1000, 1 << 30), (0, 0, 0), (1 << 62, -1, -1), (5, 1 << 62, -(1 << 62))):
        node.say(m.Fetch(slots, milli, memory))
    (lease,) = node.leases()
    node.say(m.Remainder(lease.assignment, lease.stop + 1_000))
    node.say(m.Heartbeat((lease.assignment,), 3))
    assert node.next(m.Beat).sent == 3
    assert node.report(lease) is Verdict.COUNTED
    end(client, info)


def test_a_node_that_does_not_listen_is_cut_off(grid: Grid) -> None:
    """It asks and asks and reads nothing: its link is ended, and what was meant for it fills nobody's memory."""
    hub = psutil.Process(grid.hub.pid)
    before = hub.memory_info().rss
    frame = codec.encode([m.Heartbeat((), number) for number in range(1, 2_000)])
    with RawNode(grid.url, next(_seeds), room=4_096) as node:
        node.socket.socket.settimeout(1)
        with suppress(ConnectionClosed, OSError):
            while online(grid, node):
                for _ in range(50):
                    node.socket.send(frame)
        until(lambda: not online(grid, node), "the hub let it go")
    assert hub.memory_info().rss - before < 64 << 20


def online(grid: Grid, node: RawNode) -> bool:
    return any(each["id"] == node.did and each["online"] for each in grid.get("/v1/nodes", limit=1000)["nodes"])


def test_a_node_that_takes_work_and_vanishes_delays_it_and_no_more(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    """What it took goes to somebody else soon after its link is gone."""
    info = open_job(client, echo, 4)
    with RawNode(grid.url, next(_seeds)) as taker:
        taker.leases(4)
    for lease in node.leases(4):
        assert node.report(lease) is Verdict.COUNTED
    final = job_of(client, info)
    assert (final.state, final.counts.validated, final.counts.lost) == ("final", 4, 4)
