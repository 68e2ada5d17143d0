"""Somebody's own modules travel whole when they are referred to, and stay apart from those of others."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from crowdgrid.client.capture import capture, modules
from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.calls import pack_call
from crowdgrid.protocol.captured import read_document
from crowdgrid.protocol.functions import read
from crowdgrid.protocol.values import unpack_value
from tests.unit.client.capture.elsewhere import Failed, call, raised, send

FILES = {
    "tools.py": """
        import math
        import parts.near
        from parts import far as away
        LOADED = []
        LOADED.append(1)
        class Box:
            def __init__(self, x): self.x = x
        class TooBig(Exception):
            pass
        def area(r): return math.floor(math.pi * r * r)
        def both(): return parts.near.here() + away.there()
        def box(x): return Box(x)
        def is_box(x): return isinstance(x, Box)
        def closed(n):
            def inside(x): return (x, n, len(LOADED))
            return inside
        def fail(): raise TooBig("very")
        """,
    "parts/__init__.py": "NAME = 'parts'",
    "parts/near.py": """
        from . import far
        from .deep.down import DEPTH
        def here(): return [DEPTH, far.there()[0], __name__, __package__]
        """,
    "parts/far.py": "def there(): return ['far']",
    "parts/deep/__init__.py": "",
    "parts/deep/down.py": "DEPTH = 3",
    "bare/only.py": "VALUE = 9",  # a folder without __init__.py
    "uses.py": """
        import bare.only
        import json
        import tools
        from tools import Box, area, closed
        def by_module(r): return tools.area(r), tools.both()
        def by_name(r): return area(r)
        def mixed(x): return tools.is_box(Box(x)), isinstance(tools.box(1), Box), tools.Box is Box
        bound = closed(5)
        def by_closure(x): return bound(x), tools.LOADED
        def inside():
            import parts.deep.down as down
            from parts import near
            return down.DEPTH, near.here()
        def maybe():
            try:
                import not_there_at_all
            except ImportError:
                not_there_at_all = None
            return not_there_at_all, bare.only.VALUE
        def fails(): tools.fail()
        def relative(): return json.dumps([1])
        """,
    "parts/user.py": """
        def use():
            from .far import there
            from . import NAME
            return there(), NAME
        """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of modules to import from, forgotten afterwards."""
    write(tmp_path, FILES)
    before = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def load(name: str) -> Any:
    return importlib.import_module(name)


@pytest.mark.usefixtures("folder")
def test_a_module_that_is_named_travels_with_all_it_imports() -> None:
    uses = load("uses")
    expected = (12, [3, "far", "parts.near", "parts", "far"])
    assert call(uses.by_module, 2) == uses.by_module(2) == expected
    document = read_document(read(capture(uses.by_module).program).body)
    assert sorted(document.sources) == ["parts", "parts.deep", "parts.deep.down", "parts.far", "parts.near", "tools"]


@pytest.mark.usefixtures("folder")
def test_a_function_of_a_module_travels_alone() -> None:
    """Nothing else of its module is run elsewhere."""
    uses = load("uses")
    assert call(uses.by_name, 2) == 12
    assert read_document(read(capture(uses.by_name).program).body).sources == {}


@pytest.mark.usefixtures("folder")
def test_what_is_of_a_whole_module_is_of_that_module() -> None:
    """A class is one class, whether it is reached through its module or by itself."""
    uses = load("uses")
    assert call(uses.mixed, 1) == (True, True, True)
    assert call(uses.by_closure, 1) == ((1, 5, 1), [1])


@pytest.mark.usefixtures("folder")
def test_imports_inside_functions_take_their_modules_along() -> None:
    uses = load("uses")
    assert call(uses.inside) == uses.inside()
    assert call(uses.maybe) == (None, 9)
    assert call(load("parts.user").use) == (["far"], "parts")
    assert call(uses.relative) == "[1]"


@pytest.mark.usefixtures("folder")
def test_tracebacks_show_lines_of_modules_that_travelled() -> None:
    error = raised(load("uses").fails)
    text = str(error.__cause__)
    assert 'File "uses.py", line 21, in fails' in text
    assert 'File "tools.py", line 18, in fail\n    def fail(): raise TooBig("very")' in text
    assert type(error) is load("tools").TooBig


