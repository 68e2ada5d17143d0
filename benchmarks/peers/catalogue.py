"""Who is compared, and in what form. What a table says beside the figures is written here."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.processes import ROOT

ENVIRONMENTS = ROOT / ".venv-peers"


@dataclass(frozen=True)
class Kind:
    """One peer.

    Attributes:
        name: of its adapter. title: for people. environment: under `.venv-peers`; "" for plain Python.
        package: what is installed for it; "" for the standard library.
        imports: what a program that uses it says first.
        parts: what can be killed beside the client; its adapter knows the processes.
        form: how it is run here. batches: how its map is made. durable: what of its work outlives a power cut.
        way: how another client finds the results of one that is gone; "" where it cannot.
        ours: whether it is crowdgrid.
        rival: whether the goal "twice the best" is about it.
    """

    name: str
    title: str
    environment: str
    package: str
    imports: str
    parts: tuple[str, ...]
    form: str
    batches: str
    durable: str
    way: str = ""
    ours: bool = False
    rival: bool = False

    @property
    def python(self) -> Path:
        """The Python it runs with."""
        return (ENVIRONMENTS / self.environment if self.environment else ROOT / ".venv") / "bin" / "python"

    @property
    def packages(self) -> Path | None:
        """Its site-packages; None for the standard library."""
        found = sorted((ENVIRONMENTS / self.environment / "lib").glob("python3*/site-packages"))
        return found[0] if self.environment and found else None

    @property
    def version(self) -> str:
        return _version(self.packages, self.package) if self.packages else ""


@cache
def _version(packages: Path, package: str) -> str:
    found = importlib.metadata.distributions(name=package, path=[str(packages)])
    return next((each.version for each in found), "")


KINDS = (
    Kind(
        "crowdgrid_local",
        "crowdgrid, `local()`",
        "crowdgrid",
        "crowdgrid",
        "import crowdgrid as cg; cg.local; cg.function",
        ("the hub", "an agent", "a worker"),
        "`cg.local(agents=2, cpus=1)`: a hub and two agents of one worker, started by the client",
        "`f.map(range(n))`, chunks automatic",
        "every task and result, each committed with `synchronous=FULL` before it is acknowledged",
        ours=True,
    ),
    Kind(
        "crowdgrid_hub",
        "crowdgrid, `connect()`",
        "crowdgrid",
        "crowdgrid",
        "import crowdgrid as cg; cg.connect; cg.function",
        ("the hub", "an agent", "a worker"),
        "`crowdgrid hub` and two `crowdgrid agent run` as processes of their own, reports signed",
        "`f.map(range(n))`, chunks automatic",
        "every task and result, as above",
        "the job's name",
        ours=True,
    ),
    Kind(
        "dask_distributed",
        "Dask distributed",
        "dask",
        "distributed",
        "from distributed import Client, LocalCluster",
        ("the scheduler", "a worker"),
        "`LocalCluster` of two worker processes of one thread; for the kills `dask scheduler` and `dask worker`",
        "`Client.map` over chunks made by hand, results as arrays (a bag, and lists, take several times as long)",
        "nothing",
        "the name of a published dataset",
        rival=True,
    ),
    Kind(
        "ray_tasks",
        "Ray tasks",
        "ray",
        "ray",
        "import ray",
        ("the head's GCS", "the raylet", "a worker"),
        "`ray.init(num_cpus=2)`; for the kills `ray start --head --block`",
        "a task of a whole chunk, made by hand",
        "nothing",
        rival=True,
    ),
    Kind(
        "celery_redis",
        "Celery + Redis",
        "celery",
        "celery",
        "from celery import Celery; Celery('x').task(len)",
        ("the broker (Redis)", "a process of the worker", "the worker"),
        "one worker of two processes, late acknowledgement, JSON; Redis with an append-only file, `appendfsync everysec`",
        "`task.chunks(…)`",
        "tasks and results, but for the last second",
        "the tasks' ids, which the client has to keep itself",
        rival=True,
    ),
    Kind(
        "parsl_htex",
        "Parsl HTEX",
        "parsl",
        "parsl",
        "import parsl; from parsl.executors import HighThroughputExecutor",
        ("the interchange", "the manager of the workers", "a worker"),
        "`HighThroughputExecutor` of two workers, `retries=3`",
        "an app on a whole chunk, made by hand",
        "nothing",
        rival=True,
    ),
    Kind(
        "process_pool",
        "ProcessPoolExecutor",
        "",
        "",
        "from concurrent.futures import ProcessPoolExecutor",
        ("a worker",),
        "two processes, this machine only",
        "`map(…, chunksize=…)`",
        "nothing",
    ),
    Kind(
        "joblib_loky",
        "joblib's loky",
        "joblib",
        "joblib",
        "from joblib import Parallel, delayed; from joblib.externals.loky import get_reusable_executor",
        ("a worker",),
        "two processes, this machine only",
        "`map(…, chunksize=…)`",
        "nothing",
    ),
)
