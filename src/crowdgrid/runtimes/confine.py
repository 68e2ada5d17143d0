"""Takes away from a worker process what it will never need, before it sees any program.

The sandbox (wasmtime) is the wall; this is the fence behind it. In order: die with the agent, no core
dumps, few files, no new processes or threads, no way to gain privileges, no environment, low priority.
RLIMIT_AS is not set: wasmtime reserves 4 GiB of address space for each linear memory and never
touches most of it; memory is limited by the store's limits instead.

Each step is best effort where the platform lacks it (prctl is Linux only); none can be undone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38
NICE: Final = 10
OPEN_FILES: Final = 64
COMPILE_BYTES: Final = 2 << 30  # what compiling one program may take; a megabyte made for it wants ten times that
FILE_BYTES: Final = 1 << 30  # the largest file it may write: a compiled program in the cache

# wasmtime starts a thread per processor for each of its two pools; a worker runs one program at a time.
THREADS: Final = {"TOKIO_WORKER_THREADS": "1", "RAYON_NUM_THREADS": "2"}


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when process `parent` ends, even while it computes."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(0)


def give_up_rights() -> None:
    """Low priority, no core dumps, few files, no new privileges, empty environment."""
    os.environ.clear()
    os.environ.update(THREADS)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def no_more_processes() -> None:
    """Forbid new processes and threads; call it when every thread this worker needs is running.

    The kernel does not apply this to root.
    """
    if hasattr(resource, "RLIMIT_NPROC"):
        _limit(resource.RLIMIT_NPROC, 0)


@contextlib.contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Within it, this process cannot take more than `more` bytes beyond what it has; native code that tries to ends
    the process, and so only this worker instead of the whole machine. Counts writable memory, not address space
    (RLIMIT_DATA, Linux 4.7); does nothing where there is no such thing."""
    taken = _data_bytes()
    if not taken:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = taken + more
    for old in (soft, hard):
        bound = bound if old == resource.RLIM_INFINITY else min(bound, old)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Bytes of private writable memory of this process, as the kernel counts them for RLIMIT_DATA; 0 unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (value, value))


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)
