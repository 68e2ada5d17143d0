"""Keeps the agent to what its owner allows: reads the facts, decides, and tells the agent.

The owner's limits are a JSON file in the data folder. It is replaced whole when they change; one that cannot
be read stops the agent at its start, because a guess at somebody's consent is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from crowdgrid.agent import consent
from crowdgrid.agent.agent import Permit
from crowdgrid.errors import BadInput, Unavailable

FILE_NAME: Final = "limits.json"
EVERY_SECONDS: Final = 2.0


class Facts(Protocol):
    """Where facts come from: `facts.FactReader`."""

    def read(self) -> consent.Facts: ...


class Duty:
    """The owner's limits and what they come to now.

    Args:
        folder: where the limits are kept.
        no_limits: ignore idleness, power and network, see `consent.unbound`.
        allow: is told every decision.
        lend: is told CPU share (0 to 1) and memory (bytes, 0 as started) when they change.
        clock: monotonic seconds.

    Raises:
        BadInput: the limits cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        no_limits: bool,
        allow: Callable[[Permit], None],
        lend: Callable[[float, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / FILE_NAME
        self._no_limits, self._allow, self._lend, self._clock = no_limits, allow, lend, clock
        self.limits = _load(self._path)
        self._state = consent.State()
        self.decision: consent.Decision | None = None
        self._wake = asyncio.Event()

    async def watch(self, reader: Facts) -> None:
        """Decide again and again until cancelled."""
        while True:
            self.judge(await asyncio.to_thread(reader.read))
            self._wake.clear()
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def judge(self, facts: consent.Facts) -> None:
        """Decide from these facts and tell the agent."""
        limits = consent.unbound(self.limits) if self._no_limits else self.limits
        self.decision = consent.decide(facts, limits, self._state, self._clock())
        self._state = self.decision.state
        self._allow(Permit(self.decision.action, self.decision.why))

    def change(self, **wanted: Any) -> consent.OwnerLimits:
        """Change some limits, keep them, and act on them. Raises BadInput when they are none."""
        fields = msgspec.to_builtins(self.limits) | wanted
        try:
            limits = msgspec.convert(fields, consent.OwnerLimits)
        except msgspec.ValidationError as error:
            raise BadInput(
                f"These are no limits: {error}.", hint="`crowdgrid agent limits` shows those there are."
            ) from None
        _save(self._path, limits)
        self.limits = limits
        self._lend(limits.cpu_share, limits.memory_bytes)
        self._wake.set()
        return limits


def _load(path: Path) -> consent.OwnerLimits:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return consent.OwnerLimits()
    except OSError as error:
        raise Unavailable(f"The owner's limits in {path} cannot be read: {error.strerror}.") from None
    try:
        return msgspec.json.decode(data, type=consent.OwnerLimits)
    except msgspec.DecodeError as error:
        raise BadInput(
            f"The owner's limits in {path} cannot be read: {error}.", hint="Mend the file, or delete it to have none."
        ) from None


def _save(path: Path, limits: consent.OwnerLimits) -> None:
    draft = path.with_suffix(".part")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(limits)))
        draft.replace(path)
    except OSError as error:
        raise Unavailable(f"The limits cannot be kept in {path}: {error.strerror}.") from None
