"""The sentences for what cannot travel: who captures what, and what to do about it."""

from __future__ import annotations

import io
import random
import socket
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from types import FrameType, MethodType, TracebackType
from typing import Any, Final, NamedTuple

from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.forms import type_name, with_article

_SAME_NUMBERS: Final = (
    "Every call would draw the same numbers; make it in the function, from a seed that is an argument."
)
PICKLE: Final = 'On a grid of your own, codec="pickle" carries it.'


class Place(NamedTuple):
    """Where something was found: `name` is what it is called in `owner`, a function or class captured for `root`."""

    root: str
    owner: str
    name: str
    inside: bool = False

    def at(self, name: str) -> Place:
        """A variable of the same owner."""
        return self._replace(name=name, inside=False)

    def within(self) -> Place:
        """Something in a container there."""
        return self._replace(inside=True)

    def of(self, owner: str) -> Place:
        """A variable of another owner."""
        return Place(self.root, owner, "")


def refuse(value: Any, place: Place, hint: str = "") -> CannotTravel:
    """What to raise for `value`, which cannot travel."""
    what = with_article(type_name(value))
    if not place.name:
        return CannotTravel(f"{place.root} is {what}, which cannot travel.", hint=hint or hint_for(value))
    captures = f"{place.root} captures `{place.name}`"
    if place.owner != place.root:
        captures += f" through {place.owner}"
    what = f" with {what} in it" if place.inside else f", {what}"
    return CannotTravel(f"{captures}{what}, which cannot travel.", hint=hint or hint_for(value))


def hint_for(value: Any) -> str:
    """What to do about it, by what it is."""
    if type(value).__module__.startswith("numpy.random"):
        return _SAME_NUMBERS
    for kinds, hint in _HINTS:
        if isinstance(value, kinds):
            return hint
    return f"Make it inside the function, or pass what it is made of as an argument. {PICKLE}"


_HINTS: Final[tuple[tuple[Any, str], ...]] = (
    (socket.socket, "A connection stays on its machine; open it inside the function."),
    (io.IOBase, "An open file stays on its machine; open it inside the function, or pass what is in it."),
    (
        (type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Condition, threading.Semaphore),
        "Calls run in different processes, where a lock of this one means nothing; remove it or make it inside.",
    ),
    (threading.Thread, "A thread stays in its process; start it inside the function."),
    (random.Random, _SAME_NUMBERS),
    ((Generator, AsyncGenerator, Coroutine), "Pass a list of what it yields, or make it inside the function."),
    (Iterator, "Pass a list of what it yields, or make it inside the function."),
    ((FrameType, TracebackType), "It belongs to a running program."),
    (MethodType, f"Send a function that makes the object itself. {PICKLE}"),
)


def too_large(place: Place, size: int, limit: int) -> CannotTravel:
    """What to raise for a captured value over the limit."""
    name = f"`{place.name}`" if place.name else "a value"
    return CannotTravel(
        f"{place.root} captures {name}, which takes {size:,} bytes; at most {limit:,} travel with a function.",
        hint="Pass it as an argument.",
    )
