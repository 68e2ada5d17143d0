"""Sends functions to a fresh interpreter and calls them there."""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from crowdgrid.client.capture import Captured, capture
from crowdgrid.client.raising import to_exception
from crowdgrid.protocol.calls import pack_call
from crowdgrid.protocol.failures import Failure, unpack_failure
from crowdgrid.protocol.values import unpack_value

RECEIVER = Path(__file__).with_name("receiver.py")


class Failed(Exception):
    """A call or a program failed there."""

    def __init__(self, code: str, error: str, failure: bytes) -> None:
        super().__init__(f"{code}: {error}")
        self.code = code
        self.error = error
        self.data = failure

    @property
    def failure(self) -> Failure:
        return unpack_failure(self.data)


@functools.cache
def _receiver() -> subprocess.Popen[bytes]:
    with tempfile.TemporaryDirectory() as folder:  # it needs none, and finds nothing in this one
        process = subprocess.Popen(
            [sys.executable, "-I", str(RECEIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def send(calls: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str, bytes]]:
    """(kind, error, bytes) of each (program, item), all in one interpreter that has run nothing before."""
    answers, modules = exchange(calls)
    assert modules == [], "a program whose source travels needs no pickles"
    return answers


def exchange(calls: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    """As `send`; and which modules that read pickles were imported there."""
    process = _receiver()
    assert process.stdin is not None
    assert process.stdout is not None
    request = msgspec.msgpack.encode(list(calls))
    process.stdin.write(len(request).to_bytes(8, "little") + request)
    process.stdin.flush()
    size = int.from_bytes(process.stdout.read(8), "little")
    return msgspec.msgpack.decode(process.stdout.read(size), type=tuple[list[tuple[str, str, bytes]], list[str]])


def call_all(fn: Callable[..., Any], *calls: tuple[Any, ...], **options: Any) -> list[Any]:
    """What `fn` returns for each of `calls` there. Raises Failed."""
    seen = capture(fn, **options)
    return [_value(answer) for answer in send([(seen.program, pack_call(args, {})) for args in calls])]


def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What one call of `fn` returns there. Raises Failed."""
    return call_captured(capture(fn), *args, **kwargs)


def call_captured(seen: Captured, *args: Any, **kwargs: Any) -> Any:
    """As `call`."""
    (answer,) = send([(seen.program, pack_call(args, kwargs))])
    return _value(answer)


def raised(fn: Callable[..., Any], *args: Any) -> BaseException:
    """The exception a call of `fn` there leads to here."""
    seen = capture(fn)
    try:
        result = call_captured(seen, *args)
    except Failed as error:
        return to_exception(error.failure, classes=seen.exceptions)
    raise AssertionError(f"it returned {result!r}")


def _value(answer: tuple[str, str, bytes]) -> Any:
    kind, error, data = answer
    if kind != "ok":
        raise Failed(kind, error, data)
    return unpack_value(data)
