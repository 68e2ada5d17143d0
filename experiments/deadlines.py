"""The end of a batch under deadlines: what BOINC's servers do about tasks that do not come back, and nothing else.

A host that is on asks for a task when it has none. It works on it while it is on, and goes on where it was after a time
off. A result that is not there by its deadline is given up, and the task is given to the next host that asks; should
the first result come after all, and before the second, it counts. There is no network and no server time. Source: the
server's documented behaviour ("Job submission", `delay_bound`, BOINC project wiki).

Hosts have the same times on and off, speeds and tasks as the simulator's nodes of the same seed.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Final

from crowdgrid.simulation import availability
from crowdgrid.simulation.scenario import Crowd, Jobs
from crowdgrid.simulation.streams import Stream, draw, key_of, spread

_FOREVER: Final = 1 << 60
_TURN, _RESULT, _DEADLINE = range(3)


class Host:
    """One host, as `simulation.node` has it: on and off by turns, of one speed."""

    def __init__(self, crowd: Crowd, seed: int, at: int) -> None:
        self._profile = crowd.availability
        self._stream = Stream(seed, "availability", 0, at)
        self.speed = crowd.speed * spread(draw(key_of(seed, "speed", 0, at), 0), crowd.speed_spread)
        turn = availability.first(self._profile, self._stream, 0)
        self.on, self.until = turn.on, turn.ms if turn.ms >= 0 else _FOREVER
        self.task = -1
        self.left = 0.0  # ms of work
        self.since = 0

    def turn(self) -> None:
        """Go on or off, as its time has come."""
        now = self.until
        if self.on:
            self._stream.chance(availability.silent_share(self._profile))  # as the simulator's draws go
        turn = availability.then(self._profile, self.on, self._stream, now)
        self.on, self.until = turn.on, now + turn.ms


class Server:
    """Hands out a batch. Events are (time, kind, host, task)."""

    def __init__(self, crowd: Crowd, jobs: Jobs, seed: int, deadline_ms: int) -> None:
        self._deadline_ms = deadline_ms
        self._costs = [
            jobs.unit_ms * spread(draw(key_of(seed, "cost", 1), at), jobs.spread) for at in range(jobs.tasks)
        ]
        self._waiting = deque(range(jobs.tasks))
        self._hosts = [Host(crowd, seed, at) for at in range(crowd.count)]
        self._events: list[tuple[int, int, int, int]] = []
        self._idle: dict[int, None] = {}
        self.done: dict[int, int] = {}

    def run(self) -> None:
        """Until every task has a result."""
        for at, host in enumerate(self._hosts):
            heappush(self._events, (host.until, _TURN, at, 0))
            if host.on:
                self._begin(at, 0)
        while len(self.done) < len(self._costs):
            now, kind, at, task = heappop(self._events)
            if kind == _TURN:
                self._turn(at, now)
            elif kind == _RESULT:
                self._result(at, task, now)
            else:
                self._late(at, task, now)

    def _begin(self, at: int, now: int) -> None:
        """A host asks for work."""
        host = self._hosts[at]
        while self._waiting and self._waiting[0] in self.done:
            self._waiting.popleft()
        if not self._waiting:
            self._idle[at] = None
            return
        host.task = self._waiting.popleft()
        host.left = self._costs[host.task] / host.speed
        heappush(self._events, (now + self._deadline_ms, _DEADLINE, at, host.task))
        self._work(at, now)

    def _work(self, at: int, now: int) -> None:
        """A host that is on goes on with its task."""
        host = self._hosts[at]
        host.since = now
        if now + host.left <= host.until:
            heappush(self._events, (now + int(host.left), _RESULT, at, host.task))

    def _turn(self, at: int, now: int) -> None:
        host = self._hosts[at]
        if host.on and host.task >= 0:
            host.left -= now - host.since
        self._idle.pop(at, None)
        host.turn()
        heappush(self._events, (host.until, _TURN, at, 0))
        if host.on and host.task >= 0:
            self._work(at, now)
        elif host.on:
            self._begin(at, now)

    def _result(self, at: int, task: int, now: int) -> None:
        host = self._hosts[at]
        if host.task == task and host.on:
            self.done.setdefault(task, now)
            host.task = -1
            self._begin(at, now)

    def _late(self, at: int, task: int, now: int) -> None:
        if task in self.done or self._hosts[at].task != task:
            return
        self._waiting.append(task)
        free, self._idle = self._idle, {}
        for host in free:
            self._begin(host, now)


def batch(crowd: Crowd, jobs: Jobs, seed: int, deadline_ms: int) -> list[int]:
    """When each task had its result, ms, in order."""
    server = Server(crowd, jobs, seed, deadline_ms)
    server.run()
    return sorted(server.done.values())
