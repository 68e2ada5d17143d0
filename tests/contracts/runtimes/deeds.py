"""What functions do, well or badly. Sent to workers whole, never imported by tests."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

seen: list[Any] = []


def same(value: Any) -> Any:
    return value


def halve(value: int) -> float:
    print("halving", value)
    if value < 0:
        raise ValueError("negative", value)
    return value / 2


def remember(value: Any) -> list[Any]:
    seen.append(value)
    return [os.getpid(), *seen]


def where() -> tuple[str, dict[str, str], list[str], list[str], list[str]]:
    return os.getcwd(), dict(os.environ), list(sys.path), list(sys.argv), os.listdir()  # noqa: PTH109, PTH208


def leave_a_mess() -> str:
    """Change what the next call would notice."""
    with open("left", "w") as file:  # noqa: PTH123
        file.write("left")
    os.chdir("/")
    sys.stdout = sys.stderr = None
    sys.setrecursionlimit(200)
    return "done"


def sleep(seconds: float) -> float:
    print("sleeping")
    time.sleep(seconds)
    return seconds


def sleep_if(value: int, sleeper: int) -> int:
    if value == sleeper:
        time.sleep(3600)
    return value


def wait_for_ever() -> None:
    """In a module of the standard library."""
    threading.Event().wait()


def compute_for_ever() -> None:
    while True:
        pass


def hog() -> None:
    """Native code that never lets go of the interpreter."""
    import ctypes

    ctypes.PyDLL(None).pause()


def leave(value: int, code: int, leaver: int = 0) -> int:
    if value == leaver:
        print("leaving")
        os._exit(code)
    return value


def die(value: int, number: int, dier: int = 0) -> int:
    if value == dier:
        os.kill(os.getpid(), number)
    return value


def die_once(folder: str) -> str:
    """End this process, but not the next one that is asked to."""
    try:
        os.close(os.open(f"{folder}/died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "alive"
    os.kill(os.getpid(), 9)
    return "dead"


def read_nothing() -> None:
    import ctypes

    ctypes.string_at(0)


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


def hoard(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


def keep(megabytes: int) -> int:
    """Leave memory behind."""
    seen.append(bytearray(megabytes << 20))
    return len(seen)


def nothing_large(count: int) -> bytes:
    return bytes(count)


def flood(count: int) -> int:
    line = "x" * 999
    for number in range(count):
        print(line, file=sys.stderr if number % 2 else sys.stdout)
    print("the end")
    return count


def write_bytes() -> int:
    sys.stdout.buffer.write(b"\xff\x00raw")
    sys.stdout.close()
    return sys.stdout.fileno()


def read_stdin() -> str:
    return sys.stdin.read()


def fork_and_return() -> int:
    return min(1, os.fork())


def fork_and_raise() -> int:
    if not os.fork():
        raise ValueError("in the child")
    return 1


def fork_and_exit(code: Any) -> int:
    child = os.fork()
    if not child:
        sys.exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fork_and_stay(folder: str) -> int:
    child = os.fork()
    if not child:
        time.sleep(3600)
    return child


def fly() -> None:
    """A process that is never the same one for long, so that nobody can end it by its number."""
    if os.fork():
        time.sleep(3600)
    while not os.fork() or os._exit(0):
        pass


def start_one_that_stays(seconds: float, group: bool = False) -> int:
    """A process that outlives this call, in a group of its own if so asked."""
    import subprocess

    options: dict[str, Any] = {"process_group": 0} if group else {}
    process = subprocess.Popen(["sleep", "3600"], **options)
    with open("pid", "w") as file:  # noqa: PTH123
        file.write(str(process.pid))
    time.sleep(seconds)
    return process.pid


def end(value: Any) -> None:
    sys.exit(value)


def interrupt() -> None:
    raise KeyboardInterrupt


def interrupt_for_real() -> str:
    import signal

    os.kill(os.getpid(), signal.SIGINT)
    return "deaf"


def leave_threads() -> int:
    for target in (time.sleep, compute_for_ever_slowly):
        args = (3600,) if target is time.sleep else ()
        threading.Thread(target=target, args=args, daemon=True).start()
    return threading.active_count()


def compute_for_ever_slowly() -> None:
    while True:
        time.sleep(0.0001)
        print("still here")


def close_files() -> str:
    os.closerange(3, 1024)
    return "closed"


def use_up_files() -> int:
    """Open files and forget to close them, until there are no more."""
    try:
        while True:
            seen.append(open("kept", "w"))  # noqa: PTH123, SIM115
    except OSError:
        return len(seen)


def lose_modules() -> None:
    sys.path.clear()


def give_socket() -> Any:
    import socket

    return socket.socket()


def raise_odd() -> None:
    class Odd(Exception):
        def __init__(self) -> None:
            super().__init__(threading.Lock())

        def __reduce__(self) -> Any:
            raise TypeError("not to be copied")

    raise Odd


def alarm_later() -> str:
    import signal

    signal.signal(signal.SIGALRM, lambda number, frame: end("by the alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    return "set"


def add(array: Any) -> float:
    return float(array.sum())


def use_processes(count: int) -> list[int]:
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, range(-count, 0))


def set_up(*args: Any) -> None:
    seen.append("set up")


def fail_to_set_up() -> None:
    print("trying")
    raise ValueError("no luck")


def end_in_set_up() -> None:
    os._exit(7)


def forge(count: int) -> int:
    """Speak to the pool as if this were the worker itself."""
    import stat

    from crowdgrid.runtimes import Finished, Outcome, frames

    forged = frames.encode(frames.Done([Finished(Outcome.OK, b"forged"), b"forged"] * count))
    for descriptor in range(3, 4096):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, forged if count else b"\xff" * 64)
        except OSError:
            pass
    time.sleep(3600)
    return count


def gag(value: int) -> int:
    """Keep the worker from answering."""
    from crowdgrid.runtimes.outbox import Outbox

    Outbox.flush = lambda *args: time.sleep(3600)  # type: ignore[method-assign]
    return value
