"""What the machine did wrong is no answer, and what was read before is not what is known now."""

from __future__ import annotations

from crowdgrid.core import commands as c
from crowdgrid.core.model import Outcome, Range, Verdict
from tests.unit.core.rig import Rig
from tests.unit.core.test_voting import offer


def test_an_answer_after_a_machines_error_contradicts_nothing() -> None:
    rig = Rig()
    nodes = [rig.node(owner=f"owner-{at}", trust=5.0) for at in range(2)]
    rig.submit(Range(0, 1, 1), consensus="majority", overlap=3)
    ((node, key), _) = offer(rig, nodes)
    rig.report(node, key, outcome=Outcome.NODE_ERROR)
    assert rig.report(node, key) == [Verdict.CONFLICTING], "the first word stands"
    assert rig.record(node).trust == 5.0


def test_a_link_opened_with_what_was_read_before_a_vote_does_not_bring_the_old_trust_back() -> None:
    rig = Rig()
    nodes = [rig.node(owner=f"owner-{at}", trust=5.0) for at in range(3)]
    rig.submit(Range(0, 1, 1), consensus="majority", overlap=3)
    given = dict(offer(rig, nodes))
    liar, other = given
    rig.report(liar, given[liar], answer=b"lie")
    read = rig.record(liar)
    rig.report(other, given[other], answer=b"true")
    ((third, key),) = offer(rig, [node for node in nodes if node not in given])
    rig.report(third, key, answer=b"true")
    assert rig.record(liar).trust == 4.5
    rig.sessions += 1
    rig.do(c.Connect(read, rig.sessions))
    assert rig.record(liar).trust == 4.5
