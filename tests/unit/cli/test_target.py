"""The function that is meant is found, or it is said in a sentence why not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdgrid.cli.target import load
from crowdgrid.client.functions import Function
from crowdgrid.errors import BadInput

MODULE = """
import crowdgrid
from beside import twice
from os.path import join
LIMIT = 3

print("loaded")

@crowdgrid.function(timeout=5)
def square(x):
    return twice(x) * x

def cube(x):
    return x ** 3

class Point:
    def norm(self):
        return 1

if __name__ == "__main__":
    raise SystemExit("not to be run")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with programs; what is loaded from it is forgotten afterwards."""
    (tmp_path / "shapes.py").write_text(MODULE)
    (tmp_path / "beside.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_is_loaded_with_what_lies_beside_it_and_without_its_main_part(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it prints is not for those who read the results."""
    found, name = load("shapes.py:square")
    assert isinstance(found, Function)
    assert (found(3), name) == (18, "square")
    assert capfd.readouterr() == ("", "loaded\n")


@pytest.mark.parametrize("target", ["shapes.py:cube", "./shapes.py:cube", "shapes:cube"])
def test_a_plain_function_will_do_and_so_will_a_module(folder: Path, target: str) -> None:
    assert load(target)[0](2) == 8


def test_names_may_be_dotted_and_modules_anybodys(folder: Path) -> None:
    assert load("shapes.py:Point.norm")[1] == "Point.norm"
    assert load("os.path:join")[0]("a", "b") == "a/b"


def test_a_file_that_is_called_like_another_module_is_still_itself(folder: Path) -> None:
    """`import random` elsewhere in this process must go on meaning what it means."""
    import random

    (folder / "random.py").write_text("def four():\n    return 4\n")
    assert load("random.py:four")[0]() == 4
    assert sys.modules["random"] is random


@pytest.mark.parametrize(
    ("target", "says", "hints"),
    [
        ("nosuch.py:f", "The file 'nosuch.py' is not there.", "square.py:square"),
        (".:f", "neither a Python file nor the name of a module", ""),
        ("./:f", "The file '.' is a folder.", ""),
        ("nosuch:f", "There is no module 'nosuch'.", "square.py:square"),
        ("shapes.py", "Which function of shapes.py? It has square, cube.", ""),
        ("shapes.py:", "Which function of shapes.py?", ""),
        (
            "shapes.py:sqare",
            "shapes.py has no function 'sqare'. It has square, cube.",
            "Did you mean shapes.py:square?",
        ),
        ("shapes.py:LIMIT", "'LIMIT' in shapes.py is a int, no function.", ""),
        ("beside.py:once", "It has twice.", ""),
    ],
)
def test_what_is_not_there_is_said_with_what_is(folder: Path, target: str, says: str, hints: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(target)
    assert says in caught.value.message
    assert hints in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = = 1\n", "broken.py cannot be loaded: invalid syntax (line 1 of broken.py)."),
        ("\nnothing\n", "NameError: name 'nothing' is not defined (line 2 of broken.py)."),
        ("import no_such_thing\n", "No module named 'no_such_thing' (line 1 of broken.py)."),
        ("from . import beside\n", "attempted relative import"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (line 1 of broken.py)."),
    ],
)
def test_a_file_that_cannot_be_loaded_says_where(folder: Path, text: str, says: str) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(BadInput) as caught:
        load("broken.py:f")
    assert says in caught.value.message
