"""What a program finds in its process: the modules that travelled with it, under their own names.

Two programs may bring different modules of one name, and one of them may hide a module installed here. So the
modules of a program are in `sys.modules`, and its lines of source in `linecache`, while its calls run and only then:
`enter` changes the scene when the next call is another program's, and does nothing when it is not.

A `World` is what programs of one environment share: modules that travelled whole, and what an initializer set. Two
programs of one environment that bring different sources under one name do not share.
"""

from __future__ import annotations

import importlib.machinery
import linecache
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, cast

from crowdgrid.protocol.captured import Source


class World:
    """Modules that travelled whole; a finder and loader of them while the world is on stage."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.modules: dict[str, ModuleType] = {}  # imported from here, while it is not on stage
        self.set: dict[str, dict[str, Any]] = {}  # by home, the globals an initializer set
        self.shared: dict[bytes, Any] = {}  # by the digest of all they are made of, classes of its programs
        self.is_initialized = False
        self.python = sys.version_info[:2]  # what its programs were written for

    def agrees(self, sources: Mapping[str, Source]) -> bool:
        """Whether a program with these modules can share this world."""
        return all(self.sources.get(name, source) == source for name, source in sources.items())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> importlib.machinery.ModuleSpec | None:
        """Found before anything installed: where the function comes from, its own modules come first too."""
        source = self.sources.get(fullname)
        if source is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, cast(Any, self), origin=source.file, is_package=source.package)
        spec.has_location = True
        return spec

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """The usual kind of module will do."""

    def exec_module(self, module: ModuleType) -> None:
        source = self.sources[module.__name__]
        try:
            code = compile(source.text, source.file, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise self._of_another_python(error) from None
        exec(code, vars(module))  # noqa: S102 - this is what importing is

    def _of_another_python(self, error: SyntaxError) -> SyntaxError:
        """The same, saying what most likely is the matter: where it was sent from, it could be read."""
        here = sys.version_info[:2]
        if self.python == here:
            return error
        there = "{}.{}".format(*self.python)
        said = f"written for Python {there} with syntax that Python {here[0]}.{here[1]} cannot read"
        return SyntaxError(said, *error.args[1:])

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].package


class Scene:
    """What one program finds: its world, the modules of which only parts travelled, and its lines of source."""

    def __init__(self, world: World, homes: Mapping[str, ModuleType], lines: Mapping[str, list[str]]) -> None:
        self.world = world
        # A second module of a name has another key; one hiding a part of the standard library would hide it from all.
        self.homes = {name: home for name, home in homes.items() if _is_free(name)}
        self.lines = lines
        self.hidden: dict[str, ModuleType] = {}  # modules of this process its own ones hide


def _is_free(name: str) -> bool:
    root = name.partition(".")[0]
    return root not in sys.stdlib_module_names and root != "crowdgrid" and " " not in name


_on_stage: Scene | None = None


def enter(scene: Scene) -> None:
    """Make `scene` what imports, tracebacks and `sys.modules` show."""
    global _on_stage
    if _on_stage is scene:
        return
    leave()
    _on_stage = scene
    for name in (*scene.world.sources, *scene.homes):
        if name in sys.modules:
            scene.hidden[name] = sys.modules.pop(name)
    sys.modules.update(scene.homes)
    sys.modules.update(scene.world.modules)
    if scene.world.sources:
        sys.meta_path.insert(0, cast(Any, scene.world))
    for file, lines in scene.lines.items():
        linecache.cache[file] = (0, None, lines, file)


def leave() -> None:
    """Take what is on stage off it; its modules keep their state."""
    global _on_stage
    scene, _on_stage = _on_stage, None
    if scene is None:
        return
    for name in scene.world.sources:
        if name in sys.modules:
            scene.world.modules[name] = sys.modules.pop(name)
    for name in scene.homes:
        sys.modules.pop(name, None)
    sys.modules.update(scene.hidden)
    scene.hidden.clear()
    if scene.world in sys.meta_path:
        sys.meta_path.remove(scene.world)
