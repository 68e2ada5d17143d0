"""The client link by hand: what the hub answers to right, wrong and hostile words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from crowdgrid import limits
from crowdgrid.core.model import Items, Outcome, Range, TaskState
from crowdgrid.ids import did_of
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.api.running import RunningHub

M = TypeVar("M", bound=m.Message)
SECONDS = 10


class Client:
    """One link, word by word."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Any] = []

    async def say(self, *messages: m.Message) -> None:
        await self.socket.send(codec.encode(messages))

    async def hear(self, kind: type[M], which: Callable[[M], bool] = lambda _: True) -> M:
        """The next message of a kind; others are kept."""
        async with asyncio.timeout(SECONDS):
            while True:
                for at, message in enumerate(self.heard):
                    if isinstance(message, kind) and which(message):
                        del self.heard[at]
                        return message
                frame = await self.socket.recv()
                assert isinstance(frame, bytes)
                self.heard += codec.hub_to_client.decode(frame)

    async def ask(self, message: Any, kind: type[M]) -> M:
        await self.say(message)
        return await self.hear(kind, lambda answer: getattr(answer, "id", message.id) == message.id)

    async def rows(self, count: int) -> list[m.ResultRow]:
        found: list[m.ResultRow] = []
        while len(found) < count:
            found += (await self.hear(m.Results)).rows
        return found

    async def silence(self, kind: type[M]) -> None:
        """Nothing of a kind comes; a request and its answer prove that everything before it was said."""
        await self.ask(m.Attach(999_999, "no such job"), m.Failed)
        assert [message for message in self.heard if isinstance(message, kind)] == []


Story = Callable[[Client], Awaitable[None]]


def tell(hub: RunningHub, owner: str, story: Story, role: str = "submitter") -> None:
    """Run a story on a link of this owner's."""
    token = hub.token(owner, role)

    async def play() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        url = hub.url.replace("http", "ws") + "/v1/client"
        async with connect(url, additional_headers=headers, compression=None, max_size=None, proxy=None) as socket:
            await story(Client(socket))

    asyncio.run(play())


def request(program: str, **more: Any) -> m.JobRequest:
    return m.JobRequest(**{"program": program, "split": Items(piece=1), **more})


# --- jobs ----------------------------------------------------------------------------------------


def test_a_job_is_opened_appended_to_sealed_and_read(hub: RunningHub, owner: str, program: str) -> None:
    async def story(client: Client) -> None:
        opened = await client.ask(m.Open(1, request(program)), m.Opened)
        job = opened.job.id
        assert (await client.ask(m.Append(2, job, 0, (b"a", b"b")), m.Appended)).units == 2
        await client.ask(m.Seal(3, job), m.Done)
        await client.ask(m.Read(4, job), m.Done)
        node = await asyncio.to_thread(hub.node, owner)
        for _ in range(2):
            await asyncio.to_thread(node.work, b"answer")
        rows = await client.rows(2)
        assert {(row.ordinal, row.start, row.stop, row.payload) for row in rows} == {
            (0, 0, 1, b"answer"),
            (1, 1, 2, b"answer"),
        }
        assert all(row.node.startswith("did:key:z6Mk") or row.node.startswith("did:key:z") for row in rows)
        ended = await client.hear(m.JobUpdate, lambda update: update.job.state == "final")
        assert ended.job.counts.validated == 2
        await asyncio.to_thread(node.leave)

    tell(hub, owner, story)


def test_what_is_said_twice_happens_once(hub: RunningHub, owner: str, program: str) -> None:
    """A client that lost its link says everything unanswered again."""

    async def story(client: Client) -> None:
        first = await client.ask(m.Open(1, request(program, key="k")), m.Opened)
        again = await client.ask(m.Open(2, request(program, key="k")), m.Opened)
        assert first.job.id == again.job.id
        for id in (3, 4):
            assert (await client.ask(m.Append(id, first.job.id, 0, (b"a",)), m.Appended)).units == 1
        await client.ask(m.CancelJob(7, first.job.id), m.Done)
        await client.ask(m.CancelJob(8, first.job.id), m.Done)

    tell(hub, owner, story)


