"""Lines become calls, lazily; a line that cannot is named by its number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crowdgrid.cli import calls
from crowdgrid.cli.calls import Call, Form
from crowdgrid.client.splits import Range
from crowdgrid.errors import BadInput


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Call]]:
    """The calls that a file's content makes."""

    def read(content: str | bytes, form: Form | None = None, *, text: bool = False) -> list[Call]:
        file = tmp_path / "in.jsonl"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return list((calls.of_text if text else calls.of_json)(str(file), form or Form()).each)

    return read


Read = Callable[..., list[Call]]


def test_each_line_of_json_is_one_argument_and_blank_lines_are_none(read: Read) -> None:
    assert read('1\n"a"\n\n[1, 2]\n{"x": 3}\r\nnull') == [
        ((value,), {}) for value in (1, "a", [1, 2], {"x": 3}, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "line", "call"),
    [
        (Form(star=True), "[3, [4]]", ((3, [4]), {})),
        (Form(kwargs=True), '{"x": 3}', ((), {"x": 3})),
        (Form(fields=("b", "a")), '{"a": 1, "b": 2, "c": 3}', ((2, 1), {})),
        (Form(constants={"bias": 1}), "3", ((3,), {"bias": 1})),
        (Form(kwargs=True, constants={"bias": 1}), '{"bias": 2}', ((), {"bias": 2})),
    ],
)
def test_a_line_is_spread_over_the_arguments_as_asked(read: Read, form: Form, line: str, call: Call) -> None:
    """What a line says itself goes before what is the same for all."""
    assert read(line, form) == [call]


@pytest.mark.parametrize(
    ("form", "lines", "says"),
    [
        (Form(), "1\n\n{x\n", "Line 3 of in.jsonl is no JSON"),
        (Form(), "[" * 100_000, "Line 1 of in.jsonl is too deep."),
        (Form(star=True), "[1]\n2\n", "Line 2 of in.jsonl is no list."),
        (Form(kwargs=True), "[1]\n", "Line 1 of in.jsonl is no object."),
        (Form(fields=("x",)), '{"x": 1}\n{"y": 1}', "Line 2 of in.jsonl has no field 'x'."),
    ],
)
def test_a_line_that_is_no_call_is_named(read: Read, form: Form, lines: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(lines, form)
    assert caught.value.message.startswith(says)
    assert caught.value.hint


def test_lines_of_text_are_arguments_without_their_ends(read: Read) -> None:
    assert read("a\n\nb\r\nc", Form(constants={"n": 1}), text=True) == [
        ((line,), {"n": 1}) for line in ("a", "", "b", "c")
    ]  # fmt: skip
    with pytest.raises(BadInput, match="is no UTF-8 text"):
        read(b"a\n\xff\n", text=True)


def test_a_range_is_as_many_calls() -> None:
    found = calls.of_range(Range(3, 6), Form())
    assert found.total == 3
    assert list(found.each) == [((3,), {}), ((4,), {}), ((5,), {})]
    with pytest.raises(BadInput):
        calls.of_range(Range(6, 3), Form())


def test_a_file_that_is_not_there_is_said_before_anything_else_is_done() -> None:
    with pytest.raises(BadInput, match="cannot be read: no such file"):
        calls.of_json("nowhere.jsonl", Form())


def test_what_is_the_same_for_all_is_json_or_text() -> None:
    from crowdgrid.cli.map import _constants

    found: dict[str, Any] = _constants(("bias=3", "mode=fast", 'names=["a"]', "note=a=b", "empty="))
    assert found == {"bias": 3, "mode": "fast", "names": ["a"], "note": "a=b", "empty": ""}
    for word in ("bias", "=3", "a b=3"):
        with pytest.raises(BadInput):
            _constants((word,))
    with pytest.raises(BadInput):
        _constants(("x=1", "x=2"))
