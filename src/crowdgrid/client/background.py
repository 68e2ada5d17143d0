"""The thread the client's event loop runs on, and the way to it from ordinary code.

One daemon thread a process, started when it is first needed. Waiting for it can be interrupted with Ctrl-C: what
was waited for is cancelled, the loop and everybody else on it go on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from crowdgrid.errors import CrowdgridError, Unavailable

T = TypeVar("T")
THREAD: Final = "crowdgrid-client"

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0


def loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process's client."""
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():  # a forked child has no such thread
            _loop, _pid = _new_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name=THREAD, daemon=True).start()
        return _loop


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on this platform
        return asyncio.new_event_loop()
    made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return made


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run something on the loop without waiting for it."""
    return asyncio.run_coroutine_threadsafe(work, loop())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run something on the loop and wait for it. Raises what it raises."""
    if threading.current_thread().name == THREAD:
        work.close()
        raise CrowdgridError("This would wait for itself: it was called from crowdgrid's own thread.")
    future = start(work)
    try:
        return future.result()
    except CancelledError:
        raise Unavailable("This connection to the hub was closed.") from None
    except BaseException:
        future.cancel()
        raise
