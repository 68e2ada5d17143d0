"""One secure grid from the machines people already own.

    import crowdgrid as cg

    with cg.local() as grid:                      # or cg.connect("http://hub:7070")
        job = grid.run(cg.kernels.path("primes"), split=cg.Range(0, 10**9), reduce="sum")
        print(job.result(timeout=60))

Names are loaded when they are used, so that `import crowdgrid` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crowdgrid import errors as errors
    from crowdgrid import kernels as kernels
    from crowdgrid.client import aio as aio
    from crowdgrid.client.executor import Executor as Executor
    from crowdgrid.client.functions import Function as Function
    from crowdgrid.client.functions import function as function
    from crowdgrid.client.futures import GridFuture as GridFuture
    from crowdgrid.client.grid import Grid as Grid
    from crowdgrid.client.grid import connect as connect
    from crowdgrid.client.job import Job as Job
    from crowdgrid.client.local import local as local
    from crowdgrid.client.rows import Row as Row
    from crowdgrid.client.schedulers import dask_get as dask_get
    from crowdgrid.client.schedulers import register_joblib as register_joblib
    from crowdgrid.client.splits import Items as Items
    from crowdgrid.client.splits import Lines as Lines
    from crowdgrid.client.splits import ParameterGrid as ParameterGrid
    from crowdgrid.client.splits import Range as Range
    from crowdgrid.core.trust.comparison import Exact as Exact
    from crowdgrid.core.trust.comparison import Interval as Interval
    from crowdgrid.core.trust.comparison import Numeric as Numeric
    from crowdgrid.core.trust.comparison import UnorderedLines as UnorderedLines
    from crowdgrid.errors import CannotTravel as CannotTravel
    from crowdgrid.errors import CrowdgridError as CrowdgridError
    from crowdgrid.errors import JobFailed as JobFailed
    from crowdgrid.errors import RemoteError as RemoteError
    from crowdgrid.errors import TimedOut as TimedOut

    __version__: str

_HOMES = {
    "CannotTravel": "errors",
    "CrowdgridError": "errors",
    "Exact": "core.trust.comparison",
    "Executor": "client.executor",
    "Function": "client.functions",
    "Grid": "client.grid",
    "GridFuture": "client.futures",
    "Interval": "core.trust.comparison",
    "Items": "client.splits",
    "Job": "client.job",
    "JobFailed": "errors",
    "Lines": "client.splits",
    "Numeric": "core.trust.comparison",
    "ParameterGrid": "client.splits",
    "Range": "client.splits",
    "RemoteError": "errors",
    "Row": "client.rows",
    "TimedOut": "errors",
    "UnorderedLines": "core.trust.comparison",
    "connect": "client.grid",
    "dask_get": "client.schedulers",
    "function": "client.functions",
    "local": "client.local",
    "register_joblib": "client.schedulers",
}
_MODULES = {"aio": "client.aio", "errors": "errors", "kernels": "kernels"}

__all__ = [  # noqa: PLE0604 — the table above is the list
    "__version__",
    *sorted(_HOMES),
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("crowdgrid")
    if name in _MODULES:
        return import_module(f"crowdgrid.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"crowdgrid has no {name!r}")
    value = getattr(import_module(f"crowdgrid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
