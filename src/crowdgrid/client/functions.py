"""`@function`: a plain function that also runs on a grid.

The function itself stays as it is: calling it runs it here. What travels is its source with what it refers to, taken
when it is first sent and again when something it refers to may have changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from crowdgrid.client import current
from crowdgrid.client.futures import GridFuture
from crowdgrid.client.options import Options
from crowdgrid.errors import BadInput

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection, Grid
    from crowdgrid.client.job import Job
    from crowdgrid.client.mapping import Mapped
    from crowdgrid.client.progress import Wanted

P = ParamSpec("P")
R = TypeVar("R")


class Function(Generic[P, R]):
    """A function that can be run here and on a grid. Made by `function`.

    Args:
        fn: the plain function. options: how its calls are run.
        grid: where; None: the grid opened last, see `current.grid`.
    """

    _crowdgrid_function = True

    def __init__(self, fn: Callable[P, R], options: Options, grid: Grid | None = None) -> None:
        self.__wrapped__ = fn
        self._options = options
        self._grid = grid
        functools.update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<crowdgrid function {getattr(self.__wrapped__, '__name__', self.__wrapped__)!s}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from crowdgrid.client import notebook

        return notebook.function(self.__wrapped__, self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (self.__wrapped__,)  # elsewhere it is the plain function

    def options(self, *, grid: Grid | None = None, **changes: Any) -> Function[P, R]:
        """The same function, run with other options (see `function`) or on another grid. Raises BadInput."""
        return Function(self.__wrapped__, self._options.change(changes), grid or self._grid)

    # --- one call --------------------------------------------------------------------------------

    def submit(self, *args: Any, **kwargs: Any) -> GridFuture[R]:
        """Call it on the grid; returns at once.

        Arguments may be futures: the call is made when they are done, with their results.

        Raises:
            CannotTravel: the function, or an argument, cannot be sent. (With futures as arguments the future raises it.)
        """
        return self._connection.calling.submit(self.__wrapped__, args, kwargs, self._options)

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it on the grid and wait. Raises what it raises, and as `submit`."""
        future = self.submit(*args, **kwargs)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    # --- many calls ------------------------------------------------------------------------------

    def map(
        self,
        *iterables: Iterable[Any],
        ordered: bool = True,
        return_exceptions: bool = False,
        progress: Wanted = None,
    ) -> Mapped[R]:
        """Call it for each element (of each of `iterables` in step); the results as they come.

        One durable job. Input is read while results are taken, never far ahead of them; the grid chooses how many
        calls go together. Stop iterating, or `close()` it, and what is left is cancelled.

        Args:
            ordered: in the order of the input; False: as they are done.
            return_exceptions: failed calls give their exception; otherwise the first one ends the iteration.
            progress: True or False; a function of the counters; a tqdm bar or class; None: a bar where a person looks.

        Raises:
            CannotTravel: the function, or an element, cannot be sent.
        """
        return self._mapped(_calls_of(iterables), ordered, return_exceptions, progress)

    def starmap(
        self,
        calls: Iterable[Iterable[Any]],
        *,
        ordered: bool = True,
        return_exceptions: bool = False,
        progress: Wanted = None,
    ) -> Mapped[R]:
        """As `map`, each element being a call's arguments."""
        return self._mapped(map(tuple, calls), ordered, return_exceptions, progress)

    def spawn_map(self, *iterables: Iterable[Any], name: str = "", key: str = "", star: bool = False) -> Job:
        """Call it for each element as a durable job that goes on without you; returns at once.

        The input is read in the background: `job.fed()` waits until it is, and so does the end of this program.
        From then on nobody here is needed; `grid.job(name)` finds it again, from anywhere.

        Args:
            name: to find it again; unique among your jobs.
            key: makes asking twice harmless: the same key and input go on with the same job.
            star: each element is a call's arguments.

        Raises:
            CannotTravel: the function cannot be sent. Conflict: the name is taken.
        """
        calls = map(tuple, iterables[0]) if star else _calls_of(iterables)
        return self._connection.calling.spawn_map(self.__wrapped__, calls, self._options, name=name, key=key)

    def _mapped(
        self, calls: Iterable[tuple[Any, ...]], ordered: bool, return_exceptions: bool, progress: Wanted
    ) -> Mapped[R]:
        return self._connection.calling.map(
            self.__wrapped__,
            calls,
            self._options,
            ordered=ordered,
            return_exceptions=return_exceptions,
            progress=progress,
        )

    @property
    def _connection(self) -> Connection:
        return (self._grid or current.grid()).connection


@overload
def function(fn: Callable[P, R], /) -> Function[P, R]: ...
@overload
def function(**options: Any) -> Callable[[Callable[P, R]], Function[P, R]]: ...
def function(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function one that can also run on a grid.

        @crowdgrid.function(cpus=1, memory="512MB", timeout=60)
        def square(x, bias=0):
            return x * x + bias

        square(3)                    # here
        square.remote(3, bias=1)     # on the grid
        list(square.map(range(10)))

    Args:
        fn: the function, when it is used without options.
        options: see `Options`: cpus, memory, output, timeout, where, replicas, priority, codec, target, piece,
            max_errors; and `grid`.

    Raises:
        BadInput: an option there is not, or a value that cannot be used.
    """
    grid = options.pop("grid", None)
    chosen = Options().change(options)

    def make(fn: Callable[..., Any]) -> Function[Any, Any]:
        if isinstance(fn, Function):
            return fn.options(grid=grid, **options)
        if not callable(fn):
            raise BadInput(f"A {type(fn).__name__} is no function.", hint="Write @function above a def.")
        return Function(fn, chosen, grid)

    return make if fn is None else make(fn)


def _plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


def _calls_of(iterables: tuple[Iterable[Any], ...]) -> Iterable[tuple[Any, ...]]:
    if not iterables:
        raise BadInput("map needs something to iterate over.", hint="For example square.map(range(10)).")
    return InStep(iterables)


class InStep:
    """As `zip`, and it knows how many there will be, if that is known: a progress bar can tell how much is left."""

    def __init__(self, iterables: tuple[Iterable[Any], ...]) -> None:
        self._iterables = iterables

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self._iterables)

    def __length_hint__(self) -> Any:  # an int, or NotImplemented
        try:
            found = min(length_hint(iterable, -1) for iterable in self._iterables)
        except Exception:  # noqa: BLE001 — a length of somebody else's, which may be too large to be said
            return NotImplemented
        return found if found >= 0 else NotImplemented
