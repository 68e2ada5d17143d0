"""The example programs that come with crowdgrid, compiled; their C sources are in `kernels/`.

They are ordinary programs: nothing in the grid knows them by name except the demonstration and the
benchmarks. `kernels/check.sh` proves that these bytes come from those sources.
"""

from __future__ import annotations

from pathlib import Path

from crowdgrid.errors import NotFound

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of all kernels, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.wasm")))


def path(name: str) -> Path:
    """Where the WASM module of kernel `name` is.

    Raises:
        NotFound: there is no kernel of this name.
    """
    if name not in names():
        raise NotFound(f"There is no kernel named {name!r}.", hint=f"There are: {', '.join(names())}.")
    return _FOLDER / f"{name}.wasm"