def test_appends_sent_together_arrive_in_order(hub: RunningHub, owner: str, program: str) -> None:
    """Hundreds in flight on one link, none waited for."""

    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        await client.say(*[m.Append(10 + n, job, n, (b"%d" % n,)) for n in range(500)])
        answers = [await client.hear(m.Appended) for _ in range(500)]
        assert {answer.id for answer in answers} == set(range(10, 510))
        assert all(answer.units > answer.id - 10 for answer in answers)

    tell(hub, owner, story)


def test_a_gap_is_refused_by_name(hub: RunningHub, owner: str, program: str) -> None:
    """Otherwise input would be lost without a word."""

    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        refused = await client.ask(m.Append(2, job, 5, (b"x",)), m.Failed)
        assert refused.code in {"bad_input", "conflict"}

    tell(hub, owner, story)


def test_rows_keep_to_the_window(hub: RunningHub, owner: str, program: str) -> None:
    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        await client.ask(m.Append(2, job, 0, (b"x",) * 5), m.Appended)
        await client.ask(m.Read(3, job, window=2), m.Done)
        node = await asyncio.to_thread(hub.node, owner)
        for _ in range(5):
            await asyncio.to_thread(node.work)
        found = await client.rows(2)
        await client.silence(m.Results)
        await client.say(m.Grant(job, 10))
        found += await client.rows(3)
        assert {row.ordinal for row in found} == set(range(5))
        await asyncio.to_thread(node.leave)

    tell(hub, owner, story)


def test_a_reading_that_was_stopped_before_it_began_does_not_begin(hub: RunningHub, owner: str, program: str) -> None:
    """Looking the job up takes its time; what is said meanwhile must not be overtaken by it."""
    jobs: list[str] = []

    async def before(client: Client) -> None:
        jobs.append((await client.ask(m.Open(1, request(program)), m.Opened)).job.id)
        await client.ask(m.Append(2, jobs[0], 0, (b"x",) * 3), m.Appended)

    async def after(client: Client) -> None:
        await client.say(m.Read(1, jobs[0]), m.StopReading(jobs[0]))
        await client.hear(m.Done)
        await client.silence(m.Results)
        await client.say(m.Read(2, jobs[0]), m.Read(3, jobs[0], after=1), m.StopReading(jobs[0]), m.Read(4, jobs[0], 0))
        for _ in range(3):
            await client.hear(m.Done)
        assert {row.ordinal for row in await client.rows(2)} == {1, 2}
        await client.silence(m.Results)

    tell(hub, owner, before)
    node = hub.node(owner)
    for _ in range(3):
        node.work()
    tell(hub, owner, after)
    node.leave()


def test_a_task_given_up_comes_with_what_its_node_said(hub: RunningHub, owner: str, program: str) -> None:
    """To whoever reads live, and to whoever comes later."""

    async def story(client: Client) -> None:
        asked = request(program, stale_ceiling=1, allow_abandoned=True)
        job = (await client.ask(m.Open(1, asked), m.Opened)).job.id
        await client.ask(m.Append(2, job, 0, (b"x",)), m.Appended)
        await client.ask(m.Read(3, job), m.Done)
        node = await asyncio.to_thread(hub.node, owner)

        def fail() -> None:
            node.fetch()
            node.report(node.lease(), error="The disk of the node is full.", outcome=Outcome.NODE_ERROR)
            node.leave()

        await asyncio.to_thread(fail)
        (row,) = await client.rows(1)
        assert (row.state, row.outcome) == (TaskState.ABANDONED, Outcome.NODE_ERROR)
        assert row.error == "Given up after a lost lease. The last node to say why: The disk of the node is full."
        assert row.node == did_of(node.record.key)
        await client.say(m.StopReading(job))
        await client.ask(m.Read(4, job), m.Done)
        assert await client.rows(1) == [row]

    tell(hub, owner, story)


