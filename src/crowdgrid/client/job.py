"""A job as the program that submitted it, or finds it again, has it in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from crowdgrid.client import background
from crowdgrid.client.jobcore import JobCore
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.rows import Row
from crowdgrid.core.model import Counts

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection
    from crowdgrid.client.progress import Wanted


class Job:
    """One job. Made by `Grid.run` and `Grid.job`; it goes on without you and can be found again by name or id.

    Attributes:
        id: its public id.
        core: what this face and the asynchronous one stand on. link: the job on the link, for what they do not offer.
            Both to be used on crowdgrid's loop only.
    """

    def __init__(self, connection: Connection, link: JobLink, feed: Future[None] | None = None) -> None:
        self._connection = connection
        self._feed = feed
        self.core = JobCore(connection, link, feed)
        self.link = link
        self.id = link.id

    def __repr__(self) -> str:
        counts = self.counts
        return f"<Job {self.name or self.id} {self.state}: {counts.units_done:,} of {counts.units:,} units>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from crowdgrid.client import notebook

        return notebook.job(self._connection, self.link)

    # --- what is known of it ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name, "" when it was given none."""
        return self.link.info.name

    @property
    def state(self) -> str:
        """validating, open, sealed, completed, final, or invalid, failed, cancelled; or paused."""
        info = self.link.info
        return "paused" if info.paused and not self.link.ended else info.state

    @property
    def reason(self) -> str:
        """Why it is invalid, failed or cancelled."""
        return self.link.info.reason

    @property
    def revision(self) -> int:
        """How often an answer of it was taken back after it had settled, to be given anew: when it rises, what was read
        of it before is out of date, and `result` waits for the answers that stand now."""
        return self.link.info.revision

    @property
    def counts(self) -> Counts:
        """Its counters as the hub told them last (at most half a second ago)."""
        return self.link.info.counts

    @property
    def eta(self) -> float | None:
        """Seconds until it is done at its present speed; None while that cannot be told: its input is not whole, or
        nothing of it was done lately. 0 once it has ended."""
        return 0.0 if self.link.ended else self.link.pace.seconds_left(self.link.info)

    def why(self) -> dict[str, Any]:
        """Why it is not further: `summary` and `reasons`."""
        found: dict[str, Any] = self._rest("GET", f"/v1/why/{self.id}")
        return found

    def errors(self, limit: int = 100) -> list[dict[str, Any]]:
        """The first runs that failed: `unit` (index in the input, −1 for a whole task), `error`, `node`; for functions
        also `type`, `message` and `traceback`."""
        found: dict[str, Any] = self._rest("GET", f"/v1/jobs/{self.id}/errors", limit=limit)
        return list(found["errors"])

    def logs(self, limit: int = 100) -> list[dict[str, Any]]:
        """The end of what its runs wrote, by task: `text`, `start` and `stop` (units), `node`, `error`."""
        found: dict[str, Any] = self._rest("GET", f"/v1/jobs/{self.id}/logs", limit=limit)
        return list(found["logs"])

    def tasks(self, state: str = "") -> list[dict[str, Any]]:
        """Its tasks, or those in one state, as the REST interface shows them: all pages of it."""
        found: list[dict[str, Any]] = []
        after: int | None = -1
        while after is not None:
            page = self._rest("GET", f"/v1/jobs/{self.id}/tasks", state=state or None, after=after, limit=1000)
            found += page["tasks"]
            after = page.get("next")
        return found

    def _rest(self, method: str, path: str, **query: Any) -> Any:
        rest = self._connection.rest
        return background.run(rest.get(path, **query) if method == "GET" else rest.post(path))

    # --- steering --------------------------------------------------------------------------------

    def cancel(self, reason: str = "") -> None:
        """End it for good; what runs is withdrawn."""
        background.run(self._connection.patiently(self.link.cancel(reason)))

    def pause(self) -> None:
        """Start nothing more of it; what runs goes on."""
        self._rest("POST", f"/v1/jobs/{self.id}/pause")

    def resume(self) -> None:
        """Undo `pause`."""
        self._rest("POST", f"/v1/jobs/{self.id}/resume")

    def retry(self) -> None:
        """Run its failed and abandoned tasks again, also when it has ended. Raises Conflict when it was cancelled."""
        self._rest("POST", f"/v1/jobs/{self.id}/retry")

    def retry_failed(self) -> None:
        """As `retry`."""
        self.retry()

    @property
    def being_fed(self) -> bool:
        """Whether its input is still being read, here."""
        return self._feed is not None and not self._feed.done()

    def fed(self) -> None:
        """Wait until its input is read to the end and the job goes on by itself. Raises what the input raised."""
        if self._feed is not None:
            background.run(self._until_fed(self._feed))

    async def _until_fed(self, feed: Future[None]) -> None:
        await asyncio.wrap_future(feed)

    # --- waiting ---------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None, *, progress: Wanted = None) -> str:
        """Wait until it has ended; returns its state.

        Args:
            timeout: seconds, None for ever.
            progress: True or False; a function of the counters, called on crowdgrid's thread; a tqdm bar or class;
                None: a bar where a person looks.

        Raises:
            TimedOut: it goes on, and so can you.
        """
        from crowdgrid.client.progress import shown

        with shown(self, progress) as watch:
            return background.run(self.core.ended(timeout, watch))

    def result(self, timeout: float | None = None, *, partial: bool = False, progress: Wanted = None) -> Any:
        """Wait for the answer: what the reducer makes of all outputs; for a map of a function, the list of its values.

        `collect` gives a list of bytes in the order of the input, `concatenate` bytes, `first` bytes or None, `sum`,
        `minimum`, `maximum` and `count` numbers, `merge-counters` a dictionary.

        Args:
            timeout: seconds, None for ever. progress: as for `wait`.
            partial: leave out what failed instead of raising (`errors()` tells what that was).

        Raises:
            JobFailed: it ended without an answer, or some runs failed and `partial` is not set; for a map the cause is
                what the first failed call raised.
            TimedOut: it goes on, and so can you.
        """
        from crowdgrid.client.progress import shown

        with shown(self, progress) as watch:
            return background.run(self.core.answer(timeout, partial=partial, watch=watch))

    def results(self, *, ordered: bool = True, timeout: float | None = None) -> Iterator[Row]:
        """Every run's output as it settles, in the order of the input or as they are completed.

        Failed runs come too, with `ok` False. Stop iterating when you have enough.

        Args:
            timeout: seconds to wait for the next one, None for ever.

        Raises:
            JobFailed: it ended without all its results (after those it has).
            TimedOut: nothing came within `timeout`.
        """
        stream = background.run(self.core.stream(ordered=ordered))
        try:
            while rows := background.run(self.core.timed(stream.take(), timeout, "No further result came")):
                yield from rows
        finally:
            background.loop().call_soon_threadsafe(stream.close)
        background.run(self.core.check_ended())

    def as_completed(
        self,
        *,
        with_inputs: bool = False,
        ordered: bool = False,
        return_exceptions: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """What each run came to, as it is done: values of a map of a function, bytes of other programs.

        Args:
            with_inputs: pairs of (input, value).
            ordered: in the order of the input.
            return_exceptions: failed runs give their exception; otherwise the first one is raised.
            timeout: seconds to wait for the next one, None for ever.

        Raises:
            JobFailed: it ended without all its results (after those it has).
            TimedOut: nothing came within `timeout`.
            NotTrusted: its results are pickles of machines that are not trusted here.
        """
        harvest = background.run(self.core.harvest(ordered=ordered, with_inputs=with_inputs))
        try:
            while found := background.run(harvest.take(timeout)):
                yield from harvest.each(found, return_exceptions=return_exceptions)
        finally:
            background.loop().call_soon_threadsafe(harvest.close)
        background.run(self.core.check_ended())
