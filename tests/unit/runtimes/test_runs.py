"""Many runs as one value: whoever looks at one sees what he would in a list of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crowdgrid.runtimes import Finished, Group, Limits, Outcome, Results, Run, Runs

some_runs = st.lists(
    st.builds(
        Run,
        st.sampled_from([(), ("a",), ("a", "b")]),
        st.binary(max_size=3),
        st.sampled_from([Limits(1, 1, 1), Limits(2, 1, 1)]),
        st.sampled_from([{}, {"CROWDGRID_X": "1"}]),
    ),
    max_size=12,
)


@given(some_runs, st.integers(0, 12), st.integers(0, 12))
def test_runs_are_a_sequence_whatever_they_have_in_common(runs: list[Run], start: int, stop: int) -> None:
    kept = Runs.of(runs)
    assert (len(kept), list(kept)) == (len(runs), runs)
    assert list(kept[start:stop]) == runs[start:stop]
    assert len(kept[start:stop]) == len(runs[start:stop])
    assert [kept[at] for at in range(-len(runs), 0)] == runs
    assert bool(kept) == bool(runs)


@given(st.lists(some_runs, max_size=4))
def test_joining_changes_none_of_the_parts(parts: list[list[Run]]) -> None:
    """A task that is given back keeps its runs, however they went to a worker with those of others."""
    kept = [Runs.of(part) for part in parts]
    assert list(Runs.joined(kept)) == [run for part in parts for run in part]
    assert [list(one) for one in kept] == parts


def test_what_runs_have_in_common_is_there_once() -> None:
    limits = Limits(1, 1, 1)
    runs = [Runs([Group(("a",), [b"%d" % n], limits)]) for n in range(1_000)]
    assert len(Runs.joined(runs).groups) == 1
    assert len(Runs.joined([*runs, Runs([Group(("b",), [b""], limits)])]).groups) == 2


def test_results_are_a_sequence_of_finished_runs() -> None:
    failed = Finished(Outcome.PROGRAM_ERROR, error="no")
    results = Results([b"one", failed, b""])
    assert list(results) == [Finished(Outcome.OK, b"one"), failed, Finished(Outcome.OK)]
    assert list(results[:2]) == [Finished(Outcome.OK, b"one"), failed]
    assert (len(results), results[-1].outcome, results.told) == (3, Outcome.OK, [failed])
