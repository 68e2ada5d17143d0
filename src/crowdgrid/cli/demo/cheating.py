"""The fourth act: the primes below 10^7 once more, among strangers, one of whom cheats in every way it knows.

The agents of the acts before are one person's: together they have one vote. So two neighbours come, each of an owner of its
own, and an agent that is not honest (see `dishonest`): honest at first, so that it is trusted, then it lies, contradicts
itself, boasts of what it used, and reports what it finds in the spool of another agent. The job asks for answers that are
wrong with a chance of 10⁻⁴ at most. What it tried is in its own ledger, what the hub said to it likewise; whether a lie
stands is seen by comparing the answers that are delivered with those it gave.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from crowdgrid import kernels
from crowdgrid.cli.demo import dishonest
from crowdgrid.cli.demo.primes import KNOWN
from crowdgrid.cli.demo.watch import Watch
from crowdgrid.client import background
from crowdgrid.client.splits import Range
from crowdgrid.errors import JobFailed

if TYPE_CHECKING:
    from crowdgrid.cli.demo.processes import Crowd
    from crowdgrid.cli.demo.stage import Stage

BELOW: Final = 10**7
TASKS: Final = 120
ERROR_BOUND: Final = 1e-4
CHEAT: Final = "cheat"
ROBBED: Final = "agent-1"
TIMES: Final = 1_000
JOBS_MAX: Final = 20  # until everything has been tried
ANSWERED_SECONDS: Final = 20.0  # for the hub's last words
LOOK_SECONDS: Final = 0.02
ENDED: Final = frozenset({"completed", "final", "failed", "cancelled", "invalid"})

_A_VOTE: Final = frozenset({"counted", "late_paid", "late_unneeded"})  # the last two where others were faster
TRIED: Final = {
    "lie": ("another number than its program gave", _A_VOTE),
    "contradict": ("a second, different answer", frozenset({"conflicting"})),
    "repeat": ("the same answer once more", frozenset({"duplicate"})),
    "steal": ("another agent's answers, signed as its own", frozenset({"not_yours", "unknown"})),
    "forge": ("another agent's report, as it was signed", frozenset({dishonest.REFUSED})),
    "inflate": (f"{TIMES:,} times the time and memory it took", _A_VOTE),
}
"""What it does, for people, and all that the hub may say to it. A lie is a vote, and counted as one: it loses."""


@dataclass(slots=True)
class Cheated:
    """What came of it.

    Attributes:
        tried: times, by deed. said: what the hub answered, how often, by deed. standing: lies that were delivered.
        trust: its trust index at first, at its highest and at last.
        answers: what the jobs came to. expected: what each should. votes: answers given for `tasks` tasks.
    """

    expected: int
    answers: list[int | None] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    said: dict[str, dict[str, int]] = field(default_factory=dict)
    standing: int = 0
    trust: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tasks: int = 0
    votes: int = 0
    seconds: float = 0.0
    by_node: dict[str, int] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether everything was tried, all of it was in vain, and it cost trust."""
        answers = bool(self.answers) and all(answer == self.expected for answer in self.answers)
        tried = all(self.tried.get(deed, 0) > 0 and self.said.get(deed) for deed in TRIED)
        in_vain = all(set(self.said.get(deed, ())) <= allowed for deed, (_, allowed) in TRIED.items())
        return answers and tried and in_vain and not self.standing and self.trust[2] < self.trust[1]


def among_strangers(crowd: Crowd, shown: Stage) -> Cheated:
    """Have the primes counted by a crowd in which one cheats, until it has tried everything it knows."""
    robbed = str(crowd.folder / ROBBED)
    for name in ("neighbour-1", "neighbour-2"):
        crowd.join(name, f"owner of {name}")
    crowd.join(
        CHEAT, "a stranger", dishonest.Plan(after=10, lie=0.4, contradict=0.2, inflate=TIMES, steal=robbed, seed=1)
    )
    crowd.wait_for_agents()
    shown.say(f"Two neighbours have joined, and {CHEAT}, which is not honest.")
    cheated = Cheated(KNOWN[BELOW])
    began = time.monotonic()
    while len(cheated.answers) < JOBS_MAX and not all(crowd.deeds(CHEAT).count(deed) for deed in TRIED):
        _count(crowd, shown, cheated)
    cheated.seconds = time.monotonic() - began
    deeds = _in_the_end(crowd)
    cheated.tried = {deed: deeds.count(deed) for deed in TRIED}
    cheated.said = {deed: dict(deeds.verdicts(deed)) for deed in TRIED}
    cheated.trust = _trust(crowd)
    first, most, last = cheated.trust
    shown.say(
        f"{cheated.standing} of {cheated.tried['lie']} lies are in the answers; trust {first}, {most}, now {last}."
    )
    return cheated


def _count(crowd: Crowd, shown: Stage, cheated: Cheated) -> None:
    """One job, whose answers are looked at one by one."""
    shown.act(f"primes below {BELOW:,}, one cheats")
    split = Range(0, BELOW, piece=-(-BELOW // TASKS))
    job = crowd.grid.run(
        kernels.path("primes"), split=split, reduce="sum", consensus="bounded_error", error_bound=ERROR_BOUND
    )
    watch = Watch(job)
    while job.state not in ENDED:
        shown.at(watch.units / BELOW, f"{watch.tasks} tasks")
        time.sleep(LOOK_SECONDS)
    try:
        cheated.answers.append(job.result(timeout=60))
    except JobFailed as error:
        shown.say(str(error))
        cheated.answers.append(None)
    watch.stop()
    shown.at(1.0, f"{watch.tasks} tasks")
    for name, tasks in watch.by_name(crowd.names()).items():
        cheated.by_node[name] = cheated.by_node.get(name, 0) + tasks
    _look_at_answers(crowd, job.id, cheated)


def _look_at_answers(crowd: Crowd, job: str, cheated: Cheated) -> None:
    """How many votes there were, and which answer is one the cheat gave when it lied."""
    lies = set(crowd.deeds(CHEAT).tried.get("lie", ()))
    for row in _get(crowd, f"/v1/jobs/{job}/results", limit=1000)["results"]:
        given = _get(crowd, f"/v1/jobs/{job}/tasks/{row['ordinal']}")["assignments"]
        delivered = hashlib.sha256(row["answers"][0]["text"].encode()).hexdigest() if row["answers"] else ""
        cheated.tasks += 1
        cheated.votes += sum(each["state"] == "reported" for each in given)
        cheated.standing += any(each["id"] in lies and each["digest"] == delivered for each in given)


def _in_the_end(crowd: Crowd) -> dishonest.Deeds:
    """Its ledger when the hub has answered to everything, or does not for long: the last word may still be on its way."""
    give_up_at = time.monotonic() + ANSWERED_SECONDS
    while True:
        deeds = crowd.deeds(CHEAT)
        owed = [deed for deed in TRIED if deeds.verdicts(deed).total() < (deeds.count(deed) if deed != "steal" else 1)]
        if not owed or time.monotonic() > give_up_at:  # it goes on stealing as long as it lives
            return deeds
        time.sleep(LOOK_SECONDS)


def _trust(crowd: Crowd) -> tuple[float, float, float]:
    """The cheat's trust index at first, at its highest, now."""
    moves = _get(crowd, f"/v1/nodes/{crowd.id(CHEAT)}/trust", limit=1000)["moves"]
    history = [moves[-1]["before"], *(move["after"] for move in reversed(moves))] if moves else [1.0]
    return history[0], max(history), history[-1]


def _get(crowd: Crowd, path: str, **query: Any) -> Any:
    return background.run(crowd.connection.rest.get(path, **query))
