"""`crowdgrid map`: call a Python function for each line of a file or pipe and print what it returns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from crowdgrid.cli import calls, endings
from crowdgrid.cli.calls import Calls, Form
from crowdgrid.cli.mapping import Mapping
from crowdgrid.cli.outcomes import Writer, standard_output
from crowdgrid.cli.reach import grid, hub_options
from crowdgrid.cli.run import range_of
from crowdgrid.cli.target import load
from crowdgrid.client import quantities
from crowdgrid.client.functions import Function, function
from crowdgrid.client.options import CODECS
from crowdgrid.errors import BadInput, CrowdgridError

if TYPE_CHECKING:
    from crowdgrid.client.grid import Grid

ERRORS_MAX: Final = 100
EPILOG = f"""
\b
Examples:
  crowdgrid map square.py:square --range 0:1000
  crowdgrid map text.py:words --lines corpus.txt --out words.jsonl
  crowdgrid map model.py:fit --in rows.jsonl --kwargs --cpus 2 --timeout 10m
  crowdgrid map prices.py:option --in - --field spot --field strike --set rate=0.02
  tail -f events.jsonl | crowdgrid map clean.py:clean --in - | tee clean.jsonl
  crowdgrid map model.py:fit --in rows.jsonl --name fits --detach
  crowdgrid jobs results fits           the next day

FUNCTION is FILE.py:NAME, or package.module:NAME of a module that can be imported here. Its source travels; what it
prints is in `crowdgrid jobs logs`. Options given to @crowdgrid.function hold unless the command line says otherwise.

\b
The input, one of them; - is a pipe, which may go on for ever:
  --in FILE      JSON lines, each one argument
    --star         each line is a list of arguments: [3, 2]
    --kwargs       each line is named arguments: {{"x": 3, "bias": 1}}
    --field NAME   each line is an object; these fields are the arguments
  --lines FILE   lines of text, each one argument
  --range A:B    the integers from A to B−1

The output is a line of JSON for each call, in the order of the input. Tuples, sets and arrays are lists; dates and
decimals are text; what JSON has no word for is an object that names it: bytes are {{"base64": "…"}}, not-a-number is
{{"float": "nan"}}.

A call that fails is told on standard error and has no line in the output; the others go on. With --keep-errors it has
one in its place, with --errors-to FILE one there: {{"index": …, "error": …, "type": …, "traceback": …}}. The exit code
is 1 when a call failed, unless --partial is given.

Ctrl-C cancels the job; one with a --name goes on if its input was read to the end.

\b
{endings.TABLE}
"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FUNCTION")
@click.option("--in", "in_", metavar="FILE", help="JSON lines (- is standard input).")
@click.option("--lines", metavar="FILE", help="Lines of text (- is standard input).")
@click.option("--range", "range_", metavar="A:B", help="Integers A … B−1; 10**6, 1e6 and 1_000_000 are understood.")
@click.option("--star", is_flag=True, help="Each line is a list: the arguments.")
@click.option("--kwargs", is_flag=True, help="Each line is an object: the named arguments.")
@click.option("--field", "fields", metavar="NAME", multiple=True, help="A field of each line's object; repeatable.")
@click.option("--set", "constants", metavar="NAME=VALUE", multiple=True, help="The same for every call; repeatable.")
@click.option("--out", metavar="FILE", help="Write the results there.  [default: standard output]")
@click.option("--unordered", is_flag=True, help='As they are done: {"index": …, "value": …}.')
@click.option("--keep-errors", is_flag=True, help="Failed calls have a line among the results.")
@click.option("--errors-to", metavar="FILE", help="Failed calls as JSON lines, there.")
@click.option("--max-errors", default=ERRORS_MAX, show_default=True, help="Failed calls that stop it; 0: none do.")
@click.option("--partial", is_flag=True, help="Exit with 0 though calls failed.")
@click.option("--timeout", metavar="TIME", help="Of one call: seconds, or 250ms, 5m.  [default: 60]")
@click.option("--memory", metavar="SIZE", help="Of one call.  [default: 512MiB]")
@click.option("--cpus", type=float, help="Cores one call takes.  [default: 1]")
@click.option("--priority", type=int, help="−100 to 100; higher goes first.  [default: 0]")
@click.option("--label", "labels", metavar="NAME", multiple=True, help="Only nodes with this label; repeatable.")
@click.option("--region", metavar="NAME", help="Only nodes in this region.")
@click.option("--piece", metavar="N", help="Calls in one task.  [default: the grid chooses]")
@click.option("--codec", type=click.Choice(CODECS), help="How the function travels.  [default: auto]")
@click.option("--trust", metavar="NODE", multiple=True, help="With pickles: a node's did:key whose results are opened.")
@click.option("--name", default="", help="To find the job again.")
@click.option("--key", default="", help="The same key and input go on with the job of an earlier try.")
@click.option("--detach", is_flag=True, help="Print the job's id once the input is read, and do not wait.")
@click.option("--local", "is_local", is_flag=True, help="On a grid of this machine, started for this only.")
@hub_options
def command(target: str, **o: Any) -> int:
    """Call a Python FUNCTION on the grid for each line of the input; print what it returns as JSON lines."""
    source = _calls(o)
    chosen = _function(target, o)
    with _grid(o) as connected:
        mapping = Mapping(
            connected,
            chosen,
            source,
            name=o["name"],
            key=o["key"],
            ordered=not o["unordered"],
            detached=o["detach"],
        )
        if o["detach"]:
            return mapping.detach()
        with _files(o) as (out, errors):
            writer = Writer(out, errors=errors, indexed=o["unordered"], keep_errors=o["keep_errors"])
            return mapping.run(writer, partial=o["partial"])


