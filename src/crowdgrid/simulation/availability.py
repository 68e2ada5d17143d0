"""When a node is on: how long, how long it is off in between, and what it is when the run begins.

At the beginning a node is somewhere within a time on or off, as one would find it on looking at any moment: that time
is chosen in proportion to its length, and what is left of it is uniform.
"""

from __future__ import annotations

from math import exp, gamma
from typing import Final, NamedTuple

from crowdgrid.simulation.scenario import Always, Availability, Churn, Custom, Hours
from crowdgrid.simulation.streams import Stream

HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * HOUR_MS
_READINGS: Final = {"narrow": (2.844, 0.586), "wide": (-0.586, 2.844)}


class Turn(NamedTuple):
    """On or off, for so long (ms; −1 for good)."""

    on: bool
    ms: int


def silent_share(profile: Availability) -> float:
    """The share of departures without a word."""
    return 0.0 if isinstance(profile, Always) else profile.silent


def first(profile: Availability, stream: Stream, now: int) -> Turn:
    """What a node is when it is first looked at. `now`: ms since the run began."""
    if isinstance(profile, Always):
        return Turn(True, -1)
    if isinstance(profile, Hours):
        return _daily(profile, stream, now)
    shape, scale, mu, sigma = _figures(profile)
    on_mean, off_mean = scale * gamma(1 + 1 / shape), exp(mu + sigma * sigma / 2)
    if stream.uniform() * (on_mean + off_mean) < on_mean:
        # Weibull weighted by its length: (x / scale)^shape is a gamma number of shape 1 + 1/shape.
        whole = scale * stream.gamma(1 + 1 / shape) ** (1 / shape)
        return Turn(True, _ms(whole * stream.uniform()))
    whole = stream.lognormal(mu + sigma * sigma, sigma)
    return Turn(False, _ms(whole * stream.uniform()))


def then(profile: Availability, was_on: bool, stream: Stream, now: int) -> Turn:
    """What follows a time on or off."""
    if isinstance(profile, Always):
        return Turn(True, -1)
    if isinstance(profile, Hours):
        return _daily(profile, stream, now)
    shape, scale, mu, sigma = _figures(profile)
    if was_on:
        return Turn(False, _ms(stream.lognormal(mu, sigma)))
    return Turn(True, _ms(stream.weibull(shape, scale)))


def _figures(profile: Churn | Custom) -> tuple[float, float, float, float]:
    if isinstance(profile, Churn):
        return (profile.on_shape, profile.on_scale_h, *_READINGS[profile.reading])
    return profile.on_shape, profile.on_scale_h, profile.off_mu, profile.off_sigma


def _daily(profile: Hours, stream: Stream, now: int) -> Turn:
    """On between two hours of the day; what is left until the next change, a little earlier or later each time."""
    at = now % _DAY_MS
    begin, end = int(profile.begin * HOUR_MS), int(profile.end * HOUR_MS)
    on = begin <= at < end if begin <= end else at >= begin or at < end
    left = ((end if on else begin) - at) % _DAY_MS or _DAY_MS
    jitter = int(stream.between(-profile.jitter_h, profile.jitter_h) * HOUR_MS)
    # A change that came early must not be taken back by the clock: the rest is waited for first.
    return Turn(on, max(left + max(jitter, 0), 1))


def _ms(hours: float) -> int:
    return max(1, min(int(hours * HOUR_MS), 10**12))