def test_who_comes_back_reads_on_from_the_last_ordinal(hub: RunningHub, owner: str, program: str) -> None:
    jobs: list[str] = []

    async def before(client: Client) -> None:
        jobs.append((await client.ask(m.Open(1, request(program, name="mine")), m.Opened)).job.id)
        await client.ask(m.Append(2, jobs[0], 0, (b"x",) * 6), m.Appended)

    async def after(client: Client) -> None:
        assert (await client.ask(m.Attach(1, "mine"), m.Opened)).job.id == jobs[0]
        await client.ask(m.Read(2, jobs[0], after=3), m.Done)
        assert {row.ordinal for row in await client.rows(2)} == {4, 5}
        await client.silence(m.Results)
        await client.say(m.StopReading(jobs[0]))
        await client.ask(m.Read(3, jobs[0], after=-1), m.Done)
        assert {row.ordinal for row in await client.rows(6)} == set(range(6))

    tell(hub, owner, before)
    node = hub.node(owner)
    for _ in range(6):
        node.work()
    tell(hub, owner, after)
    node.leave()


def test_counters_are_told_at_most_twice_a_second(hub: RunningHub, owner: str, program: str) -> None:
    """A job of a million tasks must not cost a million updates."""

    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        await client.ask(m.Append(2, job, 0, (b"x",) * 40), m.Appended)
        node = await asyncio.to_thread(hub.node, owner)
        began = asyncio.get_running_loop().time()
        for _ in range(40):
            await asyncio.to_thread(node.work)
        await client.hear(m.JobUpdate, lambda update: update.job.counts.validated == 40)
        took = asyncio.get_running_loop().time() - began
        updates = [message for message in client.heard if isinstance(message, m.JobUpdate)]
        assert len(updates) <= 2 * took + 3
        await asyncio.to_thread(node.leave)

    tell(hub, owner, story)


def test_a_job_somebody_has_in_hand_is_attended(hub: RunningHub, owner: str, program: str) -> None:
    """Only when its last client goes does the time begin after which an open job is sealed."""
    jobs: list[str] = []

    def attended() -> int:
        number = hub.hub.keeper.ids.numbers(jobs[0])[1]
        return int(hub.hub.keeper._engine.state.jobs[number].attended)

    async def until(count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while attended() != count:  # noqa: ASYNC110 — it happens in another thread's engine
                await asyncio.sleep(0.01)

    async def story(client: Client) -> None:
        jobs.append((await client.ask(m.Open(1, request(program)), m.Opened)).job.id)
        await until(1)

    tell(hub, owner, story)
    asyncio.run(until(0))


# --- what is not allowed -------------------------------------------------------------------------


def test_nobody_comes_in_without_a_token(hub: RunningHub) -> None:
    """Refused at the handshake, with the same problem document as over HTTP."""

    async def knock(headers: dict[str, str]) -> InvalidStatus:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(hub.url.replace("http", "ws") + "/v1/client", additional_headers=headers, proxy=None):
                pass
        return refused.value

    for headers in ({}, {"Authorization": "Bearer cg_wrong"}, {"Authorization": "Basic eA=="}):
        response = asyncio.run(knock(headers)).response
        assert response.status_code == 401
        assert msgspec.json.decode(bytes(response.body or b""))["code"] == "not_signed_in"


def test_somebody_elses_job_does_not_exist(hub: RunningHub, owner: str, program: str) -> None:
    jobs: list[str] = []

    async def mine(client: Client) -> None:
        jobs.append((await client.ask(m.Open(1, request(program)), m.Opened)).job.id)

    async def theirs(client: Client) -> None:
        for asked in (
            m.Attach(1, jobs[0]),
            m.Append(2, jobs[0], 0, (b"x",)),
            m.Seal(3, jobs[0]),
            m.CancelJob(4, jobs[0]),
            m.Read(5, jobs[0]),
        ):
            assert (await client.ask(asked, m.Failed)).code == "not_found"
        await client.say(m.Grant(jobs[0], 5), m.StopReading(jobs[0]))
        await client.silence(m.Results)

    tell(hub, owner, mine)
    tell(hub, owner + "x", theirs)


def test_a_reader_opens_nothing(hub: RunningHub, owner: str, program: str) -> None:
    async def story(client: Client) -> None:
        assert (await client.ask(m.Open(1, request(program)), m.Failed)).code == "not_allowed"

    tell(hub, owner, story, role="reader")


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"split": Range(5, 0)}, "bad_input"),
        ({"reduce": "magic"}, "bad_input"),
        ({"program": hashlib.sha256(b"nowhere").hexdigest()}, "bad_program"),
        ({"program": "x"}, "bad_input"),
        ({"priority": 101}, "bad_input"),
        ({"name": "x" * 300}, "too_large"),
    ],
)
def test_a_bad_request_is_refused_and_the_link_lives(
    hub: RunningHub, owner: str, program: str, made: dict[str, Any], code: str
) -> None:
    async def story(client: Client) -> None:
        assert (await client.ask(m.Open(1, request(**{"program": program, **made})), m.Failed)).code == code
        await client.ask(m.Open(2, request(program)), m.Opened)

    tell(hub, owner, story)


