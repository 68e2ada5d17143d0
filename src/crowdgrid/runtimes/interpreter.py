"""The worker's half of runtimes "python" and "python-pickle": calls functions, one call a run.

A worker is an ordinary process in which functions stay loaded, with what they imported. Around each call is only
what must be: its number and beginning are written to the `progress` page, the memory limit is set when it differs from
the last one's, what was printed is taken. This thread sends results every few ms itself; only while a call takes
longer the outbox's thread does it.

Memory is bounded as the kernel counts it for the whole process (Linux): what the worker had when the function was
loaded, `RESERVE_BYTES`, and the call's limit. A call that meets the limit in a worker that ran others before may be
paying for what they left; it is run again in a fresh worker, and what happens there is its answer.

Invariants: a process forked by a function never answers; whatever a function does to this process's streams, folder
or timers is undone before the next batch; a result is sent only if it is within its limit.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import signal
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic, process_time_ns
from typing import Final

from msgspec.structs import replace

from crowdgrid.errors import BadProgram, Unavailable
from crowdgrid.protocol.failures import with_output
from crowdgrid.protocol.functions import FunctionProgram, read
from crowdgrid.runtimes import Finished, Group, Limits, Outcome, confine, functions, sentences
from crowdgrid.runtimes.functions import CallFailed
from crowdgrid.runtimes.kind import Runner, one_by_one
from crowdgrid.runtimes.outbox import Outbox
from crowdgrid.runtimes.output import Ring
from crowdgrid.runtimes.progress import NOTES_AT, NUMBER_SHIFT, PRINTED, STATE, WHERE_SIGNAL, Progress, now_ms

PROGRAMS_LOADED: Final = 16
FLUSH_MS: Final = (
    5  # each time wakes the pool, which gives a batch away whole; what is not sent runs again after a crash
)
LARGE_BYTES: Final = 1 << 20  # a result that is sent before the next run begins
RESERVE_BYTES: Final = 16 << 20  # what the interpreter itself may come to need
UNBOUNDED: Final = -1
OK: Final = Outcome.OK  # looking a member up in its enumeration takes longer than a trivial call
PROGRAM_ERROR: Final = Outcome.PROGRAM_ERROR

Call = Callable[[bytes], bytes]


class PythonKind:
    """Loads functions and calls them; those used last stay loaded.

    Args:
        name: of the runtime; which codec it takes.
        progress: the page its pool reads. descriptor: that page's file, for `faulthandler`.
        outbox: sends results.
    """

    def __init__(self, name: str, progress: Progress, descriptor: int, outbox: Outbox) -> None:
        self._codec = "pickle" if name == "python-pickle" else "msgpack"
        self._progress, self._words = progress, progress.words
        self._outbox = outbox
        self._ring = Ring(progress)
        self._output = self._ring.as_text()
        self._folder = str(Path.cwd())
        self._recursion = sys.getrecursionlimit()
        self._loaded: OrderedDict[str, tuple[Call, int]] = OrderedDict()  # with the memory there was then
        self._call: Call = _nothing
        self._memory = 0  # the worker had when the function was loaded
        self._bounded = UNBOUNDED  # by the limit of this call
        self._number = 0  # of the run in its batch
        self._ran = False  # whether this worker has called anything yet
        self._forked = False
        self._now = self._cpu_at = self._flush_at = 0  # ms
        _become_plain(descriptor)
        os.register_at_fork(after_in_child=self._in_child)

    def load(self, program: str, path: str) -> Runner:
        """Load the function or take it from those that are. See `kind.Kind`."""
        self._undo()
        self._number = 0
        found = self._loaded.get(program)
        if found is None:
            try:
                call = functions.load(self._read(program, path)).call
            except CallFailed as failed:
                finished = _raised(failed, self._progress.tail())
                return one_by_one(lambda run: finished)
            except Unavailable:
                if self._ran:  # it may be what others left here: no file to be had, no path to modules
                    self._outbox.leave(None)
                raise
            found = self._loaded[program] = (call, confine.data_bytes())
            if len(self._loaded) > PROGRAMS_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(program)
        self._call, self._memory = found
        self._now = now_ms()
        self._cpu_at = process_time_ns() // 1_000_000
        self._flush_at = self._now + FLUSH_MS
        return self._run

    def rest(self) -> None:
        """No run is under way, and none bounds memory any more or has an alarm set."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._words[STATE] = self._number << NUMBER_SHIFT
        self._bound(UNBOUNDED)

    def _read(self, program: str, path: str) -> FunctionProgram:
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise Unavailable(f"The stored program cannot be read: {error.strerror}.") from None
        if sha256(data).hexdigest() != program:
            raise Unavailable("The stored program is damaged: its digest is not its name.")
        function = read(data)
        if function.codec != self._codec:
            raise BadProgram(f"This runtime runs no functions that travel as {function.codec}.")
        return function

    # --- runs ---

    def _run(self, group: Group, outbox: Outbox) -> None:
        """See `kind.Runner`. What is in the loop is what a short call costs."""
        call, words, ring, output = self._call, self._words, self._ring, self._output
        plain_bytes = min(group.limits.output_bytes, LARGE_BYTES)
        made, put = outbox.made, outbox.made.append
        self._bound(group.limits.memory_bytes)
        number, began, next_ms = self._number, self._now, (self._now + 1) / 1000
        for stdin in group.stdins:
            number += 1
            sys.stdout = sys.stderr = output  # whatever the last call left there
            words[STATE] = number << NUMBER_SHIFT | began
            result, failed = b"", None
            try:
                result = call(stdin)
            except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are a function's failures too
                failed = error
            if self._forked:
                os._exit(_status(failed))
            if failed is None and monotonic() < next_ms and not ring.used and len(result) <= plain_bytes:
                put(result)
            else:
                self._number = number
                put(self._finished(group.limits, began, result, failed))
                if self._now >= self._flush_at or len(result) > LARGE_BYTES:
                    self._flush()
                began, next_ms = self._now, (self._now + 1) / 1000
            if not outbox.roused and made:
                outbox.rouse()
        self._number = number
        self._ran = True

    def _finished(self, limits: Limits, began: int, result: bytes, failed: BaseException | None) -> Finished:
        """What a run came to of which more is to be told than its result."""
        self._now = now_ms()
        said = self._said() if self._ring.used else b""
        if failed is None and len(result) <= limits.output_bytes:
            return Finished(OK, result, 0, "", said, *self._used(self._now - began))
        finished = self._failed(limits, failed, len(result), said)
        cpu_ms, wall_ms, memory = self._used(self._now - began)
        return replace(finished, cpu_ms=cpu_ms, wall_ms=wall_ms, memory_bytes=memory)

    def _said(self) -> bytes:
        said = self._progress.tail()
        self._words[PRINTED], self._ring.used = 0, False
        return said

    def _used(self, wall_ms: int) -> tuple[int, int, int]:
        """CPU time since it was last asked for, as most runs are too short to ask; elapsed time; the most memory."""
        cpu = process_time_ns() // 1_000_000
        cpu_ms, self._cpu_at = cpu - self._cpu_at, cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return cpu_ms, wall_ms, peak if sys.platform == "darwin" else peak * 1024

    def _failed(self, limits: Limits, failed: BaseException | None, size: int, said: bytes) -> Finished:
        if failed is None:
            return sentences.result_too_large(size, limits.output_bytes, said)
        if isinstance(failed, Unavailable):
            return sentences.node_error(failed.message)
        if isinstance(_cause(failed), MemoryError):
            self._bound(UNBOUNDED)
            if self._ran or self._number > 1:
                self._outbox.leave(None)
            self._outbox.leave(_raised(failed, said, sentences.needed_memory(limits.memory_bytes)))
        return _raised(failed, said)

    def _flush(self) -> None:
        """Send what there is: none of these results waits for a run that takes long, or ends this process."""
        self._words[STATE] = self._number << NUMBER_SHIFT
        with contextlib.suppress(MemoryError):  # the next call's bound is still there; the rest is sent after it
            self._outbox.flush()
        self._now = now_ms()
        self._flush_at = self._now + FLUSH_MS

    def _bound(self, memory_bytes: int) -> None:
        """Let the next call have so much memory."""
        if memory_bytes == self._bounded:
            return
        self._bounded = memory_bytes
        if self._memory:
            bounded = self._memory + RESERVE_BYTES + memory_bytes
            confine.bound_memory(UNBOUNDED if memory_bytes == UNBOUNDED else bounded)

    def _undo(self) -> None:
        """What functions of the last batch may have done to this process that those of the next one would notice."""
        sys.stdout = sys.stderr = self._output
        sys.setrecursionlimit(self._recursion)
        try:
            os.chdir(self._folder)
        except OSError:  # removed
            Path(self._folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chdir(self._folder)

    def _in_child(self) -> None:
        self._forked = True


def _become_plain(descriptor: int) -> None:
    """Look like a Python that was started for the function alone."""
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.lseek(descriptor, NOTES_AT, os.SEEK_SET)
    faulthandler.enable(descriptor, all_threads=False)
    faulthandler.register(WHERE_SIGNAL, descriptor, all_threads=False)
    gc.collect()
    gc.freeze()  # what is here stays, and need not be looked at again


def _raised(failed: BaseException, said: bytes, error: str = "") -> Finished:
    """What a call raised, as its answer; `error`: what else to call it."""
    if not isinstance(failed, CallFailed):
        failed = functions.failed(failed)
    failure = with_output(failed.failure, said.decode(errors="replace")) if said else failed.failure
    return Finished(PROGRAM_ERROR, failure, 1, error or failed.error, said)


def _cause(failed: BaseException) -> BaseException | None:
    return failed.__context__ if isinstance(failed, CallFailed) else failed


def _status(failed: BaseException | None) -> int:
    """With which exit code a process ends that came back from the call so."""
    cause = failed and _cause(failed)
    if isinstance(cause, SystemExit):
        return cause.code & 0xFF if isinstance(cause.code, int) else int(cause.code is not None)
    return int(failed is not None)


def _nothing(item: bytes) -> bytes:
    raise AssertionError("no function is loaded")
