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
    ):
        assert finished.outcome is Outcome.PROGRAM_ERROR
        assert finished.exit_code != 0
    assert sentences.node_error("x").outcome is Outcome.NODE_ERROR


def test_other_peoples_words_are_made_fit_for_a_sentence() -> None:
    assert sentences.one_line("  Bad\x1b[31m thing. \n at 0x7f..\n") == "Bad?[31m thing"
    assert len(sentences.one_line("x" * 1000)) == 200
