"""Input reaches a job in order and once, however often the hub turns it down or goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from crowdgrid import errors, limits
from crowdgrid.client import joblink
from crowdgrid.client.joblink import JobLink
from crowdgrid.core.model import Counts, Items, JobSpec
from crowdgrid.protocol import messages as m

INFO = m.JobInfo("j", "", "o", "", "open", False, "", 0, 0, 0, Counts(), JobSpec("0" * 64, Items()))


class Link:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[m.Message] = []
        self.jobs: dict[str, JobLink] = {}
        self.reads: dict[int, JobLink] = {}
        self.attached_again = 0
        self._ids = 0

    def say(self, message: m.Message) -> None:
        self.said.append(message)

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def attach_again(self, job: JobLink) -> None:
        self.attached_again += 1

    async def ask(self, message: m.Message, kind: type[m.Message]) -> m.Message:
        self.say(message)
        return m.Done(0)

    def reads_begin(self) -> None:
        """The hub has answered every `Read`."""
        for id, job in self.reads.items():
            job.read_begins(id)
        self.reads.clear()

    def appends(self) -> list[m.Append]:
        return [message for message in self.said if isinstance(message, m.Append)]


def story(told: Callable[[Link, JobLink], Awaitable[None]], info: m.JobInfo = INFO) -> None:
    async def play() -> None:
        link = Link()
        await told(link, JobLink(link, info))  # type: ignore[arg-type]

    asyncio.run(play())


def rows_of(*ordinals: int) -> list[m.ResultRow]:
    return [m.ResultRow(n, n, n + 1, 5, 0, b"") for n in ordinals]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 — a timer of the loop's own is waited for
            await asyncio.sleep(0.01)


def test_appends_are_numbered_by_their_place() -> None:
    async def told(link: Link, job: JobLink) -> None:
        job.append([b"a", b"b"])
        job.append(blob="f" * 64, units=10)
        job.append([b"c"])
        assert [append.first for append in link.appends()] == [0, 2, 12]

    story(told)


def test_what_is_refused_for_now_is_sent_again_with_all_that_follow() -> None:
    """A busy hub takes the second but not the first: the gap's refusal must not be taken for the end."""

    async def told(link: Link, job: JobLink) -> None:
        answers = [job.append([b"%d" % n]) for n in range(3)]
        first, second, third = link.appends()
        job.refused(first.id, errors.Busy())
        job.refused(second.id, errors.BadInput("There is a gap."))
        job.refused(third.id, errors.BadInput("There is a gap."))
        held_back = job.append([b"3"])
        assert len(link.appends()) == 3, "nothing overtakes what is to be sent again"
        await _until(lambda: len(link.appends()) > 3)
        assert [append.first for append in link.appends()[3:]] == [0, 1, 2, 3]
        for append in link.appends()[3:]:
            job.appended(append.id, append.first + 1)
        assert [await answer for answer in [*answers, held_back]] == [1, 2, 3, 4]

    story(told)


def test_what_is_refused_for_good_reaches_who_waits() -> None:
    async def told(link: Link, job: JobLink) -> None:
        answer = job.append([b"x"])
        job.refused(link.appends()[0].id, errors.Conflict("The job is sealed."))
        with pytest.raises(errors.Conflict, match="sealed"):
            await answer
        with pytest.raises(errors.Conflict):
            await job.seal()  # with a part of its input missing
        assert not any(isinstance(message, m.Seal) for message in link.said)

    story(told)


def test_what_is_refused_for_good_takes_what_follows_with_it() -> None:
    """It would leave a gap; nobody may be left waiting for an answer that cannot come."""

    async def told(link: Link, job: JobLink) -> None:
        answers = [job.append([b"%d" % n]) for n in range(3)]
        first, second, _ = link.appends()
        job.refused(second.id, errors.Conflict("There is a gap."))  # before the first, whose units are being compared
        job.refused(first.id, errors.Conflict("Another program appended other items."))
        for answer in [*answers, job.append([b"3"])]:
            with pytest.raises(errors.Conflict, match="other items"):
                await answer

    story(told)


def test_what_was_refused_out_of_turn_is_sent_again_when_it_is_its_turn() -> None:
    async def told(link: Link, job: JobLink) -> None:
        answers = [job.append([b"%d" % n]) for n in range(3)]
        first, second, third = link.appends()
        job.refused(second.id, errors.Busy())
        job.refused(third.id, errors.Conflict("There is a gap."))
        job.appended(first.id, 1)
        assert [append.first for append in link.appends()[3:]] == [1, 2]
        job.appended(second.id, 2)
        job.appended(third.id, 3)
        assert [await answer for answer in answers] == [1, 2, 3]

    story(told)


