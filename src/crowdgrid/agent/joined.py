"""The grid this machine has joined, and what its owner lends to it: kept so that `crowdgrid agent run` is enough.

What was given when joining holds until the next joining: a limit somebody has set must not be gone after a restart.
What is given to a later start holds for that one. `--no-limits` is never kept: to ignore the owner's limits has to
be said each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from crowdgrid.agent.settings import RUNTIMES_DEFAULT, AgentSettings, hub_address
from crowdgrid.errors import BadInput

FILE: Final = "joined.json"


class Joined(msgspec.Struct, frozen=True):
    """What is kept; the fields are those of `AgentSettings`, as they were given."""

    hub: str
    cpus: int = 0
    memory_bytes: int = 0
    runtimes: tuple[str, ...] = RUNTIMES_DEFAULT
    python: tuple[str, ...] | None = None
    name: str = ""
    labels: tuple[str, ...] = ()
    region: str = ""
    ca: str = ""


def complete(settings: AgentSettings, folder: Path) -> AgentSettings:
    """With what was kept in the place of what was not given; unchanged where a hub is named, for that is a joining.

    Raises:
        BadInput: no hub is named and none was joined, or the file cannot be understood.
    """
    if settings.hub:
        return settings
    kept = _read(folder / FILE)
    return msgspec.structs.replace(
        settings,
        hub=kept.hub,
        cpus=settings.cpus or kept.cpus,
        memory_bytes=settings.memory_bytes or kept.memory_bytes,
        runtimes=kept.runtimes if settings.runtimes == RUNTIMES_DEFAULT else settings.runtimes,
        python=kept.python if settings.python is None else settings.python,
        name=settings.name or kept.name,
        labels=settings.labels or kept.labels,
        region=settings.region or kept.region,
        ca=settings.ca or (Path(kept.ca) if kept.ca else None),
    )


def keep(settings: AgentSettings, folder: Path) -> None:
    """Keep what a joining was given, all of it or nothing. Raises OSError."""
    kept = Joined(
        hub=hub_address(settings.hub).shown,
        cpus=settings.cpus,
        memory_bytes=settings.memory_bytes,
        runtimes=settings.runtimes,
        python=settings.python,
        name=settings.name,
        labels=settings.labels,
        region=settings.region,
        ca=str(settings.ca.absolute()) if settings.ca else "",
    )
    _write(kept, folder)


def keep_python(python: tuple[str, ...], folder: Path) -> None:
    """Keep whose Python runs here from now on, and nothing else of what this start was given. Raises OSError."""
    if (folder / FILE).exists():  # else it has not joined yet, and what it joins with will be kept
        _write(msgspec.structs.replace(_read(folder / FILE), python=python), folder)


def python_of(folder: Path) -> tuple[str, ...] | None:
    """Whose Python runs here as far as it was ever said, without an agent that could be asked."""
    return _read(folder / FILE).python if (folder / FILE).exists() else None


def forget(folder: Path) -> None:
    """The machine has left the grid."""
    (folder / FILE).unlink(missing_ok=True)


def _write(kept: Joined, folder: Path) -> None:
    whole = folder / f"{FILE}.new"
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    whole.replace(folder / FILE)


def _read(path: Path) -> Joined:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Joined)
    except OSError:
        raise BadInput(
            "This agent has not joined a hub yet.", hint="Use `crowdgrid join URL CODE`, or give --hub URL."
        ) from None
    except msgspec.DecodeError as error:
        hint = "Join again: `crowdgrid join URL CODE`."
        raise BadInput(f"{path} cannot be understood: {error}.", hint=hint) from None
