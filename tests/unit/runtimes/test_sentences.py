"""Program errors are voted on: honest nodes must find the same words."""

from __future__ import annotations

import pytest

from crowdgrid.runtimes import Outcome, sentences


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1024, "1 kB"),
        (1536, "1536 bytes"),
        (16 << 20, "16 MB"),
        ((1 << 20) + 1024, "1025 kB"),
        (3 << 30, "3 GB"),
    ],
)
def test_sizes_are_exact(count: int, text: str) -> None:
    """Two limits that differ must not read the same."""
    assert sentences.size(count) == text


@pytest.mark.parametrize(("ms", "text"), [(10, "0.01"), (2000, "2"), (1500, "1.5"), (604_800_000, "604800")])
def test_time_limits_are_named_as_given(ms: int, text: str) -> None:
    assert sentences.timed_out(ms).error == f"The program ran longer than {text} s and was stopped."


def test_only_the_nodes_errors_are_node_errors() -> None:
    for finished in (
        sentences.timed_out(10),
        sentences.flooded(10, b""),
        sentences.out_of_memory(10),
        sentences.exited(3, b""),
        sentences.trapped("x", b""),
        sentences.not_runnable("x"),
        sentences.call_timed_out(10),
        sentences.ended("exit code 0"),
        sentences.ended_loading("exit code 0"),
        sentences.loaded_too_long(1),
        sentences.result_too_large(2, 1),
    ):
        assert finished.outcome is Outcome.PROGRAM_ERROR
        assert finished.exit_code != 0
    assert sentences.node_error("x").outcome is Outcome.NODE_ERROR


def test_other_peoples_words_are_made_fit_for_a_sentence() -> None:
    assert sentences.one_line("  Bad\x1b[31m thing. \n at 0x7f..\n") == "Bad?[31m thing"
    assert len(sentences.one_line("x" * 1000)) == 200


@pytest.mark.parametrize(
    ("status", "memory_ran_out", "text"),
    [
        (0, False, "exit code 0"),
        (3, True, "exit code 3"),
        (-11, True, "signal SIGSEGV"),
        (-9, False, "signal SIGKILL"),
        (-9, True, "signal SIGKILL: the machine ran out of memory"),
        (-40, False, "signal 40"),
        (None, False, "it closed a file that was not its own: the worker's line to its pool"),
    ],
)
def test_how_a_worker_ended_is_said_as_far_as_it_is_known(status: int | None, memory_ran_out: bool, text: str) -> None:
    assert sentences.how_ended(status, memory_ran_out) == text
