"""Functions and classes typed into a notebook, a doctest or a prompt travel where what was typed is kept."""

from __future__ import annotations

import builtins
import doctest
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from crowdgrid.client.capture import capture
from tests.unit.client.capture.elsewhere import call, raised


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """The shell a notebook runs its cells in."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    main, hooks = sys.modules["__main__"], (sys.displayhook, sys.excepthook)
    names = set(vars(builtins))
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell.instance(config=config)
    yield made
    made.restore_sys_module_state()  # type: ignore[no-untyped-call]
    InteractiveShell.clear_instance()
    sys.modules["__main__"], (sys.displayhook, sys.excepthook) = main, hooks
    for name in set(vars(builtins)) - names:
        delattr(builtins, name)


def run(shell: InteractiveShell, *cells: str) -> dict[str, Any]:
    for cell in cells:
        result: Any = shell.run_cell(cell, store_history=True)  # type: ignore[no-untyped-call]
        result.raise_error()
    names: dict[str, Any] = shell.user_ns
    return names


def test_functions_of_several_cells(shell: InteractiveShell) -> None:
    names = run(
        shell,
        "import math\nrate = 3",
        "def helper(x):\n    return x * rate\n\nsquares = [lambda x: x * x, lambda x: x + rate]",
        "rate = 4\nlabel = f'{rate!r}'",
        "def use(x):\n    return helper(x) + squares[0](x) + squares[1](x) + math.floor(1.5), label, __name__",
    )
    assert call(names["use"], 2) == (8 + 4 + 6 + 1, "4", "__main__")


def test_classes_of_cells(shell: InteractiveShell) -> None:
    """With methods and without any, where nothing says which cell it was."""
    names = run(
        shell,
        "from dataclasses import dataclass\nimport enum",
        "@dataclass\nclass Point:\n    x: int\n    y: int = 5",
        "class Color(enum.Enum):\n    RED = 1\n    GREEN = 2",
        "class Empty:\n    '''Nothing in it.'''\n    limit = 3",
        "class Shape:\n    def __init__(self, at):\n        self.at = at\n    def total(self):\n        return self.at.x + self.at.y",
        "class Problem(Exception):\n    pass",
        "def use(x):\n    return Shape(Point(x)).total(), Color(1).name, Empty.limit, Empty.__doc__",
        "def fail():\n    raise Problem('no', 3)",
    )
    assert call(names["use"], 2) == (7, "RED", 3, "Nothing in it.")
    error = raised(names["fail"])
    assert type(error) is names["Problem"]
    assert error.args == ("no", 3)
    assert "raise Problem('no', 3)" in str(error.__cause__)


def test_a_cell_that_changes_what_annotations_are(shell: InteractiveShell) -> None:
    """A future of one cell counts for those after it."""
    names = run(
        shell,
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar",
        "@dataclass\nclass Node:\n    label: ClassVar[str] = 'n'\n    next: Node | None = None",
        "def use(x: Nothing):\n    return repr(Node(Node())), x",
    )
    assert call(names["use"], 1) == ("Node(next=Node(next=None))", 1)


def test_a_cell_that_is_run_again_counts(shell: InteractiveShell) -> None:
    names = run(
        shell,
        "class Setting:\n    limit = 1",
        "def f(x):\n    return x + Setting.limit",
    )
    seen = capture(names["f"])
    assert call(names["f"], 1) == 2
    assert seen.current()
    run(shell, "class Setting:\n    limit = 2")
    assert not seen.current()
    assert call(names["f"], 1) == 3
    run(shell, "def f(x):\n    return x - Setting.limit")
    assert call(names["f"], 1) == -1


def test_what_a_notebook_adds_to_builtins(shell: InteractiveShell) -> None:
    """`display` is a builtin in a notebook only; it travels by its real name."""
    names = run(shell, "def show(x):\n    display\n    return x")
    assert call(names["show"], 1) == 1


def test_magic_and_top_level_await(shell: InteractiveShell) -> None:
    """A cell is kept as it was run, not as it was typed."""
    names = run(shell, "%env CROWDGRID_NOTHING=1\ndef f(x):\n    return x + 1")
    assert call(names["f"], 1) == 2


FOUND: list[Any] = []


def test_doctests() -> None:
    text = """
    >>> rate = 3
    >>> def f(x):
    ...     return x * rate
    >>> send(f)
    6
    """
    test = doctest.DocTestParser().get_doctest(text, {"send": lambda fn: call(fn, 2)}, "some.doc", None, 0)
    results = doctest.DocTestRunner(verbose=False).run(test, out=FOUND.append)
    assert (results.failed, FOUND) == (0, [])


SENDS = """
from crowdgrid.client.capture import capture
from crowdgrid.errors import CannotTravel
def f(x):
    return x + 1

try:
    print(len(capture(f).program))
except CannotTravel as error:
    print(error.message, error.hint)

"""
NOT_KEPT = sys.version_info < (3, 13)


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SENDS)
    assert int(subprocess.check_output([sys.executable, script])) > 100


def test_a_program_given_with_c_is_refused() -> None:
    """Python 3.13 and later keep it; before that there is nothing to send."""
    said = subprocess.check_output([sys.executable, "-c", SENDS], text=True)
    if NOT_KEPT:
        assert said == (
            "f cannot travel: it was made by `python -c` or exec, which keep no source. "
            "Define it in a file or a notebook cell.\n"
        )
    else:
        assert int(said) > 100


def test_a_prompt_that_keeps_nothing_is_refused() -> None:
    said = subprocess.run([sys.executable, "-i"], input=SENDS, capture_output=True, text=True).stdout
    if NOT_KEPT:
        assert "f cannot travel: it was typed at a prompt that does not keep what is typed." in said
    else:
        assert int(said) > 100
