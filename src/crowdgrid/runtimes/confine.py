"""Takes away from a worker process what it will never need, before it sees any program.

The sandbox (wasmtime) is the wall; this is the fence behind it. In order: die with the agent, no core
dumps, few files, no new processes or threads, no way to gain privileges, no environment, low priority.
Workers of this machine's own Python have no wall, and `stay_ordinary` takes from them only what an ordinary
program does not miss.
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
OPEN_FILES_ORDINARY: Final = 1024  # what Linux gives a program; select() can watch no more
OOM_SCORE: Final = 500  # of 1,000: where memory runs out, a worker ends before what its owner is working with
COMPILE_BYTES: Final = 2 << 30  # what compiling one program may take; a megabyte made for it wants ten times that
FILE_BYTES: Final = 1 << 30  # the largest file it may write: a compiled program in the cache

# wasmtime starts a thread per processor for each of its two pools; a worker runs one program at a time.
THREADS: Final = {"TOKIO_WORKER_THREADS": "1", "RAYON_NUM_THREADS": "2"}

_CEILING, _HARD = resource.getrlimit(resource.RLIMIT_DATA)


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


def stay_ordinary() -> None:
    """Low priority, no core dumps, no new privileges, the usual number of files, first to go when memory runs out;
    deaf to Ctrl-C, which is the agent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    _limit(resource.RLIMIT_CORE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES_ORDINARY if hard == resource.RLIM_INFINITY else min(OPEN_FILES_ORDINARY, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


@contextlib.contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Within it, this process cannot take more than `more` bytes beyond what it has; native code that tries to ends
    the process, and so only this worker instead of the whole machine."""
    taken = data_bytes()
    if not taken:
        yield
        return
    bound_memory(taken + more)
    try:
        yield
    finally:
        bound_memory(_CEILING)


def bound_memory(most: int) -> None:
    """Let this process have `most` bytes of private writable memory (negative: any), but no more than it could at
    its start. Counts memory, not address space (RLIMIT_DATA, Linux 4.7)."""
    if _CEILING != resource.RLIM_INFINITY:
        most = _CEILING if most < 0 else min(most, _CEILING)
    resource.setrlimit(resource.RLIMIT_DATA, (most, _HARD))


def data_bytes() -> int:
    """Bytes of private writable memory of this process, as the kernel counts them for RLIMIT_DATA; 0: this system
    does not bound them."""
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
