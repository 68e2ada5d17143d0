"""Python functions as programs: read, never run; what is wrong with one is said when it is put or its job opened."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import httpx
import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.protocol.captured import Document, Name, pack_document
from crowdgrid.protocol.functions import MAGIC, FunctionProgram, pack
from tests.api.running import RunningHub
from tests.api.test_jobs import refusal

BYTES = {"Content-Type": "application/octet-stream"}
DOCUMENT = pack_document(Document((Name("math", "sqrt"),), 0))
PLAIN = pack(FunctionProgram("msgpack", "sqrt", (3, 12), DOCUMENT))
LABEL = "python3.11"
RAN: list[str] = []


class Trap:
    """Whoever unpickles it gives itself away."""

    def __reduce__(self) -> Any:
        return RAN.append, ("unpickled",)


PICKLE = pack(FunctionProgram("pickle", "trap", (3, 11), pickle.dumps(Trap())))


def put(person: httpx.Client, content: bytes, runtime: str) -> httpx.Response:
    return person.put("/v1/programs", content=content, params={"runtime": runtime}, headers=BYTES)


def open_job(person: httpx.Client, content: bytes, runtime: str, **more: Any) -> httpx.Response:
    request = {"program": hashlib.sha256(content).hexdigest(), "runtime": runtime, "split": {"kind": "items"}, **more}
    return person.post("/v1/jobs", json=request)


def test_functions_are_put_and_their_jobs_opened_at_once(person: httpx.Client) -> None:
    """They are known to be good when the answer comes: no job of one waits to be looked at."""
    assert put(person, PLAIN, "python").status_code == 200
    assert open_job(person, PLAIN, "python").json()["state"] == "open"
    assert put(person, PICKLE, "python-pickle").status_code == 200
    assert open_job(person, PICKLE, "python-pickle", labels=[LABEL]).json()["state"] == "open"
    assert RAN == []


def test_a_function_put_as_a_blob_is_looked_at_when_its_job_is_opened(person: httpx.Client) -> None:
    """The way around the endpoint is none, in a hub that has seen it and in one that has not."""
    for content in (PLAIN[:-4], MAGIC + b"junk", b"no function"):
        digest = hashlib.sha256(content).hexdigest()
        assert person.put(f"/v1/blobs/{digest}", content=content, headers=BYTES).status_code == 200
        for _ in range(2):
            refusal(open_job(person, content, "python"), 422, "bad_program")


BAD: dict[str, tuple[bytes, str, str]] = {
    "no function": (b"\0asm\1\0\0\0", "python", "not a Python function"),
    "cut off": (PLAIN[:-4], "python", "cannot be read"),
    "of an unknown codec": (
        MAGIC + msgspec.msgpack.encode(["dill", "f", [3, 11], b""]), "python", "cannot be read"
    ),
    "that refers to nothing": (
        pack(FunctionProgram("msgpack", "f", (3, 11), pack_document(Document((), 0)))), "python", "does not hold"
    ),
    "too large": (MAGIC + bytes(limits.FUNCTION_BYTES), "python-pickle", "over the limit"),
    "a pickle where none is read": (PICKLE, "python", "written with the codec pickle"),
    "a source where pickles are read": (PLAIN, "python-pickle", "written with the codec msgpack"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_function_is_refused_with_the_reason(person: httpx.Client, what: str) -> None:
    content, runtime, why = BAD[what]
    for _ in range(2):  # the second time from memory
        problem = refusal(put(person, content, runtime), 422, "bad_program")
        assert why in problem["detail"]
    assert RAN == []


def test_what_is_good_for_one_runtime_is_not_for_another(person: httpx.Client) -> None:
    """A verdict is of a program and its runtime: put as a pickle it must not be taken for a source."""
    assert put(person, PICKLE, "python-pickle").status_code == 200
    refusal(open_job(person, PICKLE, "python"), 422, "bad_program", "codec pickle")


def test_a_pickle_goes_to_its_own_python_only(person: httpx.Client) -> None:
    assert put(person, PICKLE, "python-pickle").status_code == 200
    for labels in ([], ["gpu"], ["python3.12"], [LABEL, "python3.12"]):
        refusal(
            open_job(person, PICKLE, "python-pickle", labels=labels), 422, "bad_program", "by no other Python", LABEL
        )
    assert open_job(person, PICKLE, "python-pickle", labels=["gpu", LABEL]).status_code == 201


def test_a_function_is_called_for_items_only(person: httpx.Client) -> None:
    assert put(person, PLAIN, "python").status_code == 200
    for split in ({"kind": "range", "start": 0, "stop": 3}, {"kind": "lines"}):
        refusal(open_job(person, PLAIN, "python", split=split), 400, "bad_input", "once for each item")


def test_a_job_that_was_opened_survives_a_look_at_its_program(hub: RunningHub, person: httpx.Client) -> None:
    """After a restart the engine asks again about programs of jobs that were still to be judged."""
    assert put(person, PLAIN, "python").status_code == 200
    digest = hashlib.sha256(PLAIN).hexdigest()
    assert hub.do(hub.hub.programs._look(digest, "python")) == ""
    gone = hashlib.sha256(b"never put").hexdigest()
    assert "no longer" in hub.do(hub.hub.programs._look(gone, "python"))
    junk = b"junk that is no function"
    person.put(f"/v1/blobs/{hashlib.sha256(junk).hexdigest()}", content=junk, headers=BYTES)
    assert "not a Python function" in hub.do(hub.hub.programs._look(hashlib.sha256(junk).hexdigest(), "python"))
