"""The second act: the primes below 10^10, while an agent and then the hub are killed.

Recovery is measured from the kill:

- of the agent until every task that was leased at that moment, to whomever, has settled: those the dead agent held
  among them, which somebody else had to be given;
- of the hub until a task settles that had not when this client found it again: by then it was started, had read its
  store, and an agent had found it too. What settled before the kill and was only told afterwards does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from crowdgrid import kernels
from crowdgrid.cli.demo.kill import Kill
from crowdgrid.cli.demo.watch import Watch
from crowdgrid.client.job import Job
from crowdgrid.client.splits import Range
from crowdgrid.errors import JobFailed, TimedOut

if TYPE_CHECKING:
    from crowdgrid.cli.demo.processes import Crowd
    from crowdgrid.cli.demo.stage import Stage

TASKS: Final = 32_000
KNOWN: Final = {10**6: 78_498, 10**7: 664_579, 10**8: 5_761_455, 10**9: 50_847_534, 10**10: 455_052_511}
VICTIM: Final = "agent-2"
GIVE_UP_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.02


@dataclass(slots=True)
class Count:
    """What came of the count."""

    below: int
    answer: int | None
    expected: int | None
    tasks: int
    seconds: float
    by_node: dict[str, int]
    kills: list[Kill] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether the answer is known to be right and everything recovered."""
        return self.answer == self.expected and len(self.kills) == 2 and all(kill.right for kill in self.kills)


def count_primes(crowd: Crowd, shown: Stage, below: int) -> Count:
    """Count the primes below a bound and kill what the module says."""
    shown.act(f"primes below {below:,}")
    job = crowd.grid.run(kernels.path("primes"), split=Range(0, below, piece=max(1, below // TASKS)), reduce="sum")
    act = _Act(crowd, shown, job, below)
    kills = act.kills
    try:
        act.kill_agent(0.25)
        act.kill_hub(0.50)
        act.until_recovered()
        answer = act.finish()
    except JobFailed as error:
        shown.say(str(error))
        answer = None
    took = time.monotonic() - act.watch.began
    act.watch.stop()
    shares = act.watch.by_name(crowd.names())
    return Count(below, answer, KNOWN.get(below), act.watch.tasks, took, shares, kills)


class _Act:
    def __init__(self, crowd: Crowd, shown: Stage, job: Job, below: int) -> None:
        self._crowd = crowd
        self._shown = shown
        self._job = job
        self._below = below
        self.watch = Watch(job)
        self.kills: list[Kill] = []
        self._wait_for: tuple[float, set[int]] | None = None  # since when, for which ordinals, after the agent died

    @property
    def _share(self) -> float:
        return self.watch.units / self._below

    def _until(self, done: Callable[[], bool], what: str) -> None:
        """Look on until something is so. Raises TimedOut when it never is."""
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while True:
            self._look_after_agent()
            if done():
                return
            took = time.monotonic() - self.watch.began
            self._shown.at(
                self._share, f"{self.watch.tasks:,} tasks, {self.watch.tasks / max(took, 0.1):,.0f} a second"
            )
            if time.monotonic() > give_up_at:
                raise TimedOut(f"{what} within {GIVE_UP_SECONDS:.0f} s.", hint="Keep the logs with --keep and look.")
            time.sleep(LOOK_SECONDS)

    def kill_agent(self, share: float) -> None:
        """Kill an agent in the midst of its work; the others go on, and it is watched when what it held is done."""
        self._until(lambda: self._share >= share, f"The job was not {share:.0%} done")
        did = self._crowd.id(VICTIM)
        self._crowd.kill_agent(VICTIM)
        self._wait_for = (time.monotonic(), self._leased())
        held = int(self._crowd.grid.node(did)["held"] or 0)
        kill = Kill(VICTIM, self._share, held)
        self.kills.append(kill)
        self._shown.say(f"Killed {VICTIM} at {kill.at:.0%} while it held {held:,} tasks.")

    def _look_after_agent(self) -> None:
        """Note when all that was leased as the agent died is settled: what it held was done by others then."""
        if self._wait_for is None or not self._wait_for[1] <= self.watch.ordinals:
            return
        killed, leased = self._wait_for
        self._wait_for = None
        self.kills[0].seconds = time.monotonic() - killed
        self._shown.say(
            f"All {len(leased):,} tasks leased then, to whomever, are settled {self.kills[0].seconds:.1f} s after the kill."
        )

    def until_recovered(self) -> None:
        """Wait until what the dead agent held has been done by others."""
        self._until(lambda: self._wait_for is None, "What the agent held was not done by others")

    def _leased(self) -> set[int]:
        """The ordinals of every task that is leased now."""
        return {task["ordinal"] for task in self._job.tasks("in_progress")} - self.watch.ordinals

    def kill_hub(self, share: float) -> None:
        """Kill the hub, start it again, and wait until the next task settles."""
        self._until(lambda: self._share >= share, f"The job was not {share:.0%} done")
        leased = self._leased()
        kill = Kill("hub", self._share, len(leased))
        self.kills.append(kill)
        killed = time.monotonic()
        self._crowd.kill_hub()
        self._shown.say(f"Killed the hub at {kill.at:.0%}, with {kill.held:,} tasks leased, and started it again.")
        self._until(lambda: self.watch.went_on > 0, "The hub did not come back to work")
        kill.seconds = self.watch.went_on - killed
        self._shown.say(f"Work went on {kill.seconds:.1f} s after the kill.")
        self._until(lambda: leased <= self.watch.ordinals, "What was leased at the kill was not finished")
        took = time.monotonic() - killed
        self._shown.say(f"All {len(leased):,} tasks leased then are settled {took:.1f} s after the kill.")

    def finish(self) -> int:
        """Wait for the answer."""
        self._until(lambda: self._job.state in {"completed", "final", "failed", "cancelled"}, "The job did not end")
        answer: int = self._job.result(timeout=60)
        self._shown.at(1.0, f"{self.watch.tasks:,} tasks")
        return answer
