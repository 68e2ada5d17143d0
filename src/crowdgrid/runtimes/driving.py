"""One batch in a worker whose programs cannot end it: a sandbox is between them.

So a worker that is gone was ended from outside, and time limits can be measured from one answer to the next.
"""

from __future__ import annotations

import signal
from typing import Final

from crowdgrid.runtimes import Finished, Results, Run, Runs, frames, sentences
from crowdgrid.runtimes.child import Child

LOAD_SECONDS: Final = 300.0  # the longest a program may take to compile
RECEIVE_SECONDS: Final = 5.0  # the longest the rest of an answer may take once it has begun to arrive
_ENDED: Final = "The worker process was ended from outside."
_ENDED_COMPILING: Final = (
    "The worker process ended before the program was compiled; it may need too much memory for that."
)


async def drive(child: Child, program: str, path: str, runs: Runs, done: Results) -> bool:
    """Have `child` do those of `runs` that are not in `done` yet; append what they came to. Returns whether it can be
    used again."""
    seconds, loaded, begun = LOAD_SECONDS, False, False
    child.send(frames.Batch(program, path, runs[len(done) :].groups))
    while len(done) < len(runs):
        try:
            message = await child.receive(seconds)
        except TimeoutError:
            if child.receiving and not begun:
                seconds, begun = RECEIVE_SECONDS, True
                continue
            done.items.append(_too_late(runs[len(done)], loaded))
            return False
        match message:
            case frames.Loaded():
                loaded = True
            case frames.Done(results) if len(results) <= len(runs) - len(done):
                done.items += results
                if message.leaving:
                    return False
            case _:
                await child.kill()  # so that it is known how it ended
                done.items += [
                    sentences.node_error(_ENDED_COMPILING if child.status == -signal.SIGABRT and not loaded else _ENDED)
                ] * (len(runs) - len(done))
                return False
        left = len(done) < len(runs)
        seconds, begun = (runs[len(done)].limits.timeout_ms / 1000 if left else 0.0), False
    return True


def _too_late(run: Run, loaded: bool) -> Finished:
    if loaded:
        return sentences.timed_out(run.limits.timeout_ms)
    return sentences.node_error("The program could not be compiled here in time.")
