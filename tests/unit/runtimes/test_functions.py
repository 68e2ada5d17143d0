"""Loaded functions: what their calls return and raise, whatever they do."""

from __future__ import annotations

import functools
import importlib
import pickle
import re
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.client.capture import capture
from crowdgrid.client.raising import to_exception
from crowdgrid.errors import BadInput, BadProgram, CannotTravel, Unavailable
from crowdgrid.protocol import captured as c
from crowdgrid.protocol.calls import pack_call
from crowdgrid.protocol.failures import Failure, unpack_failure
from crowdgrid.protocol.functions import FunctionProgram, read
from crowdgrid.protocol.pickles import dumps, loads
from crowdgrid.protocol.values import unpack_value
from crowdgrid.runtimes.functions import CallFailed, InitializerFailed, load
from crowdgrid.runtimes.rebuild import stage, unpickling


@pytest.fixture(autouse=True)
def _nothing_on_stage() -> Iterator[None]:
    """This process is not a worker: it goes on afterwards."""
    yield
    stage.leave()
    unpickling.forget()


def failure_of(fn: Callable[..., Any], *args: Any) -> tuple[str, Failure]:
    loaded = load(read(capture(fn).program))
    with pytest.raises(CallFailed) as info:
        loaded.call(pack_call(args, {}))
    assert len(info.value.error) <= limits.ERROR_CHARS
    return info.value.error, unpack_failure(info.value.failure)


# --- what calls raise ---------------------------------------------------------------------------------


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


class Unpicklable(Exception):
    def __init__(self, a: Any, b: Any) -> None:
        super().__init__("made of two")
        self.parts = [a, b]
        self.connection = socket.SocketType


