"""What is fed to a job is what was given, byte for byte; what cannot be fed is refused where it is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdgrid.client.splits import Items, Lines, ParameterGrid, Range, axes_of, one_of
from crowdgrid.core import model
from crowdgrid.errors import BadInput


def test_lines_of_a_file_lose_their_ends_and_nothing_else(tmp_path: Path) -> None:
    """The last line may have no end; an empty line is a line; a carriage return is content."""
    file = tmp_path / "lines"
    file.write_bytes(b"a\n\nb\r\nc")
    assert list(Lines(file).feed()) == [b"a", b"", b"b\r", b"c"]


def test_a_file_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    """Not on the feeding thread, after the job was opened."""
    with pytest.raises(BadInput, match="no such file"):
        Lines(tmp_path / "none").feed()


def test_items_are_read_lazily() -> None:
    """A source may be endless."""
    taken = []

    def source() -> Iterator[str]:
        for number in range(10**9):
            taken.append(number)
            yield str(number)

    feed = Items(source()).feed()
    assert [next(feed), next(feed)] == [b"0", b"1"]
    assert taken == [0, 1]


def test_text_is_sent_as_utf_8() -> None:
    assert list(Items(["ä", b"\xff"]).feed()) == ["ä".encode(), b"\xff"]


def test_an_item_that_is_no_bytes_says_which_one() -> None:
    with pytest.raises(BadInput, match="Item 1 is of type int"):
        list(Items(["a", 5]).feed())  # type: ignore[list-item]


def test_one_string_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(BadInput, match="one str"):
        Items("abc").feed()


def test_a_grid_keeps_the_order_of_axes_and_values() -> None:
    grid = ParameterGrid(rate=[0.1, 0.2], depth=range(3))
    assert grid.spec == model.Grid((("rate", ("0.1", "0.2")), ("depth", ("0", "1", "2"))))
    assert axes_of(["rate=0.1,0.2", "depth=0,1,2"]).spec == grid.spec


@pytest.mark.parametrize("words", [["rate"], ["=1"], ["a=1", "a=2"]])
def test_what_is_no_axis_is_refused(words: list[str]) -> None:
    with pytest.raises(BadInput):
        axes_of(words)


def test_exactly_one_input_is_given() -> None:
    assert one_of(Range(0, 5), None, None) == Range(0, 5)
    for given in ((None, None, None), (Range(0, 5), ["a"], None), (None, ["a"], ["b"])):
        with pytest.raises(BadInput):
            one_of(*given)
    with pytest.raises(BadInput, match="range"):
        one_of(range(5), None, None)  # type: ignore[arg-type]
