"""How long to wait before trying to reach the hub again: full jitter, directed by the hub.

A link that was lost is mostly a hub being restarted, so for a while the waits stay short; a hub that stays
away is tried ever more rarely. Full jitter (each wait is uniform between 0 and the bound) spreads a crowd
best: "Exponential Backoff And Jitter", M. Brooker, 2015.
"""

from __future__ import annotations

import random
from typing import Final

BASE_SECONDS: Final = 0.25
CAP_SECONDS: Final = 30.0
SOON_CAP_SECONDS: Final = 1.5  # while the loss is fresh
SOON_SECONDS: Final = 20.0  # how long it is
STEADY_SECONDS: Final = 5.0  # a link that lasted so long was a good one


class Backoff:
    """The waits of one agent. `rng` is its source of chance."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._tries = 0
        self._waited = SOON_SECONDS  # a first start is no lost link

    def lost(self, lasted: float) -> None:
        """A link that worked for `lasted` seconds was lost: begin anew, with short waits.

        One that lasted no time does not start again from the shortest: the hub may be turning us away.
        """
        self._tries = 0 if lasted >= STEADY_SECONDS else min(self._tries, 3)
        self._waited = 0.0

    def next(self, retry_after: float = 0.0) -> float:
        """Seconds to wait now; at least what the hub asked for, spread a little beyond it."""
        bound = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(self._tries, 16))
        if self._waited < SOON_SECONDS:
            bound = min(bound, SOON_CAP_SECONDS)
        self._tries += 1
        wait = retry_after + self._rng.uniform(0, max(bound, retry_after / 4))
        self._waited += wait
        return wait
