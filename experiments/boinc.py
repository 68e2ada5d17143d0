"""BOINC's adaptive replication, the rule alone: no time, no network, no churn.

A host is trusted when CV ≥ 10 and a uniform number is above 1/CV, where CV counts its valid results in a row among those
that were replicated; any invalid one sets it to 0. The number is drawn when the host asks for work. A trusted host's
result is accepted as it is; otherwise hosts are asked, each once, until ⌊min_quorum/2⌋ + 1 of them agree. Nothing that
was accepted is looked at again. Source: the server's documented behaviour ("Adaptive replication", BOINC project wiki).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from experiments.crowds import RIGHT, Crowd, Node

TRUSTED_AFTER: Final = 10
QUORUM: Final = 2
ASKED_MOST: Final = 20


PUBLISHED: Final = {0.0022: (1.011, 0.0023), 0.01: (1.017, 0.0099), 0.05: (1.059, 0.047), 0.20: (1.417, 0.117)}
"""By a host's error rate: executions a job, wrong results accepted; one host whose partners do not err."""


@dataclass(frozen=True)
class Found:
    """Executions a task, and wrong answers accepted, of `tasks`."""

    executions: float
    wrong: int
    tasks: int


def run(crowd: Crowd, warm: int, tasks: int, seed: int) -> Found:
    """What came of `tasks`, after `warm` others."""
    chance = random.Random(seed)
    nodes = crowd.nodes(chance)
    valid = [0] * len(nodes)  # CV
    executions = wrong = 0
    for task in range(warm + tasks):
        asked = chance.sample(range(len(nodes)), min(ASKED_MOST, len(nodes)))
        first = asked[0]
        if valid[first] >= TRUSTED_AFTER and chance.random() > 1 / valid[first]:
            accepted, used = nodes[first].answer(task, chance), 1
        else:
            accepted, used = _replicated(nodes, asked, valid, task, chance)
        if task >= warm:
            executions += used
            wrong += accepted != RIGHT
    return Found(executions / tasks, wrong, tasks)


def _replicated(
    nodes: list[Node], asked: list[int], valid: list[int], task: int, chance: random.Random
) -> tuple[int, int]:
    """The answer that reaches the quorum and how many were asked; -1 when none did."""
    answers: dict[int, int] = {}
    counts: Counter[int] = Counter()
    accepted = -1_000_000
    for at in asked:
        answer = answers[at] = nodes[at].answer(task, chance)
        counts[answer] += 1
        if counts[answer] == QUORUM:
            accepted = answer
            break
    for at, answer in answers.items():
        valid[at] = valid[at] + 1 if answer == accepted else 0
    return accepted, len(answers)


def alone(rate: float, results: int, seed: int) -> Found:
    """One host whose replicated results are compared with one that is right: the setting of `PUBLISHED`."""
    chance = random.Random(seed)
    valid = executions = wrong = 0
    for _ in range(results):
        errs = chance.random() < rate
        if valid >= TRUSTED_AFTER and chance.random() > 1 / valid:
            executions += 1
            wrong += errs
        else:
            executions += 2
            valid = 0 if errs else valid + 1
    return Found(executions / results, wrong, results)
