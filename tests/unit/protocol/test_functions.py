"""Programs of functions: what is read is what was written, and reading them runs nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.errors import BadProgram, TooLarge
from crowdgrid.protocol import captured as c
from crowdgrid.protocol.functions import MAGIC, FunctionProgram, is_function, pack, read

ROOT = c.Document((c.Name("math", "sqrt"),), 0)
PROGRAM = FunctionProgram("msgpack", "sqrt", (3, 11), c.pack_document(ROOT))
PICKLED = FunctionProgram("pickle", "f", (3, 12), b"\x80", "session", ("/somewhere",), b"\x80")


@pytest.mark.parametrize("program", [PROGRAM, PICKLED], ids=["source", "pickle"])
def test_a_program_is_read_as_it_was_written(program: FunctionProgram) -> None:
    data = pack(program)
    assert is_function(data)
    assert read(data) == program


def altered(**changes: Any) -> bytes:
    return MAGIC + msgspec.msgpack.encode(msgspec.structs.replace(PROGRAM, **changes))


def document(*nodes: Any, root: int = 0, **more: Any) -> bytes:
    return altered(body=c.pack_document(c.Document(nodes, root, **more)))


BAD = {
    "nothing": (b"", "This is not a Python function sent by crowdgrid"),
    "something else": (b"\0asm\1\0\0\0", "This is not a Python function sent by crowdgrid"),
    "cut off": (pack(PROGRAM)[:-3], "cannot be read"),
    "no msgpack": (MAGIC + b"\xc1", "cannot be read"),
    "another shape": (MAGIC + msgspec.msgpack.encode({"codec": "msgpack"}), "cannot be read"),
    "another codec": (altered(codec="json"), "cannot be read"),
    "no name": (altered(name=""), "A function's name has 1 to 200 characters"),
    "a long name": (altered(name="x" * 201), "A function's name has 1 to 200 characters"),
    "a long environment": (altered(environment="x" * 201), "1 to 200 characters"),
    "folders": (altered(paths=("/etc",)), "cannot name folders to import from"),
    "many folders": (
        MAGIC + msgspec.msgpack.encode(msgspec.structs.replace(PICKLED, paths=("a",) * 1000)),
        "length <= 256",
    ),
    "a bad body": (altered(body=b"\xc1"), "cannot be read"),
    "a bad initializer": (altered(initializer=b"\xc1"), "cannot be read"),
    "no root": (document(root=0), "it refers to something it does not hold"),
    "a root beyond": (document(c.Sentinel(), root=1), "it refers to something it does not hold"),
    "what is needed comes later": (document(c.Attribute(1, "a"), c.Sentinel()), "something it does not hold"),
    "what needs itself": (document(c.Items("tuple", (0,))), "something it does not hold"),
    "a negative index": (document(c.Sentinel(), c.Attribute(-1, "a")), "something it does not hold"),
    "a cell of nothing": (document(c.Cell(7)), "something it does not hold"),
    "a strange container": (document(c.Items("frozendict", ())), "something it does not hold"),
    "keys without values": (document(c.Sentinel(), c.Pairs((0,), ())), "something it does not hold"),
    "a function without text": (document(c.Function("m", "f", 0, 1, 0)), "something it does not hold"),
    "a class without text": (document(c.Class("m", "C", 0, 1)), "something it does not hold"),
    "a line nobody wrote": (
        document(c.Sentinel(), texts=(c.Text("m.py", limits.SOURCE_LINES + 1, ""),)),
        "something it does not hold",
    ),
    "a variable that is no cell": (
        document(c.Sentinel(), c.Function("m", "f", 0, 1, 0, free={"x": 0}), texts=(c.Text("m.py", 1, ""),)),
        "something it does not hold",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_program_is_refused(case: str) -> None:
    data, said = BAD[case]
    with pytest.raises(BadProgram, match=said):
        read(data)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = document(*[c.Sentinel()] * 11)
    large = altered(body=b"x" * 2000)
    monkeypatch.setattr(limits, "FUNCTION_NODES", 10)
    monkeypatch.setattr(limits, "FUNCTION_BYTES", 1000)
    with pytest.raises(BadProgram, match="made of 11 things; the limit is 10"):
        read(many)
    with pytest.raises(BadProgram, match="over the limit of 1,000"):
        read(large)
    with pytest.raises(TooLarge, match=r"sqrt is 2,0\d\d bytes with all it captures; the limit is 1,000"):
        pack(msgspec.structs.replace(PROGRAM, body=b"x" * 2000))


def _long(count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big")


@pytest.mark.parametrize(
    "body",
    [
        b"\x92" + _long(1 << 30),
        b"\x93\x91\x91\xa8sentinel\x00" + _long(1 << 30),
        b"\x94\x91\x91\xa8sentinel\x00\x90\xdf\x7f\xff\xff\xff",
        b"\x96\x91\x91\xa8sentinel\x00\x90\x80\x80" + _long(1 << 30),
        b"\x92\x91\x93\xa4call\x00" + _long(1 << 30),
        b"\x92\x91\x94\xa4call\x00\x90\xdf\x7f\xff\xff\xff",
        b"\x92\x91\x93\xa5pairs" + _long(1 << 30),
    ],
)
def test_more_than_a_function_may_be_made_of_is_refused_before_it_is_made(body: bytes) -> None:
    """What stands here is cut short, so that only its number can be what is refused."""
    with pytest.raises(BadProgram, match="length <= 100000"):
        read(altered(body=body))


def test_references_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FUNCTION_REFERENCES", 10)
    read(document(c.Sentinel(), c.Items("tuple", (0,) * 5), c.Items("list", (0,) * 5)))
    with pytest.raises(BadProgram, match="over 10 references"):
        read(document(c.Sentinel(), c.Items("tuple", (0,) * 5), c.Items("list", (0,) * 6)))


@given(st.binary(max_size=300), st.booleans())
@example(b"", True)
@example(b"\x91" * 5000, True)
def test_any_bytes_are_read_or_refused(data: bytes, with_magic: bool) -> None:
    try:
        read(MAGIC + data if with_magic else data)
    except BadProgram:
        pass


@given(st.integers(0, 400), st.integers(0, 255))
def test_damaged_programs_are_read_or_refused(at: int, byte: int) -> None:
    text = c.Text("m.py", 3, "def f(x):\n    return x\n")
    nodes = (c.Cell(2), c.Function("m", "f", 0, 3, 0, free={"y": 0}, names={"z": 2}), c.Value(b"\x01"))
    home = {"m": c.Home("m", "", "m.py")}
    program = FunctionProgram("msgpack", "f", (3, 11), c.pack_document(c.Document(nodes, 1, (text,), home)))
    data = bytearray(pack(program))
    data[at % len(data)] = byte
    try:
        read(bytes(data))
    except BadProgram:
        pass


def test_reading_a_program_imports_no_pickle_and_nothing_it_names() -> None:
    """The hub reads programs of everybody."""
    nodes = (c.Module("this"), c.Name("antigravity", "x"), c.Value(b"\xff" * 3))
    data = pack(msgspec.structs.replace(PROGRAM, body=c.pack_document(c.Document(nodes, 0))))
    code = (
        "import sys; before = set(sys.modules); "  # what measures coverage imports pickle itself
        "from crowdgrid.protocol.functions import read; "
        "read(sys.stdin.buffer.read()); "
        "found = {'pickle', '_pickle', 'cloudpickle', 'this', 'antigravity', 'numpy'} & set(sys.modules); "
        "print(sorted(found - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_node_has_one_digest_in_every_document() -> None:
    """Classes are shared by it between programs of one environment."""
    text = c.Text("m.py", 1, "class C: pass\n")
    home = {"m": c.Home("m")}

    def of(*before: Any, limit: bytes = b"\x01") -> bytes:
        at = len(before)
        nodes = (*before, c.Value(limit), c.Class("m", "C", 0, 1, uses={"x": at}))
        return c.digest_of(c.Document(nodes, 0, (text,), home), at + 1)

    assert of() == of(c.Sentinel(), c.Module("math"))
    assert of() != of(limit=b"\x02")
