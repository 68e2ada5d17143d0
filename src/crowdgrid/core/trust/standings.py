"""What every node's answers have shown so far, by kind of program, and how far to believe its next one.

Held in memory for all nodes that were ever judged: a vote may be counted long after its node has gone.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from crowdgrid.core.model import UNSANDBOXED, Assignment, JobSpec, Standing
from crowdgrid.core.trust import belief
from crowdgrid.core.trust.belief import NOTHING, Crowd, posterior
from crowdgrid.core.trust.policy import Policy

_KIND_CHARS: Final = 16
_DRAW_BYTES: Final = 8


def kind_of(spec: JobSpec) -> str:
    """What a node's history with this job counts for: the same program; functions, which are each a program of its
    own, count together by their runtime."""
    return spec.runtime if spec.runtime in UNSANDBOXED else spec.program[:_KIND_CHARS]


class Standings:
    """See the module. `crowd` is the prior learned from all of them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.crowd = Crowd()
        self._known: dict[tuple[int, str], Standing] = {}
        self._counted: dict[tuple[int, str], tuple[float, ...]] = {}  # the posterior each has in the crowd
        self._doubts: dict[tuple[int, str], tuple[int, float]] = {}  # with the version of the prior they are for
        self._stranger = (-1, 0.0)
        self._kinds: dict[int, set[str]] = {}  # of each node
        self._proved: dict[tuple[int, str], tuple[int, ...]] = {}

    def all(self) -> list[Standing]:
        """Every standing, in the order of its key."""
        return [self._known[key] for key in sorted(self._known)]

    def remember(self, standing: Standing) -> None:
        """Take up what a store has kept."""
        self._keep(standing)
        self.crowd.settle()

    def get(self, node: int, kind: str) -> Standing | None:
        """What is known of a node, if it was ever judged."""
        return self._known.get((node, kind))

    def of(self, node: int) -> list[tuple[Standing, float]]:
        """Everything known of a node, by kind, with the chance that its next answer of that kind is wrong."""
        return [(self._known[node, kind], self.doubt(node, kind)) for kind in sorted(self._kinds.get(node, ()))]

    def doubt(self, node: int, kind: str) -> float:
        """The chance that the node's next answer of this kind is wrong."""
        key, version = (node, kind), self.crowd.version
        found = self._doubts.get(key)
        if found is not None and found[0] == version:
            return found[1]
        known = self._known.get(key)
        if known is None:
            if self._stranger[0] != version:
                value = belief.doubt(self.crowd.prior, NOTHING)
                self._stranger = (version, max(value, self.policy.stranger_doubt))
            return self._stranger[1]
        value = belief.doubt(self.crowd.prior, known.evidence)
        if known.judged < self.policy.probation:
            value = max(value, self.policy.stranger_doubt)
        self._doubts[key] = (version, value)
        return value

    def learn(self, node: int, kind: str, right: float, now: int) -> Standing:
        """A vote of the node was judged: `right` is the chance that it is right. The standing to be saved."""
        known = self._known.get((node, kind)) or Standing(node, kind, NOTHING)
        evidence = belief.learn(self.crowd.prior, known.evidence, right)
        after = Standing(node, kind, evidence, known.judged + 1, known.wrong + 1.0 - right, now, known.doubted)
        self._keep(after)
        self.crowd.settle()
        return after

    def fade(self, node: int, left: float, now: int) -> list[Standing]:
        """Forget all but the share `left`, in [0, 1], of what a node has shown. Its standings, to be saved."""
        faded = []
        for kind in sorted(self._kinds.get(node, ())):
            known = self._known[node, kind]
            after = replace(known, evidence=belief.faded(known.evidence, left), updated_at=now)
            self._keep(after)
            faded.append(after)
        self.crowd.settle()
        return faded

    def prove(self, kind: str, answer: Assignment) -> None:
        """Others agreed with an answer of this kind."""
        place, key = place_of(answer), (answer.node, kind)
        if place > self._proved.get(key, ()):
            self._proved[key] = place

    def is_proved(self, kind: str, answer: Assignment) -> bool:
        """Whether others agreed with this answer or a later one of its node, as far as that is remembered: not longer
        than the engine lives."""
        return place_of(answer) <= self._proved.get((answer.node, kind), ())

    def mark(self, standing: Standing) -> None:
        """Replace a standing whose evidence is as it was."""
        self._known[standing.node, standing.kind] = standing

    def _keep(self, after: Standing) -> None:
        key = (after.node, after.kind)
        counted = posterior(self.crowd.prior, after.evidence)
        self.crowd.change(self._counted.get(key), counted)
        self._counted[key] = counted
        self._known[key] = after
        self._kinds.setdefault(after.node, set()).add(after.kind)
        self._doubts.pop(key, None)


def place_of(answer: Assignment) -> tuple[int, ...]:
    """When an answer was given, among those of its node: many may come at once."""
    return (answer.ended_at, answer.job, answer.ordinal)


def audited(id_key: bytes, job: int, ordinal: int, rate: float, why: bytes = b"") -> bool:
    """Whether a task is looked at twice: drawn once for each and each `why`, with a key only the hub has."""
    draw = _keyed(id_key, why).copy()  # taking in the key anew would cost more than all the rest
    draw.update(b"%d.%d" % (job, ordinal))
    return int.from_bytes(draw.digest(), "big") < rate * 256.0**_DRAW_BYTES


@lru_cache(4)
def _keyed(id_key: bytes, why: bytes) -> blake2b:
    return blake2b(digest_size=_DRAW_BYTES, key=id_key, person=why)
