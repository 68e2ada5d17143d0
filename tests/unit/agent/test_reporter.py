"""Delivery: one frame in flight, one signature for what finished meanwhile, silence retried, verdicts final."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid import limits
from crowdgrid.agent import reporter as module
from crowdgrid.agent.reporter import Reporter
from crowdgrid.agent.spool import Spool
from crowdgrid.agent.work import Answered
from crowdgrid.core.model import Outcome, Verdict
from crowdgrid.errors import BadInput, Unavailable
from crowdgrid.protocol import signing
from crowdgrid.protocol.messages import Report, ResultEntry

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
GRID = b"g" * 16


class Desk:
    """A reporter with a real spool, a link that records, and a clock that stands."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[Report] = []
        self.now = 100.0
        self.blobs: dict[str, bytes] = {}
        self.upload_errors: list[Exception] = []
        self.given_up: list[tuple[list[bytes], str]] = []
        self.folder = folder
        self.spool = Spool(folder)
        self.reporter = Reporter(self.spool, KEY, GRID, self._send, self._upload, self._give_up, lambda: self.now)

    def _send(self, message: Any) -> None:
        assert isinstance(message, Report)
        assert signing.verify_leaves(signing.public_bytes(KEY), GRID, message.leaves, message.signature)
        self.sent.append(message)

    async def _upload(self, digest: str, payload: bytes) -> None:
        if self.upload_errors:
            raise self.upload_errors.pop(0)
        self.blobs[digest] = payload

    def _give_up(self, assignments: Any, reason: str) -> None:
        self.given_up.append((list(assignments), reason))

    def restarted(self) -> Desk:
        """Another process on the same folder, this one killed."""
        return Desk(self.folder)

    def judge(self, *numbers: int, verdict: Verdict = Verdict.COUNTED) -> None:
        self.reporter.acknowledge([(name(number), verdict) for number in numbers])

    def sent_numbers(self) -> list[list[int]]:
        return [[int.from_bytes(one.assignment, "big") for one in report.results] for report in self.sent]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def answered(number: int, payload: bytes = b"42", blob: bytes = b"") -> Answered:
    digest = f"{number:064x}" if blob else ""
    entry = ResultEntry(name(number), Outcome.OK, bytes(32), b"" if blob else payload, digest, len(blob or payload))
    return Answered(entry, signing.leaf_hash(name(number)), blob)


def test_while_there_is_work_for_long_reports_rest_and_results_go_together(desk: Desk) -> None:
    """A report costs more than many a task; who waits for the last one waits no longer."""

    async def story() -> None:
        rest = 0.03
        desk.reporter.rest = lambda: rest
        desk.reporter.link_up()
        desk.reporter.add(answered(1))
        desk.reporter.flush()
        assert desk.sent_numbers() == [[1]], "nothing was sent for long"
        desk.judge(1)
        for number in (2, 3):
            desk.now += 0.01
            desk.reporter.add(answered(number))
            desk.reporter.flush()
            assert desk.sent_numbers() == [[1]]
        rest = 0.0
        desk.reporter.flush()
        assert desk.sent_numbers() == [[1], [2, 3]], "nothing is left to do"
        desk.judge(2, 3)
        rest = 1e9
        desk.now += module.REST_SECONDS
        desk.reporter.add(answered(4))
        desk.reporter.flush()
        assert desk.sent_numbers()[2:] == [[4]], "no rest is longer than that"

    asyncio.run(story())


def test_a_rest_ends_by_itself_and_what_rested_outlives_the_reporter(desk: Desk) -> None:
    async def story() -> None:
        desk.reporter.rest = lambda: 0.01
        desk.reporter.link_up()
        for number in (1, 2):
            desk.reporter.add(answered(number))
            desk.reporter.flush()
            if number == 1:
                desk.judge(1)
        assert desk.sent_numbers() == [[1]]
        desk.now += 0.01
        while len(desk.sent) < 2:  # noqa: ASYNC110 - the loop's own clock wakes it
            await asyncio.sleep(0)
        desk.judge(2)
        desk.reporter.add(answered(3))
        desk.reporter.flush()
        desk.reporter.abandon()
        assert len(desk.sent) == 2

    asyncio.run(story())
    assert desk.restarted().reporter.held == [name(3)]


