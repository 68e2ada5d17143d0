"""A failure becomes an exception of a class that is known here, or a RemoteError; never anything else."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid.client.raising import RemoteTraceback, to_exception
from crowdgrid.errors import CannotTravel, RemoteError
from crowdgrid.protocol.failures import Failure
from crowdgrid.protocol.pickles import dumps
from crowdgrid.protocol.values import pack_value
from crowdgrid.runtimes.rebuild.raised import describe


class Own(Exception):
    def __init__(self, code: int) -> None:
        raise AssertionError("a class of one's own is not called on the word of another machine")


class OwnOSError(OSError):
    pass


class TwoWords(Exception):
    """A common slip: it is made of other arguments than it tells `Exception`, so no pickle of it can be read."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.second = second


def back(error: BaseException, *classes: type[BaseException]) -> BaseException:
    return to_exception(describe(error), classes=classes)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("k"),
        StopIteration(3),
        SystemExit(2),
        KeyboardInterrupt(),
        FileNotFoundError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ZeroDivisionError(),
        AssertionError((1, 2)),
        ExceptionGroup("g", [ValueError(1), OSError("b")]),
        BaseExceptionGroup("g", [KeyboardInterrupt()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pythons_own_exceptions_come_back(error: BaseException) -> None:
    found = back(error)
    assert (type(found), repr(found), str(found)) == (type(error), repr(error), str(error))


def test_attributes_come_back() -> None:
    found = back(FileNotFoundError(2, "No such file", "name"))
    assert isinstance(found, OSError)
    assert (found.errno, found.filename) == (2, "name")
    with pytest.raises(ModuleNotFoundError) as info:
        import module_of_no_place  # type: ignore[import-not-found] # noqa: F401
    found = back(info.value)
    assert isinstance(found, ModuleNotFoundError)
    assert found.name == "module_of_no_place"
    error = back(SystemExit(7))
    assert isinstance(error, SystemExit)
    assert error.code == 7


def test_known_classes_come_back_without_being_called() -> None:
    told = Failure(
        f"{__name__}.Own", __name__, "5", pack_value((5,)), attributes=pack_value({"code": 5, "__class__": 1})
    )
    found: Any = to_exception(told, classes=[Own])
    assert type(found) is Own
    assert (found.args, vars(found)) == ((5,), {"code": 5})
    found = back(OwnOSError(2, "gone"), OwnOSError)
    assert (type(found), found.errno) == (OwnOSError, 2)
    with pytest.raises(json.JSONDecodeError) as info:
        json.loads("{")
    found = back(info.value, json.JSONDecodeError)
    assert (type(found), found.pos, found.lineno) == (json.JSONDecodeError, 1, 1)


def test_other_classes_are_remote_errors() -> None:
    """Also when the failure names a class that could be imported."""
    told = Failure("subprocess.CalledProcessError", "subprocess", "it failed", traceback="Traceback…\n")
    found = to_exception(told, where="It was call 3.")
    assert type(found) is RemoteError
    assert found.message == "subprocess.CalledProcessError: it failed"
    assert (found.type_name, found.traceback) == ("subprocess.CalledProcessError", "Traceback…\n")
    assert found.__notes__ == ["It was call 3."]
    assert type(to_exception(Failure("Own", "builtins", "m"), classes=[Own])) is RemoteError
    assert type(to_exception(Failure("print", "builtins", "m"))) is RemoteError


def test_arguments_that_do_not_fit_are_a_remote_error() -> None:
    assert type(to_exception(Failure("UnicodeDecodeError", "builtins", "m"))) is RemoteError
    assert type(to_exception(Failure("ExceptionGroup", "builtins", "m", pack_value(("m",))))) is RemoteError
    assert repr(to_exception(Failure("ValueError", "builtins", "only said"))) == "ValueError('only said')"
    assert repr(to_exception(Failure("ValueError", "builtins", "m", b"\xc1", attributes=b"\xc1"))) == "ValueError('m')"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("UnicodeDecodeError", ("x", b"abc", -(10**15), -(10**15) + 1, "r")),  # str() of it would end this process
        ("UnicodeDecodeError", ("x", b"abc", 1, 10**15, "r")),
        ("UnicodeEncodeError", ("x", "abc", 3, 2, "r")),
        ("UnicodeTranslateError", ("abc", -1, 0, "r")),
        ("SyntaxError", ("m", ("f", 1, 1, "x", 1, 10**12))),  # a terabyte of carets
        ("SyntaxError", ("m", ("f", 1, 1, 5, 1, 1))),
        ("IndentationError", ("m", ("f", 2**70, 1, "x", 1, 1))),
    ],
)
def test_places_that_are_outside_of_their_text_are_a_remote_error(name: str, args: tuple[Any, ...]) -> None:
    """CPython itself reads, or writes, there."""
    found = to_exception(Failure(name, "builtins", "m", pack_value(args)))
    assert type(found) is RemoteError
    assert "".join(traceback.format_exception(found)).endswith(f"RemoteError: {name}: m\n")


