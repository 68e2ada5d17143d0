"""Reports: counted once, for whoever holds the lease, and only when they are what was signed."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid import limits
from crowdgrid.core.model import Outcome, Verdict
from crowdgrid.protocol import messages as m
from tests.e2e.faults.raw import RawClient, RawNode, changed, end, fresh, job_of, open_job
from tests.e2e.grid import TOKEN, Grid

pytestmark = pytest.mark.usefixtures("unharmed")


def test_a_report_for_somebody_elses_assignment_is_not_counted(
    grid: Grid, client: RawClient, node: RawNode, echo: str
) -> None:
    """Neither while it is open nor after it has been answered; the one it belongs to is not disturbed."""
    info = open_job(client, echo)
    (lease,) = node.leases()
    with RawNode(grid.url, fresh()) as thief:
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
    with RawNode(grid.url, fresh()) as other:
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


def test_a_report_after_the_hub_was_killed_and_started_again(tmp_path: Path) -> None:
    """The first one counts, as if nothing had happened; again it is a duplicate, and with another answer it conflicts."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        content = b"for the echo runtime"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/octet-stream"}
        httpx.put(f"{grid.url}/v1/programs?runtime=echo", content=content, headers=headers)
        with RawClient(grid.url) as client, RawNode(grid.url, "one") as node:
            info = open_job(client, hashlib.sha256(content).hexdigest(), 1)
            (lease,) = node.leases()
            specs = node.specs
            grid.hub.kill()
        for verdict in (Verdict.COUNTED, Verdict.DUPLICATE):
            grid.restart_hub()
            with RawNode(grid.url, "one") as node, RawClient(grid.url) as client:
                node.specs = specs
                assert node.report(lease, b"1") is verdict
                assert node.report(lease, b"1") is Verdict.DUPLICATE
                assert node.report(lease, b"2") is Verdict.CONFLICTING
                assert (job_of(client, info).state, job_of(client, info).counts.validated) == ("final", 1)
            grid.hub.kill()


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
    seed = fresh()
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
