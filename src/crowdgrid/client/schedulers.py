"""joblib and Dask on a grid, for those who have them: neither comes with crowdgrid.

The names can be imported without the libraries, so `from crowdgrid import *` and a look at what there is always work;
calling one loads its library, or says that it is missing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from crowdgrid.errors import BadInput

if TYPE_CHECKING:
    from crowdgrid.client.grid import Grid


@contextmanager
def _needing(library: str) -> Iterator[None]:
    """Turn a missing library into a sentence."""
    try:
        import_module(library)
        yield
    except ModuleNotFoundError as problem:
        missing = problem.name or ""
        if missing == library:
            raise BadInput(f"{library} is not installed.", hint=f"Install it: pip install {library}.") from None
        if missing.startswith(f"{library}."):
            raise BadInput(
                f"The installed {library} is too old: it has no {missing}.",
                hint=f"Install a newer one: pip install -U {library}.",
            ) from None
        raise


def register_joblib(grid: Grid | None = None, *, make_default: bool = True, **options: Any) -> None:
    """Make joblib run on a grid: `Parallel(n_jobs=-1)` and whatever is built on it, scikit-learn for one.

    Args:
        grid: where; None: the grid opened last at the time of the call.
        make_default: also without `parallel_config(backend="crowdgrid")`.
        options: as of `function`, for example memory="2GB".

    Raises:
        BadInput: an option there is not, or joblib is not installed.
    """
    with _needing("joblib"):
        from crowdgrid.client import joblibbackend
    joblibbackend.register(grid, make_default=make_default, options=options)


def dask_get(dsk: Mapping[Hashable, Any], keys: Any, **options: Any) -> Any:
    """Compute `keys` of a Dask graph on the grid opened last: `dask.config.set(scheduler=crowdgrid.dask_get)`.

    Args:
        dsk: the graph. keys: one key, or nested lists of them; the results have the same form.
        options: those of `function` (timeout, memory, …) and `grid`; others that Dask passes on are ignored.

    Raises:
        BadInput: the grid is not one of your own, or Dask is not installed.
        Exception: what the first failing task raised.
    """
    with _needing("dask"):
        from crowdgrid.client import daskgraph
    return daskgraph.dask_get(dsk, keys, **options)
