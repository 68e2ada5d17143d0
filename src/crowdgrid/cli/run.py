"""`crowdgrid run`: run a program over an input and print the answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crowdgrid import kernels
from crowdgrid.cli import endings
from crowdgrid.cli.calls import standard_input
from crowdgrid.cli.reach import grid, hub_options, json_option
from crowdgrid.cli.showing import print_json
from crowdgrid.client import quantities
from crowdgrid.client.splits import Lines, ParameterGrid, Range, Split, axes_of
from crowdgrid.core.trust.comparison import Comparison, Exact, Interval, Numeric, UnorderedLines
from crowdgrid.errors import BadInput, JobFailed

if TYPE_CHECKING:
    from crowdgrid.client.job import Job

CONSENSUS = ("single", "majority", "trust_weighted", "bounded_error")
REDUCERS = ("collect", "concatenate", "count", "first", "maximum", "merge-counters", "minimum", "sum")
EPILOG = f"""
\b
Examples:
  crowdgrid run primes --range 0:10**9 --reduce sum
  crowdgrid run wordcount.wasm --lines corpus.txt --reduce merge-counters
  crowdgrid run fold.wasm --items molecules.txt -- --steps 100
  crowdgrid run model.wasm --grid rate=0.1,0.2 --grid depth=2,3,4
  crowdgrid run primes.wasm --range 0:1e12 --reduce sum --name primes --detach
  crowdgrid run pi.wasm --range 0:1e9 --consensus bounded_error --error-bound 1e-6 --compare numeric:1e-9

\b
PROGRAM is a .wasm file, or the name of a program that comes with crowdgrid: {", ".join(kernels.names())}.

\b
The input, one of them:
  --range A:B    the program gets START STOP as its last arguments
  --lines FILE   lines on standard input, many in one run
  --items FILE   each line is one run's standard input
  --grid N=V,W   one run for each combination, as --N V

\b
When an answer stands:
  single           the first result (default): nodes of your own, or work that checks itself
  majority         more than half of --overlap nodes say the same
  trust_weighted   all --overlap nodes report; an answer needs --threshold of their trust
  bounded_error    as many as it takes until it is wrong with a chance of at most --error-bound

