"""A job's input over REST: appended, compared, read back."""

from __future__ import annotations

import asyncio
import hashlib

import httpx
import pytest

from crowdgrid import limits
from crowdgrid.client.address import Address
from crowdgrid.client.rest import Rest
from crowdgrid.protocol.packing import chunk_count, pack_chunk, slice_chunk
from tests.api.running import RunningHub
from tests.api.test_jobs import refusal

BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def job(person: httpx.Client, program: str) -> str:
    answer = person.post("/v1/jobs", json={"program": program, "split": {"kind": "items"}})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def append(person: httpx.Client, job: str, first: int, *items: str) -> httpx.Response:
    return person.post(f"/v1/jobs/{job}/items", json={"first": first, "text": list(items)})


def units(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    count = chunk_count(answer.content)
    assert answer.headers["X-Units"] == str(count)
    return slice_chunk(answer.content, 0, count)


def test_input_is_read_back_in_pieces(person: httpx.Client, job: str) -> None:
    items = [f"{n}" for n in range(2_500)]
    for first in range(0, 2_500, 500):
        assert append(person, job, first, *items[first : first + 500]).json() == {"units": first + 500}
    path = f"/v1/jobs/{job}/input"
    assert units(person.get(path)) == [item.encode() for item in items[: limits.APPEND_ITEMS]]
    assert units(person.get(path, params={"start": 490, "stop": 510})) == [item.encode() for item in items[490:510]]
    assert units(person.get(path, params={"start": 2_400, "stop": 9_999})) == [item.encode() for item in items[2_400:]]
    for bounds in ({"start": 2_500}, {"start": 7, "stop": 7}, {"start": 9, "stop": 3}, {"start": 1 << 40}):
        assert units(person.get(path, params=bounds)) == []


def test_the_client_reads_as_much_as_it_wants(hub: RunningHub, owner: str, person: httpx.Client, job: str) -> None:
    items = [f"{n}" for n in range(2_500)]
    for first in range(0, 2_500, 500):
        append(person, job, first, *items[first : first + 500])
    address = Address.parse(hub.url, hub.token(owner, "submitter"))

    async def story() -> None:
        rest = Rest(address)
        assert await rest.input(job, 3, 2_003) == [item.encode() for item in items[3:2_003]]
        assert await rest.input(job, 2_499, 5_000) == [b"2499"]
        assert await rest.input(job, 9_000, 9_001) == []
        await rest.close()

    asyncio.run(story())


def test_a_large_item_is_put_appended_and_read_back(person: httpx.Client, job: str) -> None:
    """Beyond what is stored together it is a chunk by itself; it is streamed, not held."""
    item = b"0123456789abcdef" * (limits.CHUNK_BYTES // 16) + b"!"
    for content in (pack_chunk([item]), pack_chunk([b"small"])):
        digest = hashlib.sha256(content).hexdigest()
        assert person.put(f"/v1/blobs/{digest}", content=content, headers=BYTES).status_code == 200
    assert append(person, job, 0, "first").json() == {"units": 1}
    answer = person.post(f"/v1/jobs/{job}/items", content=item, headers=BYTES, params={"first": 1})
    assert answer.json() == {"units": 2}
    path = f"/v1/jobs/{job}/input"
    assert units(person.get(path)) == [b"first"]
    assert units(person.get(path, params={"start": 1})) == [item]


def test_other_units_in_the_same_place_are_a_conflict(person: httpx.Client, job: str) -> None:
    assert append(person, job, 0, "a", "b").json() == {"units": 2}
    assert append(person, job, 0, "a", "b", "c").json() == {"units": 3}
    problem = refusal(append(person, job, 1, "b", "x"), 409, "conflict")
    assert problem["detail"].startswith("Another program appended other items to this job from unit 2 on.")
    assert "job of its own" in problem["hint"]
    assert append(person, job, -1, "d").json() == {"units": 4}
    assert units(person.get(f"/v1/jobs/{job}/input")) == [b"a", b"b", b"c", b"d"]


def test_who_may_read_input(hub: RunningHub, owner: str, person: httpx.Client, program: str, job: str) -> None:
    append(person, job, 0, "secret")
    path = f"/v1/jobs/{job}/input"
    with hub.client(owner, "reader") as reader, hub.client("somebody else") as other, hub.anybody() as anybody:
        assert units(reader.get(path)) == [b"secret"]
        refusal(other.get(path), 404, "not_found")
        refusal(anybody.get(path), 401, "not_signed_in")
    counted = person.post("/v1/jobs", json={"program": program, "split": {"kind": "range", "start": 0, "stop": 5}})
    refusal(person.get(f"/v1/jobs/{counted.json()['id']}/input"), 409, "conflict")
    refusal(person.get(path, params={"start": -1}), 400, "bad_input")
