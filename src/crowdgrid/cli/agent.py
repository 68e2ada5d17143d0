"""`crowdgrid agent`: run this machine's agent, and the owner's hand on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from crowdgrid.cli.reach import json_option
from crowdgrid.cli.showing import bytes_text, facts, print_json, span
from crowdgrid.client import quantities
from crowdgrid.errors import BadInput

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = """
\b
Examples:
  crowdgrid agent run                           lend this machine to the grid it joined
  crowdgrid agent status                        what it does now, and why it waits
  crowdgrid agent pause --for 2h                finish what runs, start nothing for two hours
  crowdgrid agent limits --cpu-share 50% --hours 22:00-07:00 --idle 5m
  crowdgrid agent python own alice              whose Python runs here, outside any sandbox
  crowdgrid agent resume
"""


def folder_of(data: str | None) -> Path:
    """The agent's folder: as given, else below CROWDGRID_DATA, else the user's."""
    if data:
        return Path(data).expanduser()
    if above := os.environ.get("CROWDGRID_DATA"):
        return Path(above) / "agent"
    from platformdirs import user_data_dir

    return Path(user_data_dir("crowdgrid")) / "agent"


def python_option(default: str) -> Callable[[F], F]:
    """Adds `--python`; `default` is what holds without it, for the help."""
    told = (
        f"Whose Python runs here, outside any sandbox: own, an owner, group:NAME, everyone, nobody; default: {default}."
    )
    return click.option("--python", metavar="WHO", multiple=True, help=told)


def run_options(command: F) -> F:
    """Adds the options of running an agent."""
    for option in (
        click.option("--data", metavar="DIR", help="The agent's folder: key, spool, caches."),
        click.option("--cpus", type=click.IntRange(min=0), default=0, help="Cores to lend; default: all."),
        click.option("--memory", metavar="SIZE", help="Memory to lend; default: three quarters."),
        click.option("--runtime", "runtimes", multiple=True, help="Kinds of program to run; default: wasm."),
        python_option("nobody"),
        click.option("--name", default="", help="As the hub shows this node."),
        click.option("--label", "labels", multiple=True, help="What jobs may ask for; repeatable."),
        click.option("--region", default="", help="Where this machine is, for jobs that must stay in a region."),
        click.option("--no-limits", is_flag=True, help="Ignore the limits on idleness, power and network."),
        click.option("--drain-seconds", type=float, default=20.0, help="What runs may take to end after SIGTERM."),
        click.option("--ca", metavar="FILE", help="Certificate (PEM) of who signed the hub's."),
        click.option("--quiet", is_flag=True, help="Only warnings."),
        click.option("--with-parent", is_flag=True, help="End when standard input closes."),
    ):
        command = option(command)
    return command


def run_agent(hub: str, invitation: str, o: dict[str, Any]) -> int:
    """Run an agent until it is told to stop; its exit status."""
    from crowdgrid.agent.main import run
    from crowdgrid.agent.settings import RUNTIMES_DEFAULT, AgentSettings
    from crowdgrid.agent.trust import words

    settings = AgentSettings(
        hub=hub,
        data=folder_of(o["data"]),
        invitation=invitation,
        cpus=o["cpus"],
        memory_bytes=quantities.size(o["memory"]) if o["memory"] else 0,
        runtimes=o["runtimes"] or RUNTIMES_DEFAULT,
        python=words(o["python"]) if o["python"] else None,
        name=o["name"],
        labels=o["labels"],
        region=o["region"],
        with_parent=o["with_parent"],
        no_limits=o["no_limits"],
        drain_seconds=o["drain_seconds"],
        ca=Path(o["ca"]) if o["ca"] else None,
        quiet=o["quiet"],
    )
    return run(settings)


@click.group(epilog=EPILOG)
def command() -> None:
    """This machine's agent: run it, see why it waits, pause it, limit what it lends and to whom, leave."""


@command.command("run")
@click.option("--hub", metavar="URL", default="", help="The hub; default: the one joined before.")
@click.option("--invitation", metavar="CODE", default="", help="For a node new to the hub; or CROWDGRID_INVITATION.")
@run_options
def run_command(hub: str, invitation: str, **options: Any) -> int:
    """Lend this machine until stopped: Ctrl-C finishes what runs, a second one stops at once.

    What was given to `crowdgrid join` (cores, memory, name, labels …) still holds; what is given here holds this time.
    """
    return run_agent(hub, invitation or os.environ.get("CROWDGRID_INVITATION", ""), options)


def _ask(data: str | None, verb: str, **arguments: Any) -> dict[str, Any]:
    from crowdgrid.agent.control import ask

    return ask(folder_of(data), verb, **arguments)


def _on_folder(text: F) -> F:
    return click.option("--data", metavar="DIR", help="The agent's folder.")(text)


@command.command()
@json_option
@_on_folder
def status(data: str | None, as_json: bool) -> None:
    """What it does now, and if it waits, why."""
    told = _ask(data, "status")
    if as_json:
        print_json(told)
        return
    again = told["retry_after_seconds"]
    facts(
        [
            ("name", told["name"]),
            ("node", told["node"]),
            ("hub", "linked" if told["linked"] else f"no link: {told['link_problem']}"),
            ("round trip", f"{told['round_trip_ms']:g} ms" if told["round_trip_ms"] else ""),
            ("may", "drain" if told["draining"] else str(told["action"]).replace("_", " ")),
            ("because", told["why"]),
            ("looks again in", span(again) if again else ""),
            ("cannot tell", ", ".join(told["unknown"])),
            ("running", told["running"]),
            ("waiting", told["waiting"]),
            ("to deliver", told["unjudged"]),
            ("done", told["done"]),
            ("Python", told["python_says"]),
            ("lends", f"{told['milli_cpus'] / 1000:g} cores, {bytes_text(told['memory_bytes'])}"),
            ("problem", told["spool_problem"] or told["python_problem"]),
        ]
    )


