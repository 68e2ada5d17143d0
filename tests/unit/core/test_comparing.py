"""Answers that differ in their bytes and may still be the same: compared outside of the engine, decided inside."""

from __future__ import annotations

import pytest

from crowdgrid.core import effects as e
from crowdgrid.core.model import JobState, Range, TaskState
from crowdgrid.core.trust.comparison import Interval, Numeric, UnorderedLines
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.rig import Rig, of
from tests.unit.core.test_voting import offer, people

ONE = Range(0, 1, 1)
HALF = Numeric(rtol=0.0, atol=0.5)


def settled(rig: Rig, job: int) -> bytes:
    (row,) = rig.settled(job)
    assert row.assignment is not None
    assert row.assignment.result is not None
    return row.assignment.result.payload


@pytest.mark.parametrize("consensus", ["majority", "trust_weighted", "bounded_error"])
def test_numbers_within_the_tolerance_agree(consensus: str) -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus=consensus, overlap=2, comparison=Numeric(rtol=1e-6))
    for (node, key), answer in zip(offer(rig, people(rig, 2)), (b"3.14159265", b"3.14159266"), strict=True):
        rig.report(node, key, answer=answer)
    assert rig.task(job, 0).state is TaskState.VALIDATED
    assert settled(rig, job) == b"3.14159265", "the earlier of two that weigh the same"
    assert rig.task(job, 0).confidence > 0.999


def test_equal_bytes_are_not_compared() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2, comparison=UnorderedLines())
    rig.deaf = True
    for node, key in offer(rig, people(rig, 2)):
        rig.report(node, key)
    assert rig.job(job).state is JobState.FINAL


def test_what_is_close_to_most_is_delivered_though_they_are_not_close_to_each_other() -> None:
    """1.0, 1.4, 1.8 with a tolerance of 0.5: the second stands for all three, and nobody loses trust."""
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=5, comparison=HALF)
    nodes = people(rig, 3)
    for (node, key), answer in zip(offer(rig, nodes), (b"1.0", b"1.4", b"1.8"), strict=True):
        rig.report(node, key, answer=answer)
    assert settled(rig, job) == b"1.4"
    assert [rig.record(node).trust for node in nodes] == pytest.approx([1.1] * 3)


def test_one_far_off_is_outvoted_and_loses_trust() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="trust_weighted", overlap=3, comparison=HALF)
    nodes = [rig.node(owner=f"owner {at}", trust=5.0) for at in range(3)]
    for (node, key), answer in zip(offer(rig, nodes), (b"1.0", b"9.0", b"1.2"), strict=True):
        rig.report(node, key, answer=answer)
    assert settled(rig, job) == b"1.0"
    assert [rig.record(node).trust for node in nodes] == pytest.approx([5.1, 4.5, 5.1])
    assert rig.task(job, 0).confidence == pytest.approx(2 / 3)


def test_means_agree_when_their_intervals_do() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2, comparison=Interval())
    for (node, key), answer in zip(offer(rig, people(rig, 2)), (b"3.141 0.002", b"3.143 0.002"), strict=True):
        rig.report(node, key, answer=answer)
    assert rig.job(job).state is JobState.FINAL


def test_while_answers_are_compared_nobody_else_is_asked() -> None:
    rig = Rig(policy=Policy(audit_rate=0.0))
    job = rig.submit(ONE, consensus="majority", overlap=2, comparison=HALF)
    nodes = people(rig, 3)
    rig.deaf = True
    leased = offer(rig, nodes)
    effects: list[e.Effect] = []
    for (node, key), answer in zip(leased, (b"1", b"1.2"), strict=True):
        effects += rig.do_report(node, key, answer=answer)
    (asked,) = of(e.Recall, effects)
    assert (asked.query, asked.key) == ("compare", (job, 0, 0, 1))
    assert offer(rig, nodes) == []
    assert rig.task(job, 0).state is TaskState.IN_PROGRESS
    rig.deaf = False
    rig.wait(11_000)
    assert rig.job(job).state is JobState.FINAL, "it was asked again"


def test_comparing_goes_on_after_a_restart() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2, comparison=HALF)
    rig.deaf = True
    for (node, key), answer in zip(offer(rig, people(rig, 2)), (b"1", b"1.2"), strict=True):
        rig.report(node, key, answer=answer)
    rig.deaf = False
    rig.restart()
    assert rig.job(job).state is JobState.FINAL


def test_a_job_that_ends_meanwhile_is_not_woken_by_what_was_compared() -> None:
    rig = Rig()
    job = rig.submit(ONE, consensus="majority", overlap=2, comparison=HALF)
    rig.deaf = True
    for (node, key), answer in zip(offer(rig, people(rig, 2)), (b"1", b"1.2"), strict=True):
        rig.report(node, key, answer=answer)
    rig.cancel(job)
    rig.deaf = False
    rig.wait(11_000)
    assert rig.job(job).state is JobState.CANCELLED