@pytest.mark.parametrize("window", [-1, 1 << 60])
def test_a_window_without_measure_is_refused(hub: RunningHub, owner: str, program: str, window: int) -> None:
    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        await client.ask(m.Read(2, job, window=window), m.Failed)

    tell(hub, owner, story)


def test_a_grant_without_measure_ends_only_this_link(hub: RunningHub, owner: str, program: str) -> None:
    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        await client.ask(m.Read(2, job), m.Done)
        await client.say(m.Grant(job, -5))
        with pytest.raises(ConnectionClosed):
            await client.ask(m.Seal(3, job), m.Done)

    tell(hub, owner, story)
    tell(hub, owner, _lives(program))


def _lives(program: str) -> Story:
    async def story(client: Client) -> None:
        await client.ask(m.Open(1, request(program)), m.Opened)

    return story


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x00",
        msgspec.msgpack.encode([["open"]]),
        msgspec.msgpack.encode([["append", 1, "j", 0, ["text"]]]),
        msgspec.msgpack.encode({"a": 1}),
        b"\x91" * 10_000,
        "text",
    ],
)
def test_what_is_no_frame_ends_the_link_with_a_word_and_harms_nobody(
    hub: RunningHub, owner: str, program: str, frame: bytes | str
) -> None:
    async def story(client: Client) -> None:
        await client.socket.send(frame)
        error = await client.hear(m.Error)
        assert error.fatal
        assert error.message
        with pytest.raises(ConnectionClosed):
            await client.ask(m.Attach(1, "x"), m.Failed)

    tell(hub, owner, story)
    tell(hub, owner, _lives(program))


def test_an_oversized_frame_ends_the_link(hub: RunningHub, owner: str, program: str) -> None:
    async def story(client: Client) -> None:
        with suppress(ConnectionClosed):  # it may be closed before all of the frame is sent
            await client.socket.send(b"\x00" * (limits.FRAME_BYTES + 1))
        with pytest.raises(ConnectionClosed):
            await client.ask(m.Attach(1, "x"), m.Failed)

    tell(hub, owner, story)
    tell(hub, owner, _lives(program))


def test_an_unknown_word_is_answered_and_the_link_lives(hub: RunningHub, owner: str, program: str) -> None:
    """A newer client may know more words than this hub."""

    async def story(client: Client) -> None:
        await client.socket.send(msgspec.msgpack.encode([["levitate", 1], ["attach", 2, "none"]]))
        error = await client.hear(m.Error)
        assert (error.code, error.fatal) == ("unknown_message", False)
        await client.hear(m.Failed, lambda failed: failed.id == 2)
        await _lives(program)(client)

    tell(hub, owner, story)


def test_a_client_that_vanishes_in_the_midst_leaves_the_hub_whole(hub: RunningHub, owner: str, program: str) -> None:
    """Hundreds of requests under way, then the socket is gone without a goodbye."""

    async def story(client: Client) -> None:
        job = (await client.ask(m.Open(1, request(program)), m.Opened)).job.id
        await client.say(m.Read(2, job), *[m.Append(10 + n, job, n, (b"x",)) for n in range(300)])
        client.socket.transport.abort()

    tell(hub, owner, story)
    tell(hub, owner, _lives(program))
