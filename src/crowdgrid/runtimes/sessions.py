"""Sessions of worker processes: how one ends with everything its program started.

A worker leads a session; what a program starts in it belongs to it unless it asks for one of its own. Most of it
is in the worker's process group too, which the kernel ends as one, also while it forks. What has left the group
is looked for.

As long as the leader is not reaped, its number is nobody else's, nor is the group's or the session's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import psutil


def kill(leader: int) -> None:
    """Send SIGKILL to every process of the session of `leader`, a child of ours that is not reaped yet."""
    for group in (leader, *_groups(leader)):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it waits to be reaped, or was; does not reap it."""
    if process.returncode is not None:
        return True
    if sys.platform == "darwin":  # Python has no waitid there
        return bool(psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _groups(session: int) -> set[int]:
    """The process groups of a session, but for its leader's."""
    found = set()
    for pid in psutil.pids():
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if os.getsid(pid) == session:
                found.add(os.getpgid(pid))
    return found - {session}
