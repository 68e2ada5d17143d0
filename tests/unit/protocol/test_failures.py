"""What a call raised, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.errors import BadInput
from crowdgrid.protocol.failures import Failure, pack_failure, unpack_failure, with_output

FAILURE = Failure(
    "m.Bad", "m", "no", b"\x90", "Traceback…", b"", "printed", b"", (Failure("ValueError", "builtins", ""),)
)


def test_a_failure_is_read_as_it_was_written() -> None:
    assert unpack_failure(pack_failure(FAILURE)) == FAILURE


def test_what_was_printed_is_added_later() -> None:
    """The function's outlet is the worker's business; of a gigabyte the end is kept."""
    found = unpack_failure(with_output(pack_failure(FAILURE), "x" * 100_000 + "end"))
    assert found.output.endswith("end")
    assert len(found.output) == limits.STDERR_TAIL_BYTES
    assert found.type == FAILURE.type


@given(st.binary(max_size=100))
def test_any_bytes_are_a_failure_or_bad_input(data: bytes) -> None:
    try:
        unpack_failure(data)
    except BadInput:
        pass


def test_other_bytes_are_refused() -> None:
    with pytest.raises(BadInput, match="do not say what a call raised"):
        unpack_failure(b"\x91" * 5000)
