"""Which machine it was: what bears on a figure, and nothing that names the machine."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.figures import percentile


@dataclass(frozen=True)
class Machine:
    """The machine and the day."""

    date: str
    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    sync_us: float
    load: float

    def told(self) -> str:
        was_busy = f" Something else was running: the load average at the start was {self.load:.1f}."
        busy = was_busy if self.load > 0.5 else ""
        return (
            f"{self.date}, {self.processor}, {self.cores} cores, {self.memory_gb:.0f} GB, {self.system}, Python "
            f"{self.python}. Forcing 4 kB to its disk takes {self.sync_us:,.0f} µs (median).{busy}"
        )


def this_machine(folder: Path) -> Machine:
    """This one. `folder` lies on the disk that is used."""
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=psutil.virtual_memory().total / (1 << 30),
        system=_system(),
        python=platform.python_version(),
        sync_us=_sync_us(folder),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, Linux {platform.release().split('-')[0]}"


def _sync_us(folder: Path) -> float:
    """Median time of an `fdatasync` after 4 kB: the least a durable commit can take."""
    took = []
    with TemporaryDirectory(dir=folder) as place, (Path(place) / "file").open("ab", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    return percentile(took, 0.5)
