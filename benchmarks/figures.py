"""The hub's own counters, as `/metrics` tells them, and what they grew by during a measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LINE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")


def parse(text: str) -> dict[str, float]:
    """Samples of Prometheus' text format, by `name` or `name{labels}` as written; comments are passed over."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            labels = match["labels"]
            found[f"{match['name']}{{{labels}}}" if labels else match["name"]] = float(match["value"])
    return found


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each counter grew by."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie; 0.0 when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
