"""What is learned of nodes beside their votes: what absence leaves of it, and a trust index that follows from it."""

from __future__ import annotations

import pytest

from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.learning import index_of
from crowdgrid.core.model import Range, Standing, TrustMove
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.rig import Rig, of
from tests.unit.core.test_voting import offer, people

DAY = 86_400_000


def known_pair(policy: Policy, votes: int = 400) -> tuple[Rig, int, int]:
    """Two nodes that have agreed on so many tasks."""
    rig = Rig(policy=policy)
    job = rig.submit(Range(0, votes, 1), consensus="majority", overlap=2)
    a, b = people(rig, 2)
    while job in rig.engine.state.jobs:
        for node, key in offer(rig, [a, b]):
            rig.report(node, key)
    return rig, a, b


def away(rig: Rig, node: int, ms: int) -> list[e.Effect]:
    rig.disconnect(node)
    rig.sleep(ms)
    return rig.connect(node)


def saved(kind: type, effects: list[e.Effect]) -> list[object]:
    return [save.record for save in of(e.Save, effects) if isinstance(save.record, kind)]


def test_who_was_away_for_long_is_known_half_as_well() -> None:
    rig, a, b = known_pair(Policy(absence_days=100))
    doubt = rig.engine.state.standings.doubt
    before, trust = doubt(a, rig.kind), rig.record(a).trust
    effects = away(rig, a, 100 * DAY)
    assert rig.record(a).trust == pytest.approx(1.0 + (trust - 1.0) / 2)
    assert doubt(a, rig.kind) > 10 * before
    assert saved(TrustMove, effects) == [TrustMove(a, rig.now, 0, 0, trust, rig.record(a).trust)]
    assert len(saved(Standing, effects)) == 1
    assert rig.record(b).trust == trust
    rig.restart()
    assert rig.engine.state.standings.doubt(a, rig.kind) == pytest.approx(doubt(a, rig.kind), rel=0.1)


@pytest.mark.parametrize(("policy", "ms"), [(Policy(absence_days=100), DAY - 1), (Policy(absence_days=0), 1000 * DAY)])
def test_a_night_is_no_absence_and_a_hub_may_forget_nothing(policy: Policy, ms: int) -> None:
    rig, a, _ = known_pair(policy, votes=50)
    before = (rig.record(a).trust, rig.engine.state.standings.doubt(a, rig.kind))
    effects = away(rig, a, ms)
    assert (rig.record(a).trust, rig.engine.state.standings.doubt(a, rig.kind)) == before
    assert saved(TrustMove, effects) == []


def test_a_link_opened_anew_is_no_absence() -> None:
    """A node that has been here all the time: what the hub read of it in the store is from when it came."""
    rig, a, _ = known_pair(Policy(), votes=50)
    trust = rig.record(a).trust
    record = rig.record(a)
    for _ in range(40):
        rig.wait(100, beat=(a, ()))
    rig.sleep(300 * DAY)
    rig.sessions += 1
    rig.do(c.Connect(record, rig.sessions))
    assert rig.record(a).trust == trust


def test_a_node_that_was_here_when_the_hub_died_was_here_until_then() -> None:
    rig, a, b = known_pair(Policy(), votes=50)
    trust = rig.record(a).trust
    rig.sleep(300 * DAY)
    rig.disconnect(b)  # the last the hub wrote
    rig.restart()
    rig.sleep(DAY - 1)
    rig.connect(a)
    assert rig.record(a).trust == trust


def test_the_index_may_follow_from_what_is_believed() -> None:
    rig, a, b = known_pair(Policy(trust_from="posterior"))
    doubt = rig.engine.state.standings.doubt(a, rig.kind)
    assert rig.record(a).trust == pytest.approx(index_of(doubt), abs=0.1)
    assert rig.record(a).trust > 5
    job = rig.submit(Range(0, 3, 1), consensus="majority", overlap=3)
    other = rig.node(owner="owner 2")
    for _ in range(12):
        for node, key in offer(rig, [a, b, other]):
            rig.report(node, key, answer=b"lie" if node == a else b"truth")
    assert job not in rig.engine.state.jobs
    assert rig.record(a).trust < 4 < rig.record(b).trust


@pytest.mark.parametrize(
    ("doubt", "index"), [(0.5, 1.0), (0.1, 1.0), (0.01, 4.0), (1e-3, 7.0), (1e-4, 10.0), (1e-9, 10.0)]
)
def test_index_of(doubt: float, index: float) -> None:
    assert index_of(doubt) == pytest.approx(index)
