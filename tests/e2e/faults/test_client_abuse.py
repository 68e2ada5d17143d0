"""What a submitter's program may not do on its link, said with the codec alone; the grid goes on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import crowdgrid
from crowdgrid import limits
from crowdgrid.core.model import Grid as ParameterGrid
from crowdgrid.core.model import Items, Range
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from tests.e2e.faults.conftest import ECHO
from tests.e2e.faults.raw import RawClient
from tests.e2e.grid import TOKEN, Grid, until

pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture
def client(grid: Grid) -> Iterator[RawClient]:
    with RawClient(grid.url) as found:
        yield found


def opened(client: RawClient, echo: str, **told: Any) -> m.JobInfo:
    """A job of items no agent here takes up."""
    fields: dict[str, Any] = {"program": echo, "split": Items(), "runtime": "echo", "key": secrets.token_hex(8)} | told
    found: m.JobInfo = client.ask(m.Open, m.JobRequest(**fields)).job
    return found


def refused(answer: Any, code: str, *words: str) -> m.Failed:
    assert isinstance(answer, m.Failed), answer
    assert answer.code == code, answer
    for word in words:
        assert word in answer.message + answer.hint, answer
    return answer


def end(client: RawClient, info: m.JobInfo) -> None:
    assert isinstance(client.ask(m.CancelJob, info.id), m.Done)


# --- the door --------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "cg_wrong", "x" * 5_000])
def test_a_wrong_token_is_refused_with_what_to_do(grid: Grid, token: str) -> None:
    with pytest.raises(InvalidStatus) as turned_away:
        RawClient(grid.url, token)
    response = turned_away.value.response
    assert response.status_code == 401
    problem = msgspec.json.decode(response.body)
    assert problem["code"] == "not_signed_in"
    assert "token" in problem["detail"]
    assert "CROWDGRID_TOKEN" in problem["hint"]


def test_a_reader_may_look_and_not_submit_and_nobody_sees_what_is_not_theirs(
    grid: Grid, client: RawClient, echo: str
) -> None:
    info = opened(client, echo)
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def token(owner: str, role: str) -> str:
        answer = httpx.post(f"{grid.url}/v1/tokens", json={"owner": owner, "role": role}, headers=headers)
        return str(answer.json()["secret"])

    with RawClient(grid.url, token("ada", "reader")) as reader:
        request = m.JobRequest(program=echo, split=Items(), runtime="echo")
        refused(reader.ask(m.Open, request), "not_allowed", "reader token", "submitter")
    with RawClient(grid.url, token("ben", "submitter")) as other:
        asked: tuple[tuple[type[m.Message], tuple[Any, ...]], ...] = (
            (m.Attach, ()), (m.Append, (0, (b"x",))), (m.Seal, ()), (m.CancelJob, ()), (m.Read, ()),
        )  # fmt: skip
        for kind, words in asked:
            refused(other.ask(kind, info.id, *words), "not_found")
    end(client, info)


# --- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        (b"\xc1", "msgpack"),
        (b"{}", "schema"),
        (msgspec.msgpack.encode([["append", 1]]), "schema"),
        (msgspec.msgpack.encode([["append", 1, "j", -1, "items"]]), "schema"),
    ],
    ids=["reserved", "json", "short", "type"],
)
def test_a_frame_that_makes_no_sense_ends_the_link_with_a_reason(client: RawClient, frame: bytes, word: str) -> None:
    client.socket.send(frame)
    error = client.error()
    assert (error.code, error.fatal) == ("bad_input", True)
    assert word in error.message
    assert client.ended()[0] == 1002


def test_a_frame_of_text_ends_the_link_with_a_reason(client: RawClient) -> None:
    client.socket.send("hello?")
    code, reason = client.ended()
    assert code == 1002, reason


def test_an_oversized_frame_ends_the_link(client: RawClient) -> None:
    with suppress(ConnectionClosed):  # it may be closed before all of it was sent
        client.socket.send(bytes(limits.FRAME_BYTES + 1))
    assert client.ended()[0] in (1009, 1006)


def test_an_unknown_message_is_answered_and_the_link_lives(client: RawClient, echo: str) -> None:
    client.socket.send(msgspec.msgpack.encode([["shout", 1, 2]]))
    error = client.error()
    assert (error.code, error.fatal) == ("unknown_message", False)
    end(client, opened(client, echo))


# --- requests --------------------------------------------------------------------------------------


def test_appending_out_of_order_is_refused_and_the_right_order_goes_on(client: RawClient, echo: str) -> None:
    """A gap, other units in the same place, an append after sealing: each refused in its own words, and nothing of it
    is kept."""
    info = opened(client, echo)

    def append(first: int, *items: bytes) -> Any:
        return client.ask(m.Append, info.id, first, items)

    assert append(0, b"0", b"1").units == 2
    refused(append(5, b"5"), "conflict", "the next to append", "not 5")
    refused(append(1, b"other", b"2"), "conflict", "other items", "from unit 1 on", "job of its own")
    refused(append(0, b"0", b"other", b"2"), "conflict", "from unit 1 on")
    assert append(0, b"0", b"1").units == 2, "the same again is harmless"
    assert append(1, b"1", b"2").units == 3, "and so it is with more after it"
    refused(append(-1, b"x"), "bad_input", "ordinals")
    refused(append(1 << 60, b"x"), "bad_input", "ordinals")
    refused(append(3), "bad_input", "items or the digest")
    refused(client.ask(m.Append, info.id, 3, (b"x",), "ab" * 32), "bad_input", "items or the digest")
    refused(client.ask(m.Append, info.id, 3, (), "ab" * 32), "not_found")
    refused(client.ask(m.Append, info.id, 3, (), "no digest"), "bad_input", "SHA-256")
    assert isinstance(client.ask(m.Seal, info.id), m.Done)
    refused(append(3, b"3"), "conflict", "sealed", "new job")
    assert client.ask(m.Attach, info.id).job.counts.units == 3
    end(client, info)


def test_a_blob_that_is_no_chunk_is_refused(grid: Grid, client: RawClient, echo: str) -> None:
    info = opened(client, echo)
    refused(client.ask(m.Append, info.id, 0, (), echo), "bad_input", "chunk")
    end(client, info)


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"program": "ab" * 32}, "no program"),
        ({"program": "../../etc/passwd"}, "64 lower-case hex digits"),
        ({"runtime": "bash"}, "no runtime 'bash'"),
        ({"reduce": "average"}, "average"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": (1 << 64) - 1}, "timeout_ms"),
        ({"memory_bytes": -1}, "memory_bytes"),
        ({"priority": 1 << 40}, "priority"),
        ({"max_errors": -1}, "max_errors"),
        ({"target_ms": 1 << 63}, "target_ms"),
        ({"milli_cpus": 0}, "milli_cpus"),
        ({"min_trust": float("nan")}, "min_trust"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 1_000}, "name"),
        ({"labels": ("x",) * 1_000}, "labels"),
        ({"args": ("a\0b",)}, "zero byte"),
        ({"split": Range(-(1 << 63), (1 << 63) - 1)}, "range"),
        ({"split": Range(0, 10, 1 << 62), "reduce": "no"}, "no"),
        ({"split": ParameterGrid((("rate", ()),))}, "rate"),
        ({"split": ParameterGrid((("rate", ("1",)), ("rate", ("2",))))}, "rate"),
        ({"split": ParameterGrid(tuple((f"a{n}", ("1",)) for n in range(17)))}, "17 axes"),
        ({"sealed": True}, "no input"),
    ],
    ids=lambda told: str(next(iter(told.items())))[:40] if isinstance(told, dict) else "",
)
def test_a_job_that_makes_no_sense_is_refused_in_words(client: RawClient, echo: str, told: Any, word: str) -> None:
    fields = {"program": echo, "split": Items(), "runtime": "echo"} | told
    answer = client.ask(m.Open, m.JobRequest(**fields))
    assert isinstance(answer, m.Failed), answer
    assert answer.code in ("bad_input", "too_large", "bad_program"), answer
    assert word in answer.message, answer
    assert answer.message.endswith("."), answer


def test_requests_about_jobs_that_are_not_there_are_refused(client: RawClient) -> None:
    for job in ("never-was", "j" + "a" * 26, "", "x" * 10_000, "\0"):
        refused(client.ask(m.Attach, job), "not_found", "no job")
    refused(client.ask(m.Read, "never-was"), "not_found")
    client.say(m.Grant("never-was", 5), m.StopReading("never-was"))
    refused(client.ask(m.Seal, "never-was"), "not_found")


def test_a_window_out_of_bounds_is_refused(client: RawClient, echo: str) -> None:
    info = opened(client, echo)
    refused(client.ask(m.Read, info.id, -1, 1 << 40), "too_large", "window")
    refused(client.ask(m.Read, info.id, -1, -1), "too_large", "window")
    end(client, info)


def test_the_same_key_asked_twice_at_once_is_one_job(grid: Grid, client: RawClient, echo: str) -> None:
    """Also in one frame; and a key used for other work is refused."""
    request = m.JobRequest(program=echo, split=Range(0, 5), runtime="echo", key=secrets.token_hex(8))
    first, second = client.id(), client.id()
    client.say(m.Open(first, request), m.Open(second, request))
    jobs = {client.next(m.Opened).job.id for _ in range(2)}
    assert len(jobs) == 1
    other = msgspec.structs.replace(request, split=Range(0, 6))
    refused(client.ask(m.Open, other), "conflict", "another job", "fresh key")
    client.ask(m.CancelJob, jobs.pop())


def test_the_same_name_asked_for_many_times_at_once_is_one_job(client: RawClient, echo: str) -> None:
    requests = [m.JobRequest(program=echo, split=Range(0, 5), runtime="echo", name="only-one") for _ in range(50)]
    ids = [client.id() for _ in requests]
    client.say(*(m.Open(id, request) for id, request in zip(ids, requests, strict=True)))
    answers = [client.next(m.Message, lambda each: getattr(each, "id", 0) in ids) for _ in ids]
    made = [answer.job for answer in answers if isinstance(answer, m.Opened)]
    assert len(made) == 1
    assert {answer.code for answer in answers if isinstance(answer, m.Failed)} == {"conflict"}
    end(client, made[0])


def test_a_job_of_long_values_can_be_attached_to(grid: Grid, client: RawClient, echo: str) -> None:
    """What does not fit a frame is left out of what is told of it; the link does not break over it again and again."""
    values = [f"{at}" + "x" * 3_000 for at in range(340)]
    split = {"kind": "grid", "axes": [["text", values]]}
    body = {"program": echo, "runtime": "echo", "name": "long-values", "split": split}
    values[0] += "x" * (limits.FRAME_BYTES - len(msgspec.json.encode(body)))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = httpx.post(f"{grid.url}/v1/jobs", content=msgspec.json.encode(body), headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text
    info = client.ask(m.Attach, "long-values").job
    assert info.counts.units == 340
    end(client, info)


# --- listening -------------------------------------------------------------------------------------


def test_a_client_that_does_not_listen_is_cut_off(grid: Grid, echo: str) -> None:
    """It asks and asks and reads nothing: its link is ended, and what was meant for it fills nobody's memory."""
    hub = psutil.Process(grid.hub.pid)
    before = hub.memory_info().rss
    with RawClient(grid.url, room=4_096) as client:
        info = opened(client, echo, args=("x" * 20_000,))
        frame = codec.encode([m.Attach(number, info.id) for number in range(1, 100)])
        client.socket.socket.settimeout(1)
        with suppress(ConnectionClosed, OSError):
            for _ in range(5_000):
                client.socket.send(frame)
    with RawClient(grid.url) as again:
        end(again, info)
    until(lambda: hub.memory_info().rss - before < 96 << 20, "the hub's memory is what it was")


def test_results_wait_in_the_store_for_a_reader_that_pauses(grid: Grid) -> None:
    """A reader that stops reading is not sent more than fits; when it reads on it gets every row."""
    large = crowdgrid.Items((bytes([at % 256]) * 60_000 for at in range(400)), piece=1)
    with grid.connect() as connected:
        job = connected.run(ECHO, split=large, name="large-results")
        with RawClient(grid.url, room=4_096) as client:
            client.ask(m.Attach, job.id)
            client.say(m.Read(client.id(), job.id, -1, 100_000))
            assert job.wait(timeout=60) == "final"
            seen: set[int] = set()
            while len(seen) < job.counts.validated:
                seen |= {row.ordinal for row in client.next(m.Results).rows}
            assert seen == set(range(job.counts.validated))