class Vicious(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt


def bad(x: int) -> int:
    raise ValueError(f"bad {x}")


def chained() -> None:
    try:
        bad(1)
    except ValueError as error:
        raise KeyError("second") from error


def in_context() -> None:
    try:
        bad(1)
    finally:
        undefined_name  # type: ignore[name-defined] # noqa: B018, F821


def raises(make: Callable[[], Any]) -> None:
    raise make()


def deep(n: int) -> int:
    return deep(n + 1) + 1


def grouped() -> None:
    raise ExceptionGroup("some", [ValueError("a"), ExceptionGroup("inner", [Silent(), TypeError("b", 2)])])


def no_memory() -> Any:
    return bytearray(1 << 62)


def with_note() -> None:
    error = ValueError("noted")
    error.add_note("look there")
    raise error


def with_address() -> None:
    raise ValueError(f"{object()!r} is not {bad!r}")


def very_long() -> None:
    raise ValueError("é" * 100_000 + "\nsecond line")


def bad_syntax(file: str) -> Any:
    return compile("1 +", file, "eval")


def returns_socket() -> Any:
    return [1, socket.SocketType]


def leaves(code: Any) -> None:
    sys.exit(code)


def test_an_exception_is_a_line_and_data() -> None:
    error, failure = failure_of(bad, 3)
    assert error == "ValueError: bad 3"
    assert (failure.type, failure.module, failure.message) == ("ValueError", "builtins", "bad 3")
    assert unpack_value(failure.args) == ("bad 3",)
    assert failure.traceback == textwrap.dedent(
        f"""\
        Traceback (most recent call last):
          File "test_functions.py", line {bad.__code__.co_firstlineno + 1}, in bad
            raise ValueError(f"bad {{x}}")
        ValueError: bad 3
        """
    )


def test_what_an_exception_came_from_is_shown() -> None:
    text = failure_of(chained)[1].traceback
    assert text.index("ValueError: bad 1") < text.index("The above exception was the direct cause")
    assert text.endswith("KeyError: 'second'\n")
    text = failure_of(in_context)[1].traceback
    assert "During handling of the above exception" in text
    assert "NameError: name 'undefined_name' is not defined" in text


def test_frames_of_installed_code_have_no_folders_and_those_of_crowdgrid_are_cut() -> None:
    _, failure = failure_of(lambda: importlib.import_module("module_of_no_place"))
    assert 'File "importlib/__init__.py", line' in failure.traceback
    assert failure.traceback.count("\n  File ") >= 2
    assert str(Path.cwd()) not in failure.traceback
    assert sys.prefix not in failure.traceback
    assert "crowdgrid" not in failure.traceback


def test_addresses_are_left_out() -> None:
    """They differ from node to node, and answers are compared."""
    error, failure = failure_of(with_address)
    assert error == "ValueError: <object object> is not <function bad>"
    assert "0x" not in failure.traceback


def test_endless_recursion() -> None:
    error, failure = failure_of(deep, 0)
    assert error.startswith("RecursionError: maximum recursion depth exceeded")
    assert "Previous line repeated" in failure.traceback
    assert len(failure.traceback) < limits.FAILURE_BYTES


def test_no_memory() -> None:
    error, failure = failure_of(no_memory)
    assert (error, failure.type) == ("MemoryError", "MemoryError")


def test_what_ends_a_process_is_a_failure_of_the_call() -> None:
    assert failure_of(leaves, 3)[0] == "SystemExit: 3"
    interrupted = functools.partial(raises, KeyboardInterrupt)
    assert failure_of(interrupted)[0] == "KeyboardInterrupt"
    assert failure_of(functools.partial(raises, GeneratorExit))[0] == "GeneratorExit"


def test_exceptions_that_misbehave() -> None:
    """An exception's own code may raise whatever it likes; the call has failed all the same."""
    error, failure = failure_of(functools.partial(raises, Silent))
    assert error == f"{__name__}.Silent: <it cannot be shown: its __str__ raises>"
    assert "Silent" in failure.traceback
    error, failure = failure_of(functools.partial(raises, Vicious))
    assert (failure.type, failure.args) == (f"{__name__}.Vicious", b"")


def test_what_is_plain_of_an_exception_travels() -> None:
    _, failure = failure_of(functools.partial(raises, functools.partial(Unpicklable, 1, "b")))
    assert unpack_value(failure.args) == ("made of two",)
    assert unpack_value(failure.attributes) == {"parts": [1, "b"]}


def test_groups_of_exceptions() -> None:
    error, failure = failure_of(grouped)
    assert error == "ExceptionGroup: some (2 sub-exceptions)"
    assert [part.type for part in failure.parts] == ["ValueError", "ExceptionGroup"]
    assert "  | ValueError: a" in failure.traceback
    found = to_exception(failure, classes=[Silent])
    assert isinstance(found, ExceptionGroup)
    inner = found.exceptions[1]
    assert isinstance(inner, ExceptionGroup)
    assert [type(part) for part in inner.exceptions] == [Silent, TypeError]


def test_notes_are_shown() -> None:
    assert failure_of(with_note)[1].traceback.endswith("ValueError: noted\nlook there\n")


def test_what_is_long_is_cut() -> None:
    error, failure = failure_of(very_long)
    assert error == ("ValueError: " + "é" * 1000)[: limits.ERROR_CHARS]
    assert len(failure.message) <= 4_000
    assert len(failure.traceback.encode()) <= limits.FAILURE_BYTES
    assert "[… cut …]" in failure.traceback
    assert failure.traceback.endswith("second line\n")


def test_a_file_in_a_syntax_error_has_no_folder() -> None:
    _, failure = failure_of(bad_syntax, "/somewhere/secret/file.py")
    assert "/somewhere" not in failure.traceback
    assert 'File "file.py", line 1' in failure.traceback


def test_a_result_that_cannot_travel() -> None:
    error, failure = failure_of(returns_socket)
    assert failure.message.startswith("returns_socket returned a list with a type in it, which cannot travel. ")
    found = to_exception(failure)
    assert type(found) is CannotTravel
    assert error.startswith("returns_socket returned a list")


def test_arguments_that_are_none() -> None:
    loaded = load(read(capture(bad).program))
    with pytest.raises(CallFailed) as info:
        loaded.call(b"\xc1")
    assert type(to_exception(unpack_failure(info.value.failure))) is BadInput


def test_calls_of_one_function_may_be_of_any_kind_in_any_order() -> None:
    """Plain arguments are read in a shorter way, as long as all are."""

    def told(*args: Any, **named: Any) -> Any:
        return args, named

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1, [2, {"a": None}]), {}),
        (((1, 2), {3}), {}),
        ((1,), {"b": (2,)}),
        ((2**70,), {}),
        ((), {}),
        ((1, "x"), {}),
    ]
    for first in range(len(calls)):
        loaded = load(read(capture(told).program))
        for args, named in calls[first:] + calls[:first]:
            assert unpack_value(loaded.call(pack_call(args, named))) == (args, named)
        with pytest.raises(CallFailed, match="no call"):
            loaded.call(b"\x91\x01")


