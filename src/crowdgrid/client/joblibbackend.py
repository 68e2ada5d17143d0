"""joblib on a grid: after `register_joblib()`, every `Parallel` and every scikit-learn `n_jobs=-1` runs there.

joblib sends Python objects, so this is for grids of one's own (see `trust`); elsewhere the first batch is refused with
the reason. A batch is one call; batches grow until they take some hundred ms, as joblib does for its own pools.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

from crowdgrid.client import background, current
from crowdgrid.client.calling import Calling
from crowdgrid.client.options import Options
from crowdgrid.errors import BadInput, CrowdgridError, Unavailable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from crowdgrid.client.grid import Grid

NAME: Final = "crowdgrid"
TIMEOUT_SECONDS: Final = 86_400.0  # of one batch: fits may be long, and joblib's users set no limits


class CrowdgridBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """joblib's backend on a grid.

    Args:
        grid: where; None: the one meant when a call begins.
        options: as of `function`.
    """

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(self, *, grid: Grid | None = None, nesting_level: int | None = None, **options: Any) -> None:
        super().__init__(nesting_level=nesting_level)
        self._grid = grid
        self._options = Options(timeout=TIMEOUT_SECONDS, codec="pickle").change(options)
        self._calling: Calling | None = None

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """See joblib."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Calls the grid runs at once, or fewer if fewer are asked for."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        cores = self._where().cores
        return max(1, cores + 1 + (n_jobs if n_jobs is not None else -cores))

    def start_call(self) -> None:
        """See joblib."""
        self._calling = self._open()

    def stop_call(self) -> None:
        """See joblib."""
        self._close("This call of joblib has ended.")

    def submit(self, func: Callable[..., Any], callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """See joblib."""
        if self._calling is None:
            self._calling = self._open()
        future = self._calling.submit(func, (), {}, self._options)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """See joblib."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """What runs is withdrawn, what waits is cancelled."""
        calling, self._calling = self._calling, None
        if calling is not None:
            background.start(calling.abort(Unavailable("joblib aborted its calls.")))
        if ensure_ready:
            self._calling = self._open()

    def terminate(self) -> None:
        """See joblib."""
        self._close("This pool of joblib has ended.")

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """A Parallel within a call runs in the worker it is in."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def _where(self) -> Grid:
        return self._grid or current.grid()

    def _open(self) -> Calling:
        connection = self._where().connection
        if not connection.trust.possible:
            raise BadInput(
                "joblib sends pickled objects, and this grid is not one of your own.",
                hint="Use crowdgrid.local(), the hub `crowdgrid up` runs, or functions with @crowdgrid.function.",
            )
        return Calling(connection)

    def _close(self, why: str) -> None:
        calling, self._calling = self._calling, None
        if calling is not None:
            try:
                background.start(calling.close(Unavailable(why)))
            except CrowdgridError:
                pass


def register(grid: Grid | None, *, make_default: bool, options: dict[str, Any]) -> None:
    """See `schedulers.register_joblib`."""
    Options().change(options)

    def make(**more: Any) -> CrowdgridBackend:
        return CrowdgridBackend(**({"grid": grid} | options | more))

    register_parallel_backend(NAME, make, make_default=make_default)
