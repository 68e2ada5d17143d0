"""The functions every peer runs, and the arguments it runs them on.

Only the standard library, and every function whole in itself: peers carry them by name, by source or pickled. Busy
functions count their own thread's CPU time, so that a task costs the same however crowded the machine is, and what a
peer's threads do in the same process is not counted as work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import thread_time
from typing import Any


def trivial(x: int) -> int:
    return x + 1


def busy_1ms(x: int) -> int:
    until = thread_time() + 0.001
    while thread_time() < until:
        pass
    return x


def busy_5ms(x: int) -> int:
    until = thread_time() + 0.005
    while thread_time() < until:
        pass
    return x


def busy_10ms(x: int) -> int:
    until = thread_time() + 0.010
    while thread_time() < until:
        pass
    return x


def busy_1s(x: int) -> int:
    until = thread_time() + 1.0
    while thread_time() < until:
        pass
    return x


def length(data: bytes) -> int:
    return len(data)


FUNCTIONS: dict[str, Callable[[Any], int]] = {
    function.__name__: function for function in (trivial, busy_1ms, busy_5ms, busy_10ms, busy_1s, length)
}

_FILLING = os.urandom(1_000_000)


def argument(number: int, size: int) -> Any:
    """The argument of the task of this number: the number itself, or `size` bytes that no other task has."""
    return number.to_bytes(8, "big") + _FILLING[8:size] if size else number


def expected(function: str, number: int, size: int) -> int:
    """What the function has to give for it."""
    return size or (number + 1 if function == "trivial" else number)