\b
{endings.TABLE}
"""


@click.command(epilog=EPILOG)
@click.argument("program", type=click.Path(dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--range", "range_", metavar="A:B", help="Integers A … B−1; 10**9, 1e9 and 1_000_000 are understood.")
@click.option(
    "--lines", metavar="FILE", type=click.Path(allow_dash=True), help="Lines of a file (- is standard input)."
)
@click.option("--items", metavar="FILE", type=click.Path(allow_dash=True), help="Each line of a file is an item.")
@click.option("--grid", "axes", metavar="NAME=V1,V2", multiple=True, help="An axis of a parameter grid; repeatable.")
@click.option("--piece", default="0", metavar="N", help="Units in one task; 0 (default) lets the grid choose.")
@click.option("--reduce", type=click.Choice(REDUCERS), default="collect", show_default=True)
@click.option("--timeout", default="60", metavar="TIME", show_default=True, help="Of one run: seconds, or 250ms, 5m.")
@click.option("--wait", default="", metavar="TIME", help="Give up waiting after this; the job goes on.")
@click.option("--memory", default="512MiB", metavar="SIZE", show_default=True, help="Of one run.")
@click.option("--cpus", default=1.0, show_default=True, help="Cores one run takes.")
@click.option("--priority", default=0, show_default=True, help="−100 to 100; higher goes first.")
@click.option("--label", "labels", multiple=True, help="Only nodes with this label; repeatable.")
@click.option("--max-errors", default=100, show_default=True, help="Failed runs after which the job stops.")
@click.option(
    "--consensus",
    type=click.Choice(CONSENSUS),
    default="single",
    show_default=True,
    help="How results of different owners' nodes are compared; see below.",
)
@click.option("--overlap", type=int, metavar="N", help="Nodes that are to report each task. [default: 3]")
@click.option("--threshold", type=float, metavar="SHARE", help="Of trust, that an answer needs. [default: 0.6]")
@click.option("--error-bound", metavar="E", help="Chance of a wrong answer accepted. [default: 1e-3]")
@click.option(
    "--collision", default="1e-6", metavar="Q", show_default=True, help="Chance that two wrong answers agree."
)
@click.option(
    "--compare",
    default="exact",
    metavar="HOW",
    show_default=True,
    help="exact, numeric[:RTOL[,ATOL]], interval[:Z], unordered_lines or program:FILE.wasm.",
)
@click.option("--partial", is_flag=True, help="Print the answer without the runs that failed.")
@click.option("--name", default="", help="To find the job again.")
@click.option("--detach", is_flag=True, help="Print the job's id and do not wait.")
@json_option
@hub_options
def command(program: str, args: tuple[str, ...], as_json: bool, **o: Any) -> int:
    """Run PROGRAM over an input on the grid and print the answer. ARGS after -- go to it."""
    split = _split(o)
    wait = quantities.seconds(o["wait"]) if o["wait"] else None
    with grid(o["hub"], o["token"]) as connected:
        job = connected.run(
            _program(program),
            args=args,
            split=split,
            reduce=o["reduce"],
            name=o["name"],
            timeout=o["timeout"],
            memory=o["memory"],
            cpus=o["cpus"],
            priority=o["priority"],
            labels=o["labels"],
            max_errors=o["max_errors"],
            consensus=o["consensus"],
            overlap=o["overlap"],
            threshold=o["threshold"],
            error_bound=number_of(o["error_bound"], "--error-bound") if o["error_bound"] is not None else None,
            collision=number_of(o["collision"], "--collision"),
            compare=comparison_of(o["compare"]),
        )
        if o["detach"]:
            return _detach(job, as_json)
        return _follow(job, wait, as_json, partial=o["partial"])


def _program(text: str) -> str | Path:
    """A file; without one of this name, a program that comes with crowdgrid."""
    return kernels.path(text) if text in kernels.names() and not Path(text).exists() else text


def _split(o: dict[str, Any]) -> Split:
    given = [name for name in ("range_", "lines", "items", "axes") if o[name]]
    if len(given) != 1:
        raise BadInput("A job needs exactly one input.", hint="Give one of --range, --lines, --items or --grid.")
    piece = quantities.integer(o["piece"])
    if o["range_"]:
        return range_of(o["range_"], piece)
    if o["axes"]:
        found: ParameterGrid = axes_of(o["axes"])
        found.piece = piece
        return found
    source = o["lines"] or o["items"]
    lines = Lines(standard_input() if source == "-" else source, piece)
    if o["lines"]:
        return lines
    from crowdgrid.client.splits import Items

    return Items(lines.feed(), piece)


def number_of(text: str, option: str) -> float:
    """A number as people write it. Raises BadInput."""
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{option} {text!r} is no number.", hint="Write it like 0.001 or 1e-6.") from None


def comparison_of(text: str) -> Comparison | Path:
    """What `--compare` says. Raises BadInput."""
    name, _, rest = text.partition(":")
    if name == "program" and rest:
        return Path(rest)
    numbers = [number_of(each, "--compare") for each in rest.split(",")] if rest else []
    ways: dict[str, tuple[Callable[..., Comparison], int]] = {
        "exact": (Exact, 0),
        "numeric": (Numeric, 2),
        "interval": (Interval, 1),
        "unordered_lines": (UnorderedLines, 0),
    }
    made, most = ways.get(name, (Exact, -1))
    if len(numbers) > most:
        raise BadInput(
            f"{text!r} is no way to compare results.",
            hint="Use exact, numeric:1e-6, numeric:1e-6,1e-9, interval, interval:3, unordered_lines or program:compare.wasm.",
        )
    return made(*numbers)


def range_of(text: str, piece: int = 0) -> Range:
    """The range in A:B. Raises BadInput."""
    start, colon, stop = text.partition(":")
    if not colon:
        raise BadInput(f"{text!r} is no range.", hint="Write it like 0:10**9; the end is not part of it.")
    return Range(quantities.integer(start or "0"), quantities.integer(stop), piece)


def _detach(job: Job, as_json: bool) -> int:
    """The input is read to its end first: nobody else could go on with it."""
    job.fed()
    if as_json:
        print_json({"id": job.id, "name": job.name})
    else:
        click.echo(job.id)
        click.echo(f"See it with: crowdgrid jobs show {job.name or job.id}", err=True)
    return endings.OK


def _follow(job: Job, wait: float | None, as_json: bool, *, partial: bool) -> int:
    called = job.name or job.id
    try:
        answer = job.result(wait, partial=partial)
    except KeyboardInterrupt:
        return _interrupted(job, called)
    except JobFailed as error:
        error.hint = f"All of it: crowdgrid jobs logs {called}. The rest: crowdgrid jobs results {called} --partial"
        raise
    print_answer(answer, as_json)
    return endings.OK


def _interrupted(job: Job, called: str) -> int:
    """Ctrl-C leaves the job alone: what costs work is asked for in so many words."""
    if job.being_fed:
        click.echo("\nIts input was not read to the end, so the job is cancelled.", err=True)
        job.cancel("Interrupted while its input was being read.")
        return endings.INTERRUPTED
    click.echo(f"\nThe job goes on. See it with:  crowdgrid jobs show {called}", err=True)
    click.echo(f"Its answer:                    crowdgrid jobs results {called} --wait", err=True)
    click.echo(f"End it with:                   crowdgrid jobs cancel {called}", err=True)
    return endings.INTERRUPTED


def print_answer(answer: Any, as_json: bool) -> None:
    """Print what a job came to: bytes as they are, a list one output after the other."""
    if as_json:
        print_json(sayable(answer))
    elif isinstance(answer, bytes):
        sys.stdout.buffer.write(answer)
    elif isinstance(answer, list):
        for output in answer:
            sys.stdout.buffer.write(output if output.endswith(b"\n") else output + b"\n")
    elif isinstance(answer, dict):
        for key, value in answer.items():
            click.echo(f"{key}\t{value}")
    else:
        click.echo("none" if answer is None else answer)
    sys.stdout.flush()


def sayable(value: Any) -> Any:
    """As JSON can say it: bytes as text, what is no UTF-8 as base64."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            import base64

            return {"base64": base64.b64encode(value).decode()}
    return [sayable(each) for each in value] if isinstance(value, list) else value
