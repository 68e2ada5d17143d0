"""The three life cycles: every state can be reached, and nothing moves outside the tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from crowdgrid.core.lifecycle import ASSIGNMENT, JOB, JOB_LIVES, JOB_RUNS, TASK, TASK_OPEN, step
from crowdgrid.core.model import AssignmentState, JobState, TaskState

TABLES: list[tuple[Mapping[Any, frozenset[Any]], type[Enum], Enum]] = [
    (JOB, JobState, JobState.VALIDATING),
    (TASK, TaskState, TaskState.PENDING),
    (ASSIGNMENT, AssignmentState, AssignmentState.LEASED),
]


@pytest.mark.parametrize(("table", "states", "first"), TABLES, ids=["job", "task", "assignment"])
def test_every_state_is_in_its_table_and_can_be_reached(
    table: Mapping[Any, frozenset[Any]], states: type[Enum], first: Enum
) -> None:
    assert set(table) == set(states)
    seen, ahead = {first}, [first]
    while ahead:
        new = table[ahead.pop()] - seen
        seen |= new
        ahead += new
    assert seen == set(states)


@pytest.mark.parametrize("state", [JobState.INVALID, JobState.CANCELLED])
def test_what_was_ended_by_a_person_or_never_ran_stays_ended(state: JobState) -> None:
    assert JOB[state] == frozenset()


def test_a_task_that_was_split_stays_split() -> None:
    """Protects exactly-once: its children stand for it."""
    assert TASK[TaskState.SPLIT] == frozenset()


def test_an_answer_taken_back_stays_taken_back() -> None:
    assert ASSIGNMENT[AssignmentState.RETRACTED] == frozenset()


def test_a_settled_task_moves_only_by_being_opened_again() -> None:
    assert TASK[TaskState.VALIDATED] == {TaskState.IN_QUEUE}


def test_the_sets_fit_the_tables() -> None:
    """Protects what a restart loads: open means that the task may still be worked on, live that the job may."""
    assert JOB_RUNS < JOB_LIVES
    assert {state for state in JobState if JobState.CANCELLED in JOB[state]} == JOB_LIVES
    assert all(TaskState.CANCELLED in TASK[state] for state in TASK_OPEN)
    assert all(state <= TaskState.FAILED for state in TASK_OPEN), "a store loads tasks up to FAILED"


@pytest.mark.parametrize(("table", "states", "first"), TABLES, ids=["job", "task", "assignment"])
def test_a_step_outside_the_table_is_a_bug_and_says_so(
    table: Mapping[Any, frozenset[Any]], states: type[Enum], first: Enum
) -> None:
    for before in states:
        for after in states:
            if after in table[before]:
                assert step(table, (before, after)) is after
            else:
                with pytest.raises(AssertionError, match="may not become"):
                    step(table, (before, after))


def test_a_path_is_walked_step_by_step() -> None:
    lost = (TaskState.IN_PROGRESS, TaskState.FAILED, TaskState.PENDING, TaskState.IN_QUEUE)
    assert step(TASK, lost) is TaskState.IN_QUEUE
    with pytest.raises(AssertionError):
        step(TASK, (TaskState.IN_PROGRESS, TaskState.PENDING, TaskState.IN_QUEUE))
