"""A scenario as it runs: crowd, network, hubs, clients and checkers on one timeline.

    outcome = World(scenario, seed=7).run()

The same scenario and seed give the same run, command for command; nothing else goes in.
"""

from __future__ import annotations

import gc
from collections import Counter
from time import process_time
from typing import Final

from crowdgrid.core.model import Assignment, Job, Task, Verdict
from crowdgrid.core.trust.policy import Policy
from crowdgrid.simulation.behaviour import Board
from crowdgrid.simulation.checkers import ENDED, Checkers, Fault
from crowdgrid.simulation.clients import Clients
from crowdgrid.simulation.crowd import Group
from crowdgrid.simulation.hub import Hub
from crowdgrid.simulation.network import Network
from crowdgrid.simulation.node import Member
from crowdgrid.simulation.outcome import Outcome, Sample, told
from crowdgrid.simulation.scenario import Copier, Scenario
from crowdgrid.simulation.streams import Stream
from crowdgrid.simulation.timeline import START_MS, Timeline
from crowdgrid.simulation.truth import Truth
from crowdgrid.store.memory import MemoryStore

_HOUR_MS: Final = 3_600_000
_LOOKS: Final = 4  # at who starves, within the patience there is
_SAMPLES: Final = 400  # kept at most: when there are more every second one goes, and they are taken half as often
_SAMPLE_MS: Final = 5_000
_TAKEOVER_MS: Final = 10_000  # a hub that was fenced off and has nothing to write is stopped after so long
_LATE_MS: Final = 120_000  # after the last job has ended, for reports that are under way