def _grid(o: dict[str, Any]) -> Grid:
    if not o["is_local"]:
        return grid(o["hub"], o["token"], o["trust"])
    if o["hub"] or o["token"] or o["detach"]:
        raise BadInput(
            "--local goes with none of --hub, --token and --detach.", hint="Its grid ends with this command."
        )
    from crowdgrid.client.local import local

    return local()


# --- what is called ----------------------------------------------------------------------------------


def _function(target: str, o: dict[str, Any]) -> Function[..., Any]:
    """The function with its options, those of the command line last."""
    found, _ = load(target)
    made: Function[..., Any] = found if isinstance(found, Function) else function()(found)
    changes = {name: o[name] for name in ("timeout", "memory", "cpus", "priority", "codec") if o[name] is not None}
    if o["labels"] or o["region"]:
        changes["where"] = [
            *(f"label:{name}" for name in o["labels"]),
            *([f"region:{o['region']}"] * bool(o["region"])),
        ]
    if o["piece"] is not None:
        changes["piece"] = quantities.integer(o["piece"])
    return made.options(max_errors=o["max_errors"], **changes)


def _calls(o: dict[str, Any]) -> Calls:
    """The input."""
    given = [name for name in ("in_", "lines", "range_") if o[name]]
    if len(given) != 1:
        raise BadInput(
            "A map needs exactly one input.",
            hint="Give one of --in, --lines or --range; `--in -` reads standard input.",
        )
    forms = [f"--{name}" for name in ("star", "kwargs") if o[name]] + ["--field"] * bool(o["fields"])
    if len(forms) > 1 or (forms and not o["in_"]):
        raise BadInput(
            f"{' and '.join(forms)} cannot be used {'together' if len(forms) > 1 else 'without --in'}.",
            hint="They say how a line of JSON becomes arguments: one of --star, --kwargs and --field.",
        )
    form = Form(o["star"], o["kwargs"], o["fields"], _constants(o["constants"]))
    if o["range_"]:
        return calls.of_range(range_of(o["range_"]), form)
    return calls.of_json(o["in_"], form) if o["in_"] else calls.of_text(o["lines"], form)


def _constants(words: tuple[str, ...]) -> dict[str, Any]:
    """The named arguments in `NAME=VALUE`: JSON, or else text."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise BadInput(f"{word!r} is no argument.", hint="Write each once, like --set bias=3 or --set mode=fast.")
        found[name] = value
        with suppress(ValueError):
            found[name] = json.loads(value)
    return found


# --- where it goes -----------------------------------------------------------------------------------


@contextmanager
def _files(o: dict[str, Any]) -> Iterator[tuple[TextIO, TextIO | None]]:
    """(results, failed calls or None), open while the block runs."""
    if o["errors_to"] and o["keep_errors"]:
        raise BadInput("--errors-to and --keep-errors say different things.", hint="Give one of them.")
    source = o["in_"] or o["lines"]
    for file in (o["out"], o["errors_to"]):
        if file and source and source != "-" and Path(file).exists() and Path(file).samefile(source):
            raise BadInput(f"{file!r} is the input.", hint="Write the results to another file.")
    with _opened(o["out"]) as out, _opened(o["errors_to"]) as errors:
        yield out or standard_output(), errors


@contextmanager
def _opened(path: str | None) -> Iterator[TextIO | None]:
    if not path or path == "-":
        yield None
        return
    try:
        file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 — closed below
    except OSError as error:
        raise BadInput(f"The file {path!r} cannot be written: {(error.strerror or str(error)).lower()}.") from None
    try:
        with file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:  # what is left of it was written when it was closed
        raise CrowdgridError(
            f"The file {path!r} cannot be written: {(error.strerror or str(error)).lower()}."
        ) from None
