"""The sentences of program errors. They are voted on, so they name no time, address or path.

What a limit was is part of the job and the same on every node; what was measured is not.
"""

from __future__ import annotations

import signal

from crowdgrid.runtimes import Finished, Outcome


def timed_out(timeout_ms: int) -> Finished:
    """The run was stopped at its time limit."""
    error = f"The program ran longer than {timeout_ms / 1000:g} s and was stopped."
    return Finished(Outcome.PROGRAM_ERROR, exit_code=-1, error=error, wall_ms=timeout_ms)


def flooded(output_bytes: int, stderr: bytes) -> Finished:
    """The run was stopped at its output limit."""
    return _failed(f"The program wrote more than {size(output_bytes)} to stdout and was stopped.", stderr)


def out_of_memory(memory_bytes: int, stderr: bytes = b"") -> Finished:
    """The run failed at its memory limit."""
    return _failed(f"The program used more than {size(memory_bytes)} of memory.", stderr)


def exited(code: int, stderr: bytes) -> Finished:
    """The program ended by itself with an exit code other than 0."""
    error = f"The program exited with code {code}."
    return Finished(Outcome.PROGRAM_ERROR, exit_code=code, error=error, stderr=stderr)


def trapped(kind: str, stderr: bytes) -> Finished:
    """The program did what the sandbox forbids; `kind` names it in plain words."""
    return _failed(f"The program trapped: {kind}.", stderr)


def not_runnable(reason: str) -> Finished:
    """The program cannot be started at all."""
    return _failed(reason)


def call_timed_out(timeout_ms: int, said: bytes = b"") -> Finished:
    """A call was stopped at its time limit. `said`: what it printed, and where it was."""
    error = f"The call ran longer than {timeout_ms / 1000:g} s and was stopped."
    return Finished(Outcome.PROGRAM_ERROR, exit_code=-1, error=error, stderr=said, wall_ms=timeout_ms)


def ended(how: str, said: bytes = b"") -> Finished:
    """A call ended its worker, `how` as `how_ended` says."""
    return _failed(f"The function ended its worker process ({how}).", said)


def ended_loading(how: str, said: bytes = b"") -> Finished:
    """A function ended its worker before it could be called: a module it imports, or the initializer."""
    return _failed(f"The worker process ended while the function was loaded ({how}).", said)


def loaded_too_long(seconds: float) -> Finished:
    """Importing modules or the initializer did not end."""
    return _failed(f"The function was not ready to be called within {seconds:g} s: its imports or its initializer.")


def how_ended(status: int | None, memory_ran_out: bool) -> str:
    """In a few words, how a worker process ended: `status` is its exit code, −n for signal n, None if it only
    stopped talking. `memory_ran_out`: the system ended processes meanwhile to get memory."""
    if status is None:
        return "it closed a file that was not its own: the worker's line to its pool"
    if status >= 0:
        return f"exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal
        name = str(-status)
    if -status == signal.SIGKILL and memory_ran_out:
        return f"signal {name}: the machine ran out of memory"
    return f"signal {name}"


def needed_memory(memory_bytes: int) -> str:
    """A call met its memory limit."""
    return f"The call needed more than {size(memory_bytes)} of memory, its limit (memory=…)."


def result_too_large(count: int, output_bytes: int, said: bytes = b"") -> Finished:
    """What a call returned is larger than its limit."""
    advice = "Return less, keep it where other calls find it, or ask for more (output=…)."
    return _failed(f"The result has {count:,} bytes; the limit is {output_bytes:,}. {advice}", said)


def node_error(reason: str) -> Finished:
    """The machine, not the program, is to blame; not voted on."""
    return Finished(Outcome.NODE_ERROR, exit_code=-1, error=reason)


def size(count: int) -> str:
    """`count` bytes as people read it, without rounding: 16777216 is "16 MB", 1000 is "1000 bytes"."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def one_line(text: str, most: int = 200) -> str:
    """The first line of somebody else's words, fit to stand in a sentence: printable, short, no full stop."""
    line = text.strip().split("\n", 1)[0].strip().rstrip(".")[:most]
    return "".join(character if character.isprintable() else "?" for character in line)


def _failed(error: str, stderr: bytes = b"") -> Finished:
    return Finished(Outcome.PROGRAM_ERROR, exit_code=-1, error=error, stderr=stderr)
