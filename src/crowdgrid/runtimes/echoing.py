"""The worker's half of runtime "echo": the answer is what was asked."""

from __future__ import annotations

from crowdgrid.runtimes import Result, Run, sentences
from crowdgrid.runtimes.kind import Runner, one_by_one


class EchoKind:
    """Runs nothing."""

    def load(self, program: str, path: str) -> Runner:
        """There is nothing to load."""
        return one_by_one(echo)

    def rest(self) -> None:
        """Nothing was bounded."""


def echo(run: Run) -> Result:
    """What the run was given, as its result."""
    stdout = run.stdin or " ".join(run.argv).encode()
    if len(stdout) > run.limits.output_bytes:
        return sentences.flooded(run.limits.output_bytes, b"")
    return stdout
