"""The way between nodes and hub: frames take time, arrive twice, overtake one another, and links die.

A link is TCP: what is lost is not a frame but the link, and neither side is told. Each finds out by silence, the node
when its heartbeat is not answered, the hub when a lease or `LEASE_SECONDS` have run out. In a partition frames wait,
as they would to be sent again, and arrive afterwards if their link still stands. Each frame's fate follows from its
node and its number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from crowdgrid.simulation.scenario import Network as Spec
from crowdgrid.simulation.streams import draw, key_of
from crowdgrid.simulation.timeline import START_MS, Timeline

if TYPE_CHECKING:
    from crowdgrid.simulation.node import Member

_DELAY, _LOST, _TWICE, _ASIDE, _PURPOSES = 0, 1, 2, 3, 8
_NEVER: Final = -1


class Window:
    """A partition: its times (ms of the timeline), and whom it cuts off."""

    __slots__ = ("begins", "ends", "key", "share")

    def __init__(self, begins: int, ends: int, share: float, key: int) -> None:
        self.begins, self.ends, self.share, self.key = begins, ends, share, key

    def cuts(self, place: int) -> bool:
        """Whether the node at this place of the crowd is on the far side."""
        return draw(self.key, place) < self.share


class Network:
    """See the module. `frames` and `lost` are counted for people."""

    def __init__(self, spec: Spec, seed: int, timeline: Timeline) -> None:
        self._spec = spec
        self._timeline = timeline
        self._key = key_of(seed, "network")
        self._least, most = spec.delay_ms
        self._range = max(most - self._least, 0) + 1
        self._plain = not (spec.loss or spec.duplicate or spec.reorder or spec.partitions)
        self.windows = [
            Window(
                START_MS + int(each.at_s * 1000),
                START_MS + int((each.at_s + each.for_s) * 1000),
                each.share,
                key_of(seed, "partition", number),
            )
            for number, each in enumerate(spec.partitions)
        ]
        self.frames = self.lost = 0

    def delay(self, member: Member) -> int:
        """ms for one frame of a node."""
        member.frames += 1
        return self._least + int(draw(self._key + member.place, member.frames * _PURPOSES + _DELAY) * self._range)

    def opens_at(self, member: Member) -> int:
        """When the node and the hub reach one another: now, or when the partition it is in ends."""
        now = self._timeline.now
        for window in self.windows:
            if window.begins <= now < window.ends and window.cuts(member.place):
                return window.ends
        return now

    def cut(self, member: Member) -> bool:
        """Whether the node and the hub do not reach one another now."""
        return bool(self.windows) and self.opens_at(member) > self._timeline.now

    def carry(self, member: Member, last: int, act: Callable[..., None], *given: Any) -> int:
        """Have `act(*given)` happen at the other end of the node's link, not before `last`.

        Returns when that is, ms; a link that dies over it is marked in `member.dead`, and nothing happens.
        """
        timeline = self._timeline
        self.frames += 1
        if self._plain:
            when = timeline.now + self.delay(member)
            when = max(when, last)
            timeline.at(when, act, *given)
            return when
        spec, key = self._spec, self._key + member.place
        when = self.opens_at(member) + self.delay(member)
        number = member.frames * _PURPOSES
        if spec.loss and draw(key, number + _LOST) < spec.loss:
            self.lost += 1
            member.die()
            return last
        if spec.reorder and draw(key, number + _ASIDE) < spec.reorder:
            when += int(draw(key, number + _ASIDE + 1) * spec.reorder_ms)
            order = last  # others may pass
        else:
            order = when = max(when, last)
        timeline.at(when, act, *given)
        if spec.duplicate and draw(key, number + _TWICE) < spec.duplicate:
            timeline.at(when + int(draw(key, number + _ASIDE + 2) * spec.reorder_ms), act, *given)
        return order