def test_each_who_has_the_whole_input_feeds_it_from_its_beginning() -> None:
    """A job that was opened twice with one key, or goes on: what it has is compared, so it has to be said. A feed that
    is refused takes nothing from the others."""

    async def told(link: Link, job: JobLink) -> None:
        job.append([b"at its end"])
        ours, theirs = job.appends(), job.appends()
        right = [ours.append([b"a"]), ours.append([b"b"])]
        wrong = theirs.append([b"x"])
        assert [append.first for append in link.appends()] == [7, 0, 1, 0]
        end, a, b, x = link.appends()
        job.refused(x.id, errors.Conflict("Another program appended other items."))
        job.appended(a.id, 7)
        job.attached(m.Opened(9, job.info))
        assert [append.first for append in link.appends()[4:]] == [7, 1]
        job.appended(b.id, 7)
        job.appended(end.id, 8)
        assert [await answer for answer in right] == [7, 7]
        with pytest.raises(errors.Conflict):
            await wrong
        job.close_feed(theirs)
        await job.seal()
        assert isinstance(link.said[-1], m.Seal)

    info = msgspec.structs.replace(INFO, counts=Counts(units=7))
    story(told, info)


def test_a_seal_waits_for_every_append() -> None:
    """One that overtakes input would cut it off."""

    async def told(link: Link, job: JobLink) -> None:
        job.append([b"x"])
        sealing = asyncio.ensure_future(job.seal())
        await asyncio.sleep(0)
        assert not any(isinstance(message, m.Seal) for message in link.said)
        job.appended(link.appends()[0].id, 1)
        await sealing
        assert isinstance(link.said[-1], m.Seal)

    story(told)


def test_a_new_connection_goes_on_where_the_last_one_was() -> None:
    """Unanswered appends in order, then the results from the last ordinal up to which none is missing."""

    async def told(link: Link, job: JobLink) -> None:
        job.append([b"a"])
        job.append([b"b"])
        job.appended(link.appends()[0].id, 1)
        rows: list[int] = []
        job.read(lambda found: rows.extend(row.ordinal for row in found), window=100)
        link.reads_begin()
        job.take_rows(rows_of(0, 1, 5))
        link.said.clear()
        job.attached(m.Opened(9, INFO))
        append, read = link.said
        assert isinstance(append, m.Append)
        assert append.first == 1
        assert isinstance(read, m.Read)
        assert (read.after, read.window) == (1, 97)
        link.reads_begin()
        job.take_rows(rows_of(2, 5, 3))
        assert rows == [0, 1, 5, 2, 3], "what comes twice is handed on once"

    story(told)


def test_rows_of_an_earlier_reading_are_not_taken_for_those_of_the_next() -> None:
    """They may lack the proofs the next one asks for, and are on their way when the first is stopped."""

    async def told(link: Link, job: JobLink) -> None:
        plain: list[m.ResultRow] = []
        signed: list[m.ResultRow] = []
        job.read(plain.extend, window=10)
        link.reads_begin()
        job.take_rows(rows_of(0))
        job.stop_reading()
        job.read(signed.extend, window=10, signed=True)
        job.take_rows(rows_of(0, 1))
        assert (len(plain), signed) == (1, [])
        job.grant(5)
        assert isinstance(link.said[-1], m.Read), "what is granted now would be counted to the first reading"
        link.reads_begin()
        assert link.said[-1:] == [m.Grant("j", 5, -1)]
        job.take_rows(rows_of(0, 1))
        assert len(signed) == 2

    story(told)


def test_a_reading_the_hub_refuses_is_asked_for_again_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblink, "RETRY_SECONDS", 0.01)

    async def told(link: Link, job: JobLink) -> None:
        job.read(lambda rows: None)
        (first,) = link.reads
        job.read_refused(first, errors.Busy())
        await _until(lambda: len(link.reads) == 2)
        assert job.failure is None
        job.read_refused(first, errors.NotFound("There is no such job."))  # of a reading that is not the last
        assert job.failure is None
        job.read_refused(max(link.reads), errors.NotFound("There is no such job."))
        assert isinstance(job.failure, errors.NotFound)

    story(told)


@pytest.mark.parametrize(
    ("ordinal", "start", "stop"), [(0, 5, 3), (0, 3, 3), (0, -1, 2), (-1, 0, 1), (0, 0, 1 << 63), (0, 1 << 70, 1 << 71)]
)
def test_units_no_task_can_have_are_refused_where_they_enter(ordinal: int, start: int, stop: int) -> None:
    """A hub may be a hostile one, and who reads counts, orders and makes room by what rows say."""

    async def told(link: Link, job: JobLink) -> None:
        rows: list[m.ResultRow] = []
        job.read(rows.extend)
        link.reads_begin()
        with pytest.raises(errors.BadInput, match=f"units {start} to {stop}"):
            job.take_rows([m.ResultRow(ordinal, start, stop, 5, 0, b"")])
        assert rows == []
        job.take_rows([m.ResultRow(0, 0, limits.RANGE_BOUND, 5, 0, b"")])
        assert len(rows) == 1, "a task of a range may be as large as the range"

    story(told)


def test_a_hub_that_is_not_ready_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblink, "RETRY_SECONDS", 0.01)

    async def told(link: Link, job: JobLink) -> None:
        job.attached(m.Failed(1, "unavailable", "The hub is starting."))
        await _until(lambda: link.attached_again == 1)
        assert job.failure is None
        job.attached(m.Failed(2, "not_found", "There is no such job."))
        assert isinstance(job.failure, errors.NotFound)

    story(told)