def test_what_is_sent_again_does_not_rest(desk: Desk) -> None:
    """After a lost link the hub has waited long enough."""
    desk.reporter.rest = lambda: 0.03
    desk.reporter.link_up()
    desk.reporter.add(answered(1))
    desk.reporter.flush()
    desk.reporter.link_down()
    desk.reporter.link_up()
    assert desk.sent_numbers() == [[1], [1]]


def test_an_idle_link_reports_at_once_and_a_busy_one_together(desk: Desk) -> None:
    desk.reporter.link_up()
    for number in range(1, 6):
        desk.reporter.add(answered(number))
        desk.reporter.flush()
    assert desk.sent_numbers() == [[1]]
    desk.judge(1)
    assert desk.sent_numbers() == [[1], [2, 3, 4, 5]]
    desk.judge(2, 3, 4, 5)
    assert desk.reporter.unjudged == 0
    assert desk.spool.batches == {}


def test_the_next_frame_waits_until_every_result_of_the_last_is_judged(desk: Desk) -> None:
    desk.reporter.link_up()
    desk.reporter.add(answered(1))
    desk.reporter.add(answered(2))
    desk.reporter.flush()
    desk.reporter.add(answered(3))
    desk.judge(1)
    assert desk.sent_numbers() == [[1, 2]]
    desk.judge(2, verdict=Verdict.DUPLICATE)
    assert desk.sent_numbers() == [[1, 2], [3]]
    assert desk.reporter.verdicts == {"counted": 1, "duplicate": 1}


@pytest.mark.parametrize("verdict", list(Verdict))
def test_any_verdict_settles_a_result(desk: Desk, verdict: Verdict) -> None:
    desk.reporter.link_up()
    desk.reporter.add(answered(1))
    desk.reporter.flush()
    desk.judge(1, verdict=verdict)
    assert desk.reporter.held == []


def test_verdicts_on_what_is_not_ours_or_not_sent_are_passed_over(desk: Desk) -> None:
    desk.reporter.link_up()
    desk.reporter.add(answered(1))
    desk.judge(1, 99)
    assert desk.reporter.held == [name(1)]


def test_silence_is_retried_and_only_for_what_was_not_judged(desk: Desk) -> None:
    desk.reporter.link_up()
    for number in (1, 2, 3):
        desk.reporter.add(answered(number))
    desk.reporter.flush()
    desk.judge(2)
    desk.now += module.SILENCE_SECONDS - 1
    desk.reporter.tick()
    assert len(desk.sent) == 1
    desk.now += 1
    desk.reporter.tick()
    assert desk.sent_numbers() == [[1, 2, 3], [1, 3]]
    assert desk.sent[1].places == (0, 2)  # in the batch they were signed in
    assert desk.sent[1].leaves == desk.sent[0].leaves


def test_a_new_link_gets_everything_that_was_not_judged(desk: Desk) -> None:
    desk.reporter.link_up()
    desk.reporter.add(answered(1))
    desk.reporter.flush()
    desk.reporter.link_down()
    desk.reporter.add(answered(2))
    desk.reporter.link_up()
    desk.judge(1, 2)
    assert desk.sent_numbers() in ([[1], [1], [2]], [[1], [1, 2]], [[1], [2], [1]])
    assert desk.reporter.unjudged == 0


def test_without_a_link_answers_are_signed_and_spooled_soon(desk: Desk) -> None:
    """So that `kill -9` of the agent loses at most what finished in the last moment."""
    desk.reporter.add(answered(1))
    desk.reporter.tick()
    assert desk.spool.batches == {}
    desk.now += 2 * module.SEAL_SECONDS
    desk.reporter.tick()
    assert len(desk.spool.batches) == 1
    assert desk.sent == []


def test_a_killed_agent_delivers_after_its_restart_what_it_had_finished(desk: Desk) -> None:
    desk.reporter.add(answered(1))
    desk.reporter.add(answered(2))
    desk.now += 1
    desk.reporter.tick()
    again = desk.restarted()
    assert sorted(again.reporter.held) == [name(1), name(2)]
    again.reporter.link_up()
    assert again.sent_numbers() == [[1, 2]]
    again.judge(1, 2)
    assert again.restarted().reporter.held == []


