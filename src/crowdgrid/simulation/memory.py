"""The hub's store: the one in memory that ships with crowdgrid, asked without waiting.

It is the model the real ones are tested against, fencing included, and keeps what was committed when an engine is
thrown away.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import Recall
from crowdgrid.store import recalling
from crowdgrid.store.memory import MemoryStore

T = TypeVar("T")


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits, as those of `MemoryStore`."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    raise AssertionError("the store in memory waited")


def recall(store: MemoryStore, effect: Recall) -> Recalled:
    """The rows the engine asks for, one page."""
    return done(recalling.recall(store, effect))
