"""What this machine can tell about itself now, for `consent`. Best effort: None where it cannot tell.

Everything here only reads. Facts are gathered in a thread, a few times a minute: some of them are files of
drivers that answer slowly.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import psutil

from crowdgrid.agent.consent import Facts

T = TypeVar("T")

_PROCESSOR_SENSORS: Final = ("coretemp", "k10temp", "cpu_thermal", "zenpower", "acpitz")
_DISPLAYS: Final = ("tmp/.X11-unix/X*", "run/user/*/wayland-*")
_METERED_DEVICES: Final = ("wwan", "ppp", "usb")  # names of mobile and tethered interfaces on Linux


class FactReader:
    """Reads facts; remembers counters between two readings.

    Args:
        folder: whose disk counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: tuple[float, float] | None = None  # (busy CPU seconds of the machine, ours)
        self._total = 0.0

    def read(self) -> Facts:
        """The facts now."""
        local = time.localtime()
        on_mains, battery = _told(_power) or (None, None)
        return Facts(
            wall=time.time(),
            minute=local.tm_hour * 60 + local.tm_min,
            idle_seconds=_told(_idle_seconds),
            others_cpu=_told(self._others_cpu),
            on_mains=on_mains,
            battery=battery,
            metered=_told(_metered),
            memory_free=_told(_memory_free),
            disk_free=_told(lambda: shutil.disk_usage(self._folder).free),
            temperature=_told(_temperature),
        )

    def _others_cpu(self) -> float | None:
        """Share of all cores other programs used since the last reading; None at the first."""
        times = psutil.cpu_times()
        idle = float(times.idle) + getattr(times, "iowait", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user, too
        total = float(sum(times)) - guests
        busy, ours = total - idle, _our_cpu_seconds()
        before, self._before = self._before, (busy, ours)
        span, self._total = total - self._total, total
        if before is None or span <= 0:
            return None
        others = float(busy - before[0] - max(0.0, ours - before[1]))
        return min(1.0, max(0.0, others / span))


def _told(fact: Callable[[], T]) -> T | None:
    """A fact, None when this machine has no way to tell it."""
    try:
        return fact()
    except (AttributeError, NotImplementedError, OSError, ValueError, psutil.Error):
        return None


def _our_cpu_seconds() -> float:
    """CPU seconds of this process and its living children."""
    me = psutil.Process()
    used = 0.0
    for process in [me, *me.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def _idle_seconds() -> float | None:
    """Since anybody last typed at a terminal of this machine; since it was started when there is none.

    None in a graphical session: how long that is idle only its display server knows.
    """
    if any(True for pattern in _DISPLAYS for _ in Path("/").glob(pattern)):
        return None
    last = float(psutil.boot_time())
    with contextlib.suppress(OSError):
        for entry in os.scandir("/dev/pts"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    last = max(last, entry.stat().st_atime)
    return max(0.0, time.time() - last)


def _power() -> tuple[bool | None, float | None]:
    """(on mains, battery percent). A machine without a battery is on mains."""
    battery = psutil.sensors_battery()
    if battery is None:
        return True, None
    return battery.power_plugged, battery.percent


def _metered() -> bool | None:
    """Whether the default route goes over a mobile or tethered interface; None when there is no route to see.

    A metered Wi-Fi looks like any other here: the owner has to say so.
    """
    rows = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    defaults = [row.split()[0] for row in rows if row.split()[1:2] == ["00000000"]]
    if not defaults:
        return None
    return any(device.startswith(_METERED_DEVICES) for device in defaults)


def _memory_free() -> float | None:
    memory = psutil.virtual_memory()
    return memory.available / memory.total if memory.total else None


def _temperature() -> float | None:
    sensors = psutil.sensors_temperatures()
    found = [one.current for name in _PROCESSOR_SENSORS for one in sensors.get(name, ()) if one.current]
    return max(found) if found else None