def test_frames_keep_to_their_limits(desk: Desk) -> None:
    desk.reporter.link_up()
    desk.reporter.add(answered(9_999))
    desk.reporter.flush()
    for number in range(2_500):
        desk.reporter.add(answered(number))
    for number in range(3_000, 3_040):
        desk.reporter.add(answered(number, b"x" * limits.INLINE_BYTES))
    desk.judge(9_999)
    while desk.reporter.unjudged:
        desk.judge(*desk.sent_numbers()[-1])
    assert all(len(report.results) <= limits.FRAME_TASKS for report in desk.sent)
    sizes = [sum(len(one.payload) for one in report.results) for report in desk.sent]
    assert max(sizes) < limits.FRAME_BYTES
    assert sum(map(len, desk.sent_numbers())) == 2_541


def test_many_small_batches_of_a_long_absence_share_frames(desk: Desk) -> None:
    for number in range(20):
        desk.reporter.add(answered(number))
        desk.now += 1
        desk.reporter.tick()
    desk.reporter.link_up()
    assert len(desk.sent) == 20  # one turn of the event loop: one frame on the wire


def test_what_the_hub_cancels_is_forgotten(desk: Desk) -> None:
    desk.reporter.add(answered(1))
    desk.now += 1
    desk.reporter.tick()
    desk.reporter.drop([name(1), name(5)])
    desk.reporter.link_up()
    assert desk.sent == []
    assert desk.restarted().reporter.held == []


def test_a_large_answer_is_put_before_it_is_reported_and_holds_up_nothing_else(desk: Desk) -> None:
    async def scene() -> None:
        desk.reporter.link_up()
        desk.upload_errors = [Unavailable("not now")]
        desk.reporter.add(answered(1, blob=b"B" * 100_000))
        desk.reporter.add(answered(2))
        desk.reporter.flush()
        assert desk.sent_numbers() == [[2]]
        desk.judge(2)
        await asyncio.gather(*desk.reporter._uploads.values())
        desk.reporter.tick()
        await asyncio.gather(*desk.reporter._uploads.values())
        await asyncio.sleep(0)
        assert desk.blobs == {f"{1:064x}": b"B" * 100_000}
        assert desk.sent_numbers() == [[2], [1]]
        desk.judge(1)
        assert desk.reporter.held == []

    module_seconds, module.UPLOAD_AGAIN_SECONDS = module.UPLOAD_AGAIN_SECONDS, 0.0  # type: ignore[misc]
    try:
        asyncio.run(scene())
    finally:
        module.UPLOAD_AGAIN_SECONDS = module_seconds  # type: ignore[misc]


def test_a_large_answer_the_hub_refuses_for_good_is_given_up_aloud(desk: Desk) -> None:
    async def scene() -> None:
        desk.reporter.link_up()
        desk.upload_errors = [BadInput("Too much.")]
        desk.reporter.add(answered(1, blob=b"B" * 100_000))
        desk.reporter.flush()
        await asyncio.gather(*desk.reporter._uploads.values())

    asyncio.run(scene())
    assert desk.given_up == [([name(1)], "Too much.")]
    assert desk.reporter.held == []


def test_a_large_answer_survives_a_restart(desk: Desk) -> None:
    async def scene() -> None:
        desk.reporter.add(answered(1, blob=b"B" * 100_000))
        again = desk.restarted()
        again.reporter.link_up()
        await asyncio.gather(*again.reporter._uploads.values())
        await asyncio.sleep(0)
        assert again.sent_numbers() == [[1]]
        assert again.blobs[f"{1:064x}"] == b"B" * 100_000

    asyncio.run(scene())


def test_a_report_the_hub_will_not_take_is_given_up_and_does_not_keep_the_node_out(desk: Desk) -> None:
    """The hub ends the link over a report it cannot use. Sent again for ever, it would end every link."""
    for number in (1, 2, 3):
        desk.reporter.add(answered(number))
        desk.now += 1
        desk.reporter.tick()  # three batches
    links = 0
    while desk.reporter.unjudged and links < 10:
        links += 1
        desk.sent.clear()
        desk.reporter.link_up()
        while desk.sent:
            flying = [number for report in desk.sent for number in report_numbers(report)]
            desk.sent.clear()
            if 2 in flying:
                desk.reporter.link_down(refused=True)
                break
            desk.judge(*flying)
    assert desk.reporter.unjudged == 0
    assert desk.given_up == [([name(2)], "The hub does not take this report.")]
    assert links <= 5


def report_numbers(report: Report) -> list[int]:
    return [int.from_bytes(one.assignment, "big") for one in report.results]