@command.command()
@click.option("--for", "time", metavar="TIME", default="", help="Go on by itself after this: 30m, 2h.")
@click.option("--now", is_flag=True, help="Stop what runs at once; it is given back.")
@_on_folder
def pause(data: str | None, time: str, now: bool) -> None:
    """Take nothing more; what runs is finished (or given back with --now)."""
    if now and time:
        raise BadInput("--now and --for exclude each other.", hint="`agent pause --now`, later `agent resume`.")
    if now:
        _ask(data, "stop")
        click.echo("Stopped. `crowdgrid agent resume` goes on.")
        return
    _ask(data, "pause", seconds=quantities.seconds(time) if time else 0)
    click.echo(f"Paused{f' for {time}' if time else ''}: what runs is finished. `crowdgrid agent resume` goes on.")


@command.command()
@_on_folder
def resume(data: str | None) -> None:
    """Work again, within the limits."""
    _ask(data, "resume")
    click.echo("Working, within the limits.")


@command.command()
@_on_folder
def leave(data: str | None) -> None:
    """Finish what runs, end, and forget the hub."""
    _ask(data, "leave")
    click.echo("Leaving: what runs is finished first. `crowdgrid join` joins a grid again.")


@command.command()
@click.argument("who", nargs=-1)
@json_option
@_on_folder
def python(data: str | None, as_json: bool, who: tuple[str, ...]) -> None:
    """Show whose Python runs here, or say anew whose: it counts at once, and for later starts.

    WHO are `own` (the owner of this node on its grid), names of other owners, `group:NAME` (jobs submitted to that
    group; hubs do not check yet who belongs to it), `everyone`, or `nobody`. Python runs outside any sandbox, with all
    rights of the agent's user. What runs of somebody who is not named any more ends and is given back. Functions that
    travel as pickles run for the node's own owner only, and only if `own` is among the words.
    """
    told = _ask(data, "python", **({"who": list(who)} if who else {}))
    if as_json:
        print_json(told)
    else:
        click.echo(told["says"])


@command.command()
@click.option("--cpu-share", metavar="PERCENT", help="Of the cores lent: 50%.")
@click.option("--memory", metavar="SIZE", help="Lent to programs; 0 for what it was started with.")
@click.option("--hours", metavar="FROM-TO", multiple=True, help="When to work: 22:00-07:00; `any` for all day.")
@click.option("--idle", metavar="TIME", help="Only when nobody used the machine for so long; 0 for always.")
@click.option("--mains-only/--on-battery", default=None, help="Whether to work on battery.")
@click.option("--battery-min", type=click.IntRange(0, 100), help="Per cent below which to stop on battery.")
@click.option("--unmetered-only/--any-network", default=None, help="Whether to work on networks that cost by volume.")
@click.option("--others-cpu-max", metavar="PERCENT", help="Step aside when other programs use more.")
@click.option("--temperature-max", type=float, metavar="°C", help="Step aside when hotter; 0 for never.")
@json_option
@_on_folder
def limits(data: str | None, as_json: bool, **options: Any) -> None:
    """Show what may be lent and when, or change it; it counts at once."""
    told = _ask(data, "limits", **_wanted(options))
    if as_json:
        print_json(told)
        return
    facts(
        [
            ("wish", str(told["wish"]).replace("_", " ")),
            ("CPU share", f"{told['cpu_share']:.0%}"),
            ("memory", bytes_text(told["memory_bytes"]) if told["memory_bytes"] else "as started"),
            ("hours", ", ".join(f"{_clock(a)}-{_clock(b)}" for a, b in told["hours"]) or "any"),
            ("idle for", span(told["idle_seconds"]) if told["idle_seconds"] else "whether used or not"),
            ("on battery", "no" if told["mains_only"] else f"above {told['battery_min']} %"),
            ("network", "unmetered only" if told["unmetered_only"] else "any"),
            ("others' CPU", f"up to {told['others_cpu_max']:.0%}"),
            ("temperature", f"up to {told['temperature_max']:g} °C" if told["temperature_max"] else "any"),
        ]
    )


def _wanted(o: dict[str, Any]) -> dict[str, Any]:
    """The changes asked for, as the agent names them."""
    plain = ("mains_only", "battery_min", "unmetered_only", "temperature_max")
    found: dict[str, Any] = {name: o[name] for name in plain if o[name] is not None}
    if o["cpu_share"]:
        found["cpu_share"] = _share(o["cpu_share"])
    if o["others_cpu_max"]:
        found["others_cpu_max"] = _share(o["others_cpu_max"])
    if o["memory"] is not None:
        found["memory_bytes"] = quantities.size(o["memory"])
    if o["idle"] is not None:
        found["idle_seconds"] = round(quantities.seconds(o["idle"]))
    if o["hours"]:
        found["hours"] = [] if o["hours"] == ("any",) else [_hours(text) for text in o["hours"]]
    return found


def _share(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise BadInput(f"{text!r} is no share.", hint="Write it like 50%.") from None
    return number / 100 if text.endswith("%") or number > 1 else number


def _hours(text: str) -> tuple[int, int]:
    """(from, to) in minutes of the day."""
    try:
        (h1, m1), (h2, m2) = (map(int, part.split(":")) for part in text.split("-"))
    except ValueError:
        raise BadInput(f"{text!r} is no time of day.", hint="Write it like 22:00-07:00, or `any`.") from None
    return h1 * 60 + m1, h2 * 60 + m2


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
