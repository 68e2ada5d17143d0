"""`crowdgrid doctor`: what this machine can run, what is missing and how to get it, and the way to the hub."""

from __future__ import annotations

import email.utils
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from crowdgrid.cli import endings
from crowdgrid.cli.reach import Hub, hub_options, json_option
from crowdgrid.cli.showing import bytes_text, print_json
from crowdgrid.errors import CrowdgridError

DISK_BYTES_MIN = 1 << 30
CLOCK_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at: `good`, `missing` (something else works less well) or `wrong`, and what to do."""

    subject: str
    state: str
    text: str
    remedy: str = ""


@click.command(epilog=f"\b\n{endings.TABLE}")
@json_option
@hub_options
def command(as_json: bool, hub: str | None, token: str | None) -> int:
    """Look at this machine and the way to the hub. Exit code 1 when something is wrong."""
    findings = [*_machine(), *_agent(), *_hub(hub, token)]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    return endings.FAILED if any(finding.state == "wrong" for finding in findings) else endings.OK


def _print(findings: list[Finding]) -> None:
    marks = {"good": ("✓", "green"), "missing": ("–", "yellow"), "wrong": ("✗", "red")}
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark, colour = marks[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.subject:<{width}}  {finding.text}")
        if finding.remedy:
            click.echo(f"  {'':<{width}}  → {finding.remedy}")


# --- this machine --------------------------------------------------------------------------------


def _machine() -> Iterator[Finding]:
    looks = (
        ("software", _software), ("machine", _processor), ("WASM programs", _wasm), ("Python programs", _python),
        ("data folder", _folder), ("databases", _databases), ("containers", _containers),
    )  # fmt: skip
    for subject, look in looks:
        yield _looked(subject, look)


def _looked(subject: str, look: Callable[[], Finding]) -> Finding:
    """A look that fails is a finding too: the doctor never falls ill."""
    try:
        return look()
    except CrowdgridError as error:
        return Finding(subject, "wrong", error.message, error.hint)
    except Exception as error:  # noqa: BLE001 — whatever it is, it is what the person wants to know
        return Finding(subject, "wrong", f"{type(error).__name__}: {error}")


def _software() -> Finding:
    from importlib.metadata import version

    text = f"Python {sys.version.split()[0]}, crowdgrid {version('crowdgrid')}"
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return Finding("software", "missing", f"{text}, without uvloop", "Links are slower; pip install uvloop.")
    return Finding("software", "good", text)


def _processor() -> Finding:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory()
    text = f"{cores} cores, {bytes_text(memory.total)} memory, {bytes_text(memory.available)} free"
    if memory.available < 256 << 20:
        return Finding("machine", "missing", text, "Little memory is free; lend less with --memory.")
    return Finding("machine", "good", text)


def _wasm() -> Finding:
    from crowdgrid import kernels
    from crowdgrid.runtimes.check import check_wasm

    began = time.perf_counter()
    check_wasm(kernels.path("primes").read_bytes())
    return Finding("WASM programs", "good", f"can be run (compiled one in {_ms(time.perf_counter() - began)})")


def _python() -> Finding:
    """Which Python functions would meet here, and whose come in."""
    from importlib.metadata import PackageNotFoundError, version

    from crowdgrid.agent.control import ask
    from crowdgrid.agent.joined import python_of
    from crowdgrid.cli.agent import folder_of
    from crowdgrid.core.unsandboxed import described

    folder = folder_of(None)
    try:
        says = ask(folder, "python")["says"]
    except CrowdgridError:
        says = described(python_of(folder) or ())
    release = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        text = f"of Python {release}, with numpy {version('numpy')}. {says}"
    except PackageNotFoundError:
        text = f"of Python {release}, without numpy. {says}"
        return Finding("Python programs", "missing", text, "pip install numpy, for functions that are given arrays.")
    return Finding("Python programs", "good", text)


def _folder() -> Finding:
    from platformdirs import user_data_dir

    folder = Path(os.environ.get("CROWDGRID_DATA") or user_data_dir("crowdgrid"))
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{folder}, {bytes_text(free)} free"
    if not os.access(there, os.W_OK):
        return Finding("data folder", "wrong", f"{folder} cannot be written", "Name another with CROWDGRID_DATA.")
    if free < DISK_BYTES_MIN:
        return Finding("data folder", "wrong", text, "Free at least 1 GB, or name another folder with CROWDGRID_DATA.")
    return Finding("data folder", "good", text)


def _databases() -> Finding:
    """In what a hub here could keep its store."""
    import sqlite3
    from importlib.metadata import PackageNotFoundError, version

    from crowdgrid.store.open import POSTGRES_INSTALL

    text = f"SQLite {sqlite3.sqlite_version}"
    try:
        return Finding("databases", "good", f"{text}; PostgreSQL with asyncpg {version('asyncpg')}")
    except PackageNotFoundError:
        wanted = os.environ.get("CROWDGRID_STORE", "").startswith("postgres")
        state, remedy = (
            ("wrong" if wanted else "missing"),
            f"{POSTGRES_INSTALL}, for a hub with its store in PostgreSQL.",
        )
        return Finding("databases", state, f"{text}; not PostgreSQL: asyncpg is not installed", remedy)


def _containers() -> Finding:
    found = next((name for name in ("docker", "podman") if shutil.which(name)), "")
    if found:
        return Finding("containers", "good", f"{found} is here; crowdgrid does not run containers yet")
    return Finding("containers", "missing", "no engine here; crowdgrid does not run containers yet")


def _agent() -> Iterator[Finding]:
    from crowdgrid.agent.control import ask
    from crowdgrid.cli.agent import folder_of

    folder = folder_of(None)
    try:
        told = ask(folder, "status")
    except CrowdgridError:
        yield _no_agent(folder)
        return
    if not told["linked"]:
        yield Finding("agent", "wrong", f"no link to its hub: {told['link_problem']}", "See the next lines.")
    elif told["why"]:
        yield Finding("agent", "missing", f"linked, and waits: {told['why']}", "`crowdgrid agent limits`")
    else:
        yield Finding("agent", "good", f"linked, {told['running']} tasks running, {told['done']:,} done")


def _no_agent(folder: Path) -> Finding:
    from crowdgrid.agent.joined import FILE

    if (folder / FILE).exists():
        return Finding("agent", "missing", "none runs for this user", "`crowdgrid agent run` lends this machine again.")
    text, remedy = "this machine has joined no grid", "`crowdgrid join URL CODE` lends this machine to a grid."
    return Finding("agent", "missing", text, remedy)


# --- the way to the hub --------------------------------------------------------------------------


def _hub(url: str | None, token: str | None) -> Iterator[Finding]:
    try:
        hub = Hub(url, token)
        began = time.perf_counter()
        version = hub.get("/v1/version")
        took = time.perf_counter() - began
    except CrowdgridError as error:
        state = "wrong" if url or os.environ.get("CROWDGRID_URL") else "missing"
        yield Finding("hub", state, error.message, error.hint if state == "wrong" else "`crowdgrid up` starts one.")
        return
    yield Finding("hub", "good", f"{hub.address.url}, crowdgrid {version['crowdgrid']}, answered in {_ms(took)}")
    yield _looked("clock", lambda: _clock(hub))
    yield _looked("store", lambda: _ready(hub))
    yield _looked("login", lambda: _login(hub))


def _clock(hub: Hub) -> Finding:
    told = email.utils.parsedate_to_datetime(hub.header("/v1/version", "Date")).timestamp()
    apart = time.time() - told
    if abs(apart) > CLOCK_SECONDS_MAX:
        text = f"this machine's is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the hub's"
        return Finding("clock", "missing", text, "Work does not depend on it; times shown do. Synchronise with NTP.")
    return Finding("clock", "good", "agrees with the hub's")


def _ready(hub: Hub) -> Finding:
    hub.get("/readyz")
    return Finding("store", "good", "the hub can write it")


def _login(hub: Hub) -> Finding:
    me = hub.get("/v1/me")
    return Finding("login", "good", f"{me['owner']} ({me['role']})")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