def test_wrong_arguments() -> None:
    """A frame of crowdgrid's own is all there is, and none is shown."""
    error, failure = failure_of(bad, 1, 2)
    assert error == "TypeError: bad() takes 1 positional argument but 2 were given"
    assert failure.traceback == f"{error}\n"


# --- what cannot be loaded ----------------------------------------------------------------------------


def made_of(*nodes: Any, python: tuple[int, int] = (3, 11), **more: Any) -> FunctionProgram:
    return FunctionProgram("msgpack", "square", python, c.pack_document(c.Document(nodes, len(nodes) - 1, **more)))


def test_syntax_of_another_python() -> None:
    text = c.Text("newer.py", 2, "def square(x):\n    return x squared\n")
    program = made_of(c.Function("m", "square", 0, 2, 0), texts=(text,), homes={"m": c.Home("m")}, python=(3, 99))
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(BadProgram) as info:
        load(program)
    assert info.value.message == (
        f"This function was written for Python 3.99 and uses syntax that Python {here} cannot read: line 3."
    )
    assert "Python 3.99" in info.value.hint
    with pytest.raises(BadProgram, match=r"The source of square cannot be read: .* \(line 3\)"):
        load(msgspec.structs.replace(program, python=sys.version_info[:2]))


@pytest.mark.parametrize(
    ("node", "error", "said"),
    [
        (
            c.Module("module_of_no_place.sub"),
            Unavailable,
            "The module 'module_of_no_place' is not installed on this node",
        ),
        (c.Name("math", "no.such"), Unavailable, "The module 'math' on this node has no 'no.such'"),
        (c.Name("math", "pi"), BadProgram, "square is no function"),
        (c.Value(b"\xc1"), BadProgram, "These bytes are no packed value"),
        (c.Module("..relative"), Unavailable, "The module '..relative' cannot be imported on this node: TypeError"),
    ],
)
def test_programs_that_cannot_be_made(node: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        load(made_of(node))


def test_a_class_whose_body_raises() -> None:
    text = c.Text("m.py", 1, "class C:\n    x = 1 / 0\n")
    program = made_of(c.Class("m", "C", 0, 1), texts=(text,), homes={"m": c.Home("m")})
    with pytest.raises(BadProgram, match="square cannot be made here: ZeroDivisionError: division by zero"):
        load(program)


def test_a_module_that_raises_when_it_is_imported() -> None:
    program = made_of(c.Module("own"), sources={"own": c.Source("own.py", "raise ValueError('no')")})
    with pytest.raises(BadProgram, match="The module 'own' cannot be imported on this node: ValueError: no"):
        load(program)
    needs = made_of(c.Module("own"), sources={"own": c.Source("own.py", "import module_of_no_place")})
    with pytest.raises(Unavailable, match="The module 'module_of_no_place' is not installed"):
        load(needs)


def test_a_module_in_the_syntax_of_another_python() -> None:
    """Both versions are named, whether it is imported with the function or by it."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    sources = {"own": c.Source("own.py", "\ndef use x\n")}
    program = made_of(c.Module("own"), sources=sources, python=(3, 99))
    said = rf"written for Python 3\.99 with syntax that Python {re.escape(here)} cannot read \(own\.py, line 2\)"
    with pytest.raises(BadProgram, match=said):
        load(program)
    text = c.Text("newer.py", 1, "def square():\n    import own\n")
    later = made_of(
        c.Function("m", "square", 0, 1, 0), texts=(text,), homes={"m": c.Home("m")}, sources=sources, python=(3, 99)
    )
    with pytest.raises(CallFailed) as info:
        load(later).call(pack_call((), {}))
    error = to_exception(unpack_failure(info.value.failure))
    assert isinstance(error, SyntaxError)
    assert re.match(said, str(error))
    with pytest.raises(BadProgram, match=r"SyntaxError: (?!written).* \(own\.py, line 2\)"):
        load(msgspec.structs.replace(program, python=sys.version_info[:2]))


# --- environments -------------------------------------------------------------------------------------

SETTING: Any = None
RUNS: list[int] = []


class Config:
    def __init__(self, value: int) -> None:
        self.value = value


def prepare(value: int) -> None:
    global SETTING
    SETTING = Config(value)
    RUNS.append(value)


def look() -> Any:
    return SETTING.value, isinstance(SETTING, Config), RUNS


def look_again() -> Any:
    return SETTING.value + 1


def fails_to_prepare() -> None:
    raise ValueError("no luck")


def results(*programs: bytes) -> list[Any]:
    return [unpack_value(load(read(program)).call(pack_call((), {}))) for program in programs]


def test_an_initializer_runs_once_in_an_environment() -> None:
    """What it sets in its module's globals is there for all functions of that module, of the same classes."""
    programs = [
        capture(fn, environment=environment, initializer=prepare, initargs=(value,)).program
        for fn, environment, value in ((look, "one", 5), (look_again, "one", 5), (look, "two", 7), (look, "one", 5))
    ]
    assert results(*programs) == [(5, True, []), 6, (7, True, []), (5, True, [])]
    assert SETTING is None


def test_an_initializer_that_raises() -> None:
    program = read(capture(look, environment="bad", initializer=fails_to_prepare).program)
    for _ in range(2):
        with pytest.raises(InitializerFailed, match="The initializer raised ValueError: no luck") as info:
            load(program)
        assert unpack_failure(info.value.failure).in_initializer


def test_an_initializer_with_the_pickle_codec() -> None:
    programs = [
        capture(fn, codec="pickle", environment=environment, initializer=notes, initargs=(RUNS_HERE,)).program
        for fn, environment in ((look_here, "pickled one"), (look_here, "pickled one"), (look_here, "pickled two"))
    ]
    found = [loads(load(read(program)).call(dumps(((), {})))) for program in programs]
    assert found == [1, 1, 2]


def test_what_an_initializer_sets_in_a_script_is_there_for_its_functions() -> None:
    """Each is pickled with globals of its own, as what is defined in a script is."""
    names: dict[str, Any] = {"__name__": "script", "KNOWN": 0}
    exec(SCRIPT, names)  # noqa: S102 - as the interpreter does with a script
    known, new, made = names["known"], names["new"], names["Made"]()
    begin = names["begin"]
    programs = [
        capture(fn, codec="pickle", environment="script", initializer=begin, initargs=(5,)).program
        for fn in (known, new, made, functools.partial(new))
    ]
    found = [loads(load(read(program)).call(dumps(((), {})))) for program in programs]
    assert found == [5, 6, 5, 6]
    assert names["KNOWN"] == 0
    other = capture(known, codec="pickle", environment="another script").program
    assert loads(load(read(other)).call(dumps(((), {})))) == 0


SCRIPT = """
def begin(value):
    global KNOWN, NEW
    KNOWN = value
    NEW = value + 1

def known():
    return KNOWN

def new():
    return NEW

class Made:
    def __call__(self):
        return KNOWN
"""

RUNS_HERE: list[int] = []


def notes(_: Any) -> None:
    RUNS_HERE.append(1)


def look_here() -> int:
    return len(RUNS_HERE)


# --- pickles ------------------------------------------------------------------------------------------


def pickled(fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
    loaded = load(read(capture(fn, codec="pickle", **options).program))
    return loads(loaded.call(dumps((args, {}))))


def test_objects_travel_as_pickles() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    found = pickled(lambda x: [Local(x), Local], 3)
    assert (found[0].x, found[1]) == (3, Local)


def test_exceptions_travel_as_pickles() -> None:
    loaded = load(read(capture(functools.partial(raises, int), codec="pickle").program))
    with pytest.raises(CallFailed, match="TypeError: exceptions must derive from BaseException"):
        loaded.call(dumps(((), {})))
    loaded = load(read(capture(bad, codec="pickle").program))
    with pytest.raises(CallFailed) as info:
        loaded.call(dumps(((2,), {})))
    failure = unpack_failure(info.value.failure)
    assert isinstance(pickle.loads(failure.pickled), ValueError)  # noqa: S301 - it is ours
    assert to_exception(failure, unpickle=True).args == ("bad 2",)


def test_the_traceback_of_a_pickled_function_shows_the_line() -> None:
    """As when its source travels: cloudpickle by itself would leave the file out."""
    local = functools.partial(lambda x: bad(x), 3)
    loaded = load(read(capture(local, codec="pickle").program))
    with pytest.raises(CallFailed) as info:
        loaded.call(dumps(((), {})))
    shown = unpack_failure(info.value.failure).traceback
    line = local.func.__code__.co_firstlineno
    assert f'test_functions.py", line {line}, in <lambda>\n    local = functools.partial(' in shown


def test_exceptions_that_cannot_be_pickled() -> None:
    """Pickled they may be; coming back, `Unpicklable` misses an argument."""
    loaded = load(
        read(capture(functools.partial(raises, functools.partial(Unpicklable, 1, 2)), codec="pickle").program)
    )
    with pytest.raises(CallFailed) as info:
        loaded.call(dumps(((), {})))
    failure = unpack_failure(info.value.failure)
    assert failure.pickled == b""
    assert failure.message == "made of two"


def test_a_result_that_cannot_be_pickled() -> None:
    loaded = load(read(capture(lambda: (x for x in [1]), codec="pickle").program))
    with pytest.raises(CallFailed) as info:
        loaded.call(dumps(((), {})))
    assert unpack_failure(info.value.failure).message.startswith(
        "lambda returned a generator, which cannot travel. cannot pickle 'generator' object"
    )


def test_pickles_of_another_python_are_not_read() -> None:
    program = msgspec.structs.replace(read(capture(bad, codec="pickle").program), python=(3, 99))
    with pytest.raises(BadProgram, match=r"bad was pickled by Python 3\.99; this node has"):
        load(program)


def test_modules_edited_between_two_sessions_are_not_stale(tmp_path: Path) -> None:
    """A pickle names its module; the worker imports it from the sender's folder, anew for each environment."""

    def value(environment: str) -> Any:
        body = b"cedited_between\nvalue\n."  # a pickle of the name alone
        program = FunctionProgram("pickle", "value", sys.version_info[:2], body, environment, (str(tmp_path),))
        return loads(load(program).call(dumps(((), {}))))

    def write(text: str) -> None:
        (tmp_path / "edited_between.py").write_text(text)

    write("SEEN = []\ndef value():\n    SEEN.append(1)\n    return 'old', len(SEEN)\n")
    assert [value("first"), value("first")] == [("old", 1), ("old", 2)]
    write("def value():\n    return 'edited'\n")
    assert value("second") == "edited"
    write("raise ValueError('broken')\n")
    with pytest.raises(BadProgram, match="value cannot be unpickled here: ValueError: broken"):
        value("third")
    (tmp_path / "edited_between.py").unlink()
    with pytest.raises(Unavailable, match="The module 'edited_between' is not installed on this node"):
        value("fourth")
    unpickling.forget()
    assert str(tmp_path) not in sys.path
    assert "edited_between" not in sys.modules