class World:
    """See the module.

    Attributes:
        error: what ended the run before its time. hub: the one that clients and nodes find; None while there is none. members: by the hub's numbers; crowd: all.
        truths: by job. board: what was answered, where somebody copies. commands: handled by engines so far.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.timeline = Timeline()
        self.network = Network(scenario.network, seed, self.timeline)
        self.store = MemoryStore()
        p = scenario.policy
        self.policy = Policy(
            trust_up=p.trust_up,
            trust_down=p.trust_down,
            audit_rate=p.audit_rate,
            canary_rate=p.canary_rate,
            speculate=p.speculate,
            closing_audits=p.closing_audits,
            owners_vote_once=p.owners_vote_once,
            probation=p.probation,
            stranger_doubt=p.stranger_doubt,
        )
        self.commands = self.sessions = self.online = 0
        self.crashes = self.takeovers = self.refused = 0
        self.checked_at = 0
        self.error: Exception | None = None
        self.verdicts: Counter[Verdict] = Counter()
        self.truths: dict[int, Truth] = {}
        self.board = Board() if any(isinstance(each.behaviour, Copier) for each in scenario.crowd) else None
        self.members: dict[int, Member] = {}
        self.crowd: list[Member] = []
        self.samples: list[Sample] = []
        self._sample_ms = _SAMPLE_MS
        self.checkers = Checkers(self)
        self.hub: Hub | None = None
        self.clients = Clients(self)
        self._chaos = Stream(seed, "hub")
        self._began = self._fatal = False
        self.groups = [Group(self, spec, index) for index, spec in enumerate(scenario.crowd)]

    # --- running ---------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """To the end of all jobs, or of the time there is.

        A broken promise ends the run; it is in `Outcome.fault`, and so is an engine that failed.
        """
        began = process_time()
        fault = ""
        # Nothing here makes cycles by the million, and looking for them costs a fifth of the time.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._begin()
            self._go()
            self._finish()
        except Exception as error:  # noqa: BLE001  an engine that raises is what is looked for
            fault = str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
            self.error = error
        finally:
            if collects:
                gc.enable()
        return told(self, fault, process_time() - began)

    def advance(self, seconds: float) -> None:
        """Let time go on until so many seconds after the beginning: for looking in between. `run` goes on from there."""
        self._begin()
        while 0 <= self.timeline.next() <= START_MS + seconds * 1000:
            self.timeline.step()

    def _begin(self) -> None:
        if self._began:
            return
        self._began = True
        self.start_hub()
        for group in self.groups:
            group.settle(len(self.crowd))
        timeline, spec = self.timeline, self.scenario
        for window in self.network.windows:
            timeline.at(window.begins, self._cut, window.begins)
        if spec.hub.crash_every_s:
            timeline.after(self._pause(spec.hub.crash_every_s), self._crash)
        if spec.hub.takeover_every_s:
            timeline.after(self._pause(spec.hub.takeover_every_s), self._takeover)
        timeline.after(int(spec.run.starve_s * 1000 / _LOOKS), self._look_for_starving)
        self._sample()

    def _go(self) -> None:
        timeline = self.timeline
        stop = START_MS + int(self.scenario.run.hours * _HOUR_MS)
        jobs = len(self.clients.orders)
        step = timeline.step
        ended = 0
        while timeline.next() <= stop:
            step()
            if self.checkers.ended == jobs:
                ended = ended or timeline.now
                if timeline.now >= ended + _LATE_MS:
                    return

    def _finish(self) -> None:
        if self.hub is not None:
            self.hub.check()
        if self.scenario.run.must_finish and self.checkers.ended < len(self.clients.orders):
            left = [book.record.number for book in self.checkers.books.values() if book.record.state not in ENDED]
            raise Fault(
                f"after {self.scenario.run.hours:g} h these jobs have not ended: {left or 'some not submitted'}"
            )
        if self.hub is not None and self.checkers.ended == len(self.clients.orders):
            self.checkers.check_ledger()

    def look(self) -> None:
        """The full check, every so many commands."""
        if self.commands - self.checked_at >= self.scenario.run.check_every and self.hub is not None:
            self.checked_at = self.commands
            self.hub.check()

    def _look_for_starving(self) -> None:
        patience_ms = int(self.scenario.run.starve_s * 1000)
        if self.hub is not None:
            self.checkers.look_for_starving(self.hub, self.timeline.now, patience_ms)
        self.timeline.after(patience_ms // _LOOKS, self._look_for_starving)

    def _sample(self) -> None:
        books = self.checkers.books.values()
        self.samples.append(
            Sample(
                self.timeline.now - START_MS,
                self.online,
                sum(book.leased for book in books),
                sum(book.record.counts.validated for book in books),
                sum(book.standing_wrong for book in books),
            )
        )
        if len(self.samples) > _SAMPLES:
            self.samples = self.samples[::2]
            self._sample_ms *= 2
        self.timeline.after(self._sample_ms, self._sample)

    # --- what others ask -------------------------------------------------------------------------

    def truth_of(self, job: Job) -> Truth:
        """What is right in a job that has just been kept."""
        truth = self.truths[job.number] = Truth(self.seed, job.number, self.clients.orders[job.key])
        return truth

    def expect(self, member: Member, task: Task, assignment: Assignment) -> None:
        """A node took a lease: if it may be at it beyond the deadline, have that judged."""
        usual = self.truths[task.job].work_ms(task) / member.speed
        if 4 * (1 + member.group.spec.ahead) * usual > assignment.deadline_ms:
            self.timeline.after(assignment.deadline_ms + 1, self._overdue, member, assignment)

    def _overdue(self, member: Member, assignment: Assignment) -> None:
        if assignment.key in member.held and self.hub is not None:
            self.hub.expect_silence(self.timeline.now)

    # --- what happens to hubs --------------------------------------------------------------------

    def _pause(self, mean_s: float) -> int:
        return 1 + int(self._chaos.exponential(mean_s * 1000))

    def start_hub(self) -> None:
        """A hub opens the store; whoever had it is fenced off."""
        self.hub = Hub(self)
        self.clients.hub_is_up(self.hub)

    def _crash(self) -> None:
        """A hub is killed, now, or as soon as it has committed and before it has told anybody; and so on."""
        if self.hub is not None:
            if self._chaos.chance(0.5):
                self._fatal = True
            else:
                self.kill(self.hub)
        self.timeline.after(self._pause(self.scenario.hub.crash_every_s), self._crash)

    def _takeover(self) -> None:
        """A second hub comes; and so on."""
        self.take_over()
        self.timeline.after(self._pause(self.scenario.hub.takeover_every_s), self._takeover)

    def silenced(self, hub: Hub) -> bool:
        """Whether a hub that has just committed dies before it tells anybody."""
        if not self._fatal or hub is not self.hub:
            return False
        self._fatal = False
        self.kill(hub)
        return True

    def kill(self, hub: Hub) -> None:
        """A hub is killed, and started again after a while."""
        self.crashes += 1
        self.refused += hub.refused
        hub.end()
        self.timeline.after(int(self.scenario.hub.down_s * 1000), self._restart)

    def _restart(self) -> None:
        if self.hub is None:
            self.start_hub()

    def take_over(self) -> None:
        """A second hub opens the store while the first one works; the first one finds out when it next commits."""
        old = self.hub
        if old is not None:
            self.takeovers += 1
            self.start_hub()
            self.timeline.after(_TAKEOVER_MS, self._stop, old)

    def _stop(self, hub: Hub) -> None:
        if hub.alive:
            hub.end()

    def _cut(self, began: int) -> None:
        """A partition begins."""
        for window in self.network.windows:
            if window.begins == began:
                for member in self.crowd:
                    if window.cuts(member.place):
                        member.cut()
