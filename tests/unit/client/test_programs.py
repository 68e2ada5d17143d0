"""A function's name is read from its first bytes, whatever else they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid.client.programs import HEAD_BYTES, name_in
from crowdgrid.protocol.functions import MAGIC, FunctionProgram, pack


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200), st.sampled_from(["msgpack", "pickle"]))
def test_the_name_a_function_was_packed_with_is_in_its_head(name: str, codec: str) -> None:
    """However long it is, and however much follows."""
    packed = pack(FunctionProgram(codec, name, (3, 11), b"x" * 10_000))  # type: ignore[arg-type]
    assert name_in(packed[:HEAD_BYTES]) == name


@pytest.mark.parametrize("head", [b"", b"\x00asm", MAGIC, MAGIC + b"\x97", MAGIC + b"\x97\xa7msgpack\xda\xff\xffshort"])
def test_what_has_no_name_has_none(head: bytes) -> None:
    assert name_in(head) == ""


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_hostile_bytes_are_no_name_or_some_text(data: bytes) -> None:
    assert isinstance(name_in(MAGIC + data), str)