def test_two_programs_with_modules_of_one_name(folder: Path) -> None:
    """Programs called in turn each find the module they came with, and it keeps its state."""
    programs = []
    for version in (1, 2):
        write(folder, {"state.py": f"SEEN = []\ndef note(x):\n    SEEN.append(x)\n    return {version}, list(SEEN)\n"})
        write(
            folder, {"driver.py": "import state\ndef drive(x):\n    import state as again\n    return again.note(x)\n"}
        )
        for name in ("state", "driver"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode  # two versions within one second
        try:
            programs.append(capture(load("driver").drive).program)
        finally:
            sys.dont_write_bytecode = kept
    first, second = programs
    answers = send([(program, pack_call((x,), {})) for x, program in enumerate([first, second, first, second])])
    assert [unpack_value(data) for _, _, data in answers] == [(1, [0]), (2, [1]), (1, [0, 2]), (2, [1, 3])]


def test_programs_of_one_environment_share_modules(folder: Path) -> None:
    """What one function leaves in a module another one finds, as it would in one process here."""
    write(folder, {"memory.py": "SEEN = []\n"})
    write(
        folder,
        {"noting.py": "import memory\ndef note(x):\n    memory.SEEN.append(x)\ndef look():\n    return memory.SEEN"},
    )
    noting = load("noting")

    def program(fn: Any, environment: str) -> bytes:
        return capture(fn, environment=environment).program

    sent = [
        (program(noting.note, "one"), pack_call((1,), {})),
        (program(noting.look, "one"), pack_call((), {})),
        (program(noting.look, "two"), pack_call((), {})),
        (program(noting.look, ""), pack_call((), {})),
    ]
    assert [unpack_value(data) for _, _, data in send(sent)] == [None, [1], [], []]


def test_an_edited_file_is_noticed(folder: Path) -> None:
    """What is sent is what runs here, or nothing."""
    write(folder, {"edited.py": "def f(x):\n    return x + 1\n"})
    edited = load("edited")
    write(folder, {"edited.py": "# a line more\ndef f(x):\n    return x + 2\n"})
    with pytest.raises(CannotTravel, match=r"f cannot travel: its source in edited\.py is not what runs here") as info:
        capture(edited.f)
    assert "edited after it was loaded" in info.value.hint
    importlib.invalidate_caches()
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    try:
        reloaded = importlib.reload(edited)
    finally:
        sys.dont_write_bytecode = kept
    assert call(reloaded.f, 1) == 3


def test_a_module_named_like_one_of_pythons_is_refused(folder: Path) -> None:
    write(folder, {"colorsys.py": "X = 1\n"})
    sys.modules.pop("colorsys", None)
    write(folder, {"paints.py": "import colorsys\ndef f():\n    return colorsys.X\n"})
    with pytest.raises(
        CannotTravel, match="f refers to the module colorsys, which has the name of a module that comes"
    ):
        capture(load("paints").f)


def test_a_module_made_by_hand_is_refused() -> None:
    made = ModuleType("by_hand")
    with pytest.raises(CannotTravel, match="lambda captures `made`, a module, which cannot travel"):
        capture(lambda: made)


def test_a_module_that_is_not_installed_there_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without a module that is installed here says which one, before anything is called."""
    write(folder, {"bought.py": "class Thing:\n    pass\ndef use():\n    return 1\n"})
    write(
        folder,
        {
            "wants.py": """
            import bought
            from bought import Thing
            def by_module(): return bought.use()
            def by_name(): return Thing
            def when_called():
                import bought as again
                return again.use()
            def if_there():
                try:
                    import bought as again
                except ImportError:
                    return None
                return again.use()
            """
        },
    )
    places = (*modules._places(), str(folder / "bought"))
    monkeypatch.setattr(modules, "_places", lambda: places)
    wants = load("wants")
    for fn in (wants.by_module, wants.by_name, wants.when_called):
        with pytest.raises(Failed) as info:
            call(fn)
        assert info.value.code == "unavailable"
        assert info.value.error == "The module 'bought' is not installed on this node."
    assert call(wants.if_there) is None
