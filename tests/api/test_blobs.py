"""Blobs over HTTP: content under its own digest, in stretches, for those who may."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from crowdgrid.hub.api.blobs import stretch
from tests.api.running import RunningHub
from tests.api.test_jobs import refusal


def named(content: bytes) -> str:
    return f"/v1/blobs/{hashlib.sha256(content).hexdigest()}"


def test_what_is_put_is_got_back_whole_and_in_stretches(person: httpx.Client) -> None:
    content = bytes(range(256)) * 4096
    place = named(content)
    assert person.put(place, content=content).json()["size"] == len(content)
    assert person.put(place, content=content).json()["size"] == len(content)
    whole = person.get(place)
    assert (whole.content, whole.headers["etag"]) == (content, f'"{place[10:]}"')
    part = person.get(place, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert person.get(place, headers={"Range": "bytes=-5"}).content == content[-5:]
    assert person.get(place, headers={"Range": "pages=1"}).content == content
    refusal(person.get(place, headers={"Range": "bytes=9999999-"}), 416, "bad_range")
    head = person.head(place)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))


def test_content_that_is_something_else_is_refused(person: httpx.Client) -> None:
    """A digest always names the same bytes, and a refused upload leaves nothing behind."""
    place = named(b"right")
    refusal(person.put(place, content=b"wrong"), 400, "bad_input")
    refusal(person.get(place), 404, "not_found")
    refusal(person.put("/v1/blobs/XYZ", content=b"x"), 400, "bad_input", "64")


def test_an_upload_over_the_limit_is_refused_before_it_is_read(
    person: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdgrid.limits.BLOB_BYTES", 1000)
    content = b"x" * 2000
    refusal(person.put(named(content), content=content), 413, "too_large")
    refusal(person.put(named(content), content=iter([content[:900], content[900:]])), 413, "too_large")


def test_blobs_are_closed_to_who_has_neither_role_nor_lease(hub: RunningHub, owner: str) -> None:
    content = b"private"
    with hub.anybody() as nobody:
        refusal(nobody.get(named(content)), 401, "not_signed_in")
        refusal(nobody.put(named(content), content=content), 401, "not_signed_in")
        node = {"Authorization": "Node 1234"}
        refusal(nobody.get(named(content), headers=node), 403, "not_allowed", "assignment")
        refusal(nobody.put(named(content), content=content, headers=node), 403, "not_allowed")
    with hub.client(owner, "reader") as reader:
        refusal(reader.put(named(content), content=content), 403, "not_allowed", "reader")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", (0, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=2-3", (2, 4)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=-", (0, 10)),
        ("bytes=1-2,4-5", (0, 10)),
    ],
)
def test_a_stretch_is_read_as_rfc_9110_says(header: str, found: tuple[int, int]) -> None:
    assert stretch(header, 10) == found
