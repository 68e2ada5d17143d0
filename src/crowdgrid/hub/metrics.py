"""Figures for Prometheus: plain integers while the hub works, the text format only when somebody asks.

Nothing here is labelled by job, node or person: the number of series does not grow with the grid, and whoever reads
figures learns nothing about anybody's work. Counters come from counters; nothing counts rows.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crowdgrid.core.effects import Acknowledge, Effect, Live, Settled, TaskChanged
from crowdgrid.core.model import Outcome, TaskState

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from crowdgrid.hub.keeper import Keeper
    from crowdgrid.hub.presence import Presence

LAG_SECONDS: Final = 0.5  # between two looks at how late the event loop is
SECONDS_BOUNDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
COMMANDS_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


class Histogram:
    """Counts by upper bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts as Prometheus wants them."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts))))


class LinkFigures(msgspec.Struct):
    """What went over links of one kind; the links raise these themselves."""

    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rejected: int = 0  # frames that could not be understood
    cut_off: int = 0  # links closed because they did not read


class Metrics:
    """See the module.

    Args:
        nodes: what the node links count of themselves. clients: likewise.
    """

    def __init__(self, keeper: Keeper, presence: Presence, nodes: LinkFigures, clients: LinkFigures) -> None:
        self._keeper = keeper
        self._presence = presence
        self._nodes = nodes
        self._clients = clients
        self._settled = dict.fromkeys(Outcome, 0)
        self._item_errors = 0
        self._lost = self._abandoned = 0
        self._verdicts: dict[str, int] = {}
        self._commit_seconds = Histogram(SECONDS_BOUNDS)
        self._batch_commands = Histogram(COMMANDS_BOUNDS)
        self._lag_seconds = Histogram(SECONDS_BOUNDS)
        keeper.on_commit.append(self.committed)

    # --- counting -----------------------------------------------------------------------------

    def saw(self, batch: Sequence[Effect]) -> None:
        """Count one committed batch (a listener on the keeper)."""
        for effect in batch:
            if isinstance(effect, Settled):
                self._settled[effect.task.outcome] += 1
                self._item_errors += effect.task.errors
            elif isinstance(effect, Acknowledge):
                for _, verdict in effect.verdicts:
                    self._verdicts[verdict.value] = self._verdicts.get(verdict.value, 0) + 1
            elif isinstance(effect, TaskChanged):
                self._abandoned += effect.task.state is TaskState.ABANDONED
                self._lost += effect.task.state is TaskState.IN_QUEUE

    def committed(self, seconds: float, commands: int) -> None:
        """One commit took so long and held so many commands."""
        self._commit_seconds.observe(seconds)
        self._batch_commands.observe(commands)

    async def watch_lag(self) -> None:
        """Measure, for ever, how late the event loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag_seconds.observe(max(0.0, loop.time() - due))

    # --- telling ------------------------------------------------------------------------------

    def text(self, live: Live | None) -> bytes:
        """Everything in Prometheus' text format. `live` None: the engine could not be asked."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(list(self._families(live))))
        return generate_latest(registry)

    def _families(self, live: Live | None) -> Iterator[Metric]:
        yield from self._of_tasks()
        yield from self._of_keeper()
        yield from self._of_links()
        yield _gauge("nodes_online", "Nodes whose link is open.", len(self._presence))
        yield _gauge("healthy", "1 while the hub can commit.", int(not self._keeper.problem))
        if live is not None:
            yield _gauge("jobs_open", "Jobs that have not ended.", live.open_jobs)
            yield _gauge("tasks_open", "Tasks cut and not settled.", live.open_tasks)
            yield _gauge("leases", "Assignments leased now.", live.leased)
            yield _gauge(
                "slots_offered", "Slots nodes offer and that are not filled.", sum(n.slots for n in live.nodes)
            )

    def _of_tasks(self) -> Iterator[Metric]:
        settled = {outcome.name.lower(): count for outcome, count in self._settled.items()}
        yield _counter("tasks_settled", "Tasks that got their answer, by its outcome.", settled, "outcome")
        yield _counter("run_errors", "Failed runs among the answers.", self._item_errors)
        yield _counter("tasks_requeued", "Tasks that went back to the queue: lost, declined or retried.", self._lost)
        yield _counter("tasks_abandoned", "Tasks given up.", self._abandoned)
        yield _counter("results", "Reported results, by verdict.", self._verdicts, "verdict")

    def _of_keeper(self) -> Iterator[Metric]:
        figures = self._keeper.figures
        yield _counter("commands", "Commands the engine handled.", figures.commands)
        yield _counter("records", "Records written.", figures.records)
        yield _counter("rebuilds", "Times the engine was rebuilt from the store.", figures.rebuilds)
        yield _counter("engine_seconds", "Time spent in the engine.", figures.engine_seconds)
        yield _histogram("commit_seconds", "Time of one commit.", self._commit_seconds)
        yield _histogram("batch_commands", "Commands in one commit.", self._batch_commands)
        yield _histogram("loop_lag_seconds", "How late the event loop is.", self._lag_seconds)

    def _of_links(self) -> Iterator[Metric]:
        for field, text in (
            ("frames_in", "Frames received"),
            ("frames_out", "Frames sent"),
            ("bytes_in", "Bytes received in frames"),
            ("bytes_out", "Bytes sent in frames"),
        ):
            told = {"node": getattr(self._nodes, field), "client": getattr(self._clients, field)}
            yield _counter(f"link_{field}", f"{text}, by kind of link.", told, "link")
        rejected = {"node": self._nodes.rejected, "client": self._clients.rejected}
        yield _counter("link_rejected", "Frames and greetings that were refused.", rejected, "link")
        cut_off = {"node": self._nodes.cut_off, "client": self._clients.cut_off}
        yield _counter("links_cut_off", "Links cut off because they did not read.", cut_off, "link")


class _Once:
    """A collector of what was gathered for one answer."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _gauge(name: str, text: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"crowdgrid_{name}", text, value=value)


def _counter(name: str, text: str, value: float | dict[str, int], label: str = "") -> Metric:
    from prometheus_client.core import CounterMetricFamily

    if not isinstance(value, dict):
        return CounterMetricFamily(f"crowdgrid_{name}", text, value=value)
    family = CounterMetricFamily(f"crowdgrid_{name}", text, labels=[label])
    for key, count in value.items():
        family.add_metric([key], count)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    buckets: Any = histogram.buckets
    return HistogramMetricFamily(f"crowdgrid_{name}", text, buckets=buckets, sum_value=histogram.sum)
