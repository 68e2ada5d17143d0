"""What people write for sizes, durations and large integers is what they meant, or is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid.client import quantities
from crowdgrid.errors import BadInput


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512_000_000),
        ("4GiB", 4 << 30),
        ("64k", 64_000),
        ("1.5 kB", 1500),
        ("7", 7),
        (12, 12),
        ("2tb", 2 * 10**12),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str | int, size: int) -> None:
    assert quantities.size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5s", 1.5), ("250ms", 0.25), ("2m", 120), ("1h", 3600), (3, 3), ("7d", 604_800)],
)
def test_durations_are_read_as_people_write_them(text: str | float, seconds: float) -> None:
    assert quantities.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "number"),
    [("10**10", 10**10), ("1e9", 10**9), ("1_000_000", 10**6), ("-5", -5), ("2.5e3", 2500), ("0", 0)],
)
def test_integers_are_read_as_people_write_them(text: str, number: int) -> None:
    assert quantities.integer(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e-3", "9**9**9", "2**-1", "1e999999999", "nan", "inf", "10**101"])
def test_what_is_no_integer_is_refused_before_anything_is_computed(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        quantities.integer(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1 elephant"])
def test_what_is_no_size_or_duration_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        quantities.size(text)
    with pytest.raises(BadInput):
        quantities.seconds(text)


@given(st.integers(-(10**30), 10**30))
def test_every_integer_is_read_back(number: int) -> None:
    """With and without underscores, no digit may be lost to a float."""
    assert quantities.integer(str(number)) == quantities.integer(f"{number:_}") == number