def test_attributes_stand_in_the_way_of_no_method() -> None:
    hostile = dict.fromkeys(("with_traceback", "add_note", "args"), 5) | {"code": 7}
    found: Any = to_exception(Failure("ValueError", "builtins", "m", attributes=pack_value(hostile)), where="Here.")
    assert vars(found) == {"code": 7, "__notes__": ["Here."]}
    assert found.with_traceback(None) is found


def test_what_a_stranger_said_does_not_reach_the_terminal_raw() -> None:
    """Where Python prints it: in the message, in the traceback there, in notes."""
    told = Failure("mine.Error", "mine", "\x1b[2J", traceback="Trace\x1b]0;x\x07\x9bm\n\tline")
    shown = "".join(traceback.format_exception(to_exception(told)))
    assert "mine.Error: \ufffd[2J" in shown
    assert "Trace\ufffd]0;x\ufffd\ufffdm\n\tline" in shown
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)


def test_the_traceback_there_is_shown_as_the_cause() -> None:
    found = to_exception(
        Failure("ValueError", "builtins", "m", traceback="Traceback there\nValueError: m\n"), where="Node x."
    )
    assert isinstance(found.__cause__, RemoteTraceback)
    shown = "".join(traceback.format_exception(found))
    assert 'RemoteTraceback: \n"""\nTraceback there\nValueError: m\n"""' in shown
    assert shown.endswith("ValueError: m\nNode x.\n")


def test_our_own_words_come_back() -> None:
    error = CannotTravel("square returned a socket, which cannot travel.")
    found = back(error)
    assert type(found) is CannotTravel
    assert str(found) == error.message


class Opens:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, (5,)


def test_pickles_are_read_only_when_asked_to() -> None:
    told = Failure("ValueError", "builtins", "m", pickled=dumps(KeyError("pickled")))
    assert type(to_exception(told)) is ValueError
    assert repr(to_exception(told, unpickle=True)) == "KeyError('pickled')"
    hostile = Failure("ValueError", "builtins", "m", pickled=dumps(Opens()))
    assert type(to_exception(hostile)) is ValueError
    broken = Failure("ValueError", "builtins", "m", pickled=b"junk")
    assert type(to_exception(broken, unpickle=True)) is ValueError
    no_exception = Failure("ValueError", "builtins", "m", pickled=dumps(3))
    assert type(to_exception(no_exception, unpickle=True)) is ValueError


NAMES = st.sampled_from(
    [*vars(__builtins__ if isinstance(__builtins__, type(sys)) else sys), "ValueError", "OSError", "m.Own"]
)


@given(
    st.builds(
        Failure,
        type=NAMES | st.text(max_size=10),
        module=st.sampled_from(["builtins", __name__, "crowdgrid.errors", ""]),
        message=st.text(max_size=10),
        args=st.binary(max_size=10) | st.lists(st.integers() | st.text(max_size=3)).map(tuple).map(pack_value),
        traceback=st.text(max_size=10),
        attributes=st.dictionaries(st.text(max_size=5) | st.integers(), st.integers()).map(pack_value),
    )
)
def test_any_failure_is_some_exception(failure: Failure) -> None:
    assert isinstance(to_exception(failure, classes=[Own]), BaseException)


def test_one_whose_pickle_cannot_be_read_is_known_by_name_where_pickles_are_read() -> None:
    told = describe(TwoWords("a", "b"))
    told = msgspec.structs.replace(told, pickled=dumps(TwoWords("a", "b")))
    found = to_exception(told, unpickle=True)
    assert isinstance(found, TwoWords)
    assert (str(found), found.second) == ("a b", "b")
    assert type(to_exception(told)) is RemoteError, "a stranger names no class"


@pytest.mark.parametrize(
    ("module", "kind"), [("os", "os.system"), ("nowhere", "nowhere.Error"), ("", ""), ("os", "os")]
)
def test_a_name_that_is_no_exception_is_none(module: str, kind: str) -> None:
    assert type(to_exception(Failure(kind, module, "m"), unpickle=True)) is RemoteError
