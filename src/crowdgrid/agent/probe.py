"""What this machine is and how fast: inventory and benchmarks.

The inventory is read at every start; it takes a few ms. The benchmarks run once in a process of their own
after the first link is up, never in the way of a start, and again when they are older than
`STALE_SECONDS` or anything they depend on has changed (processor, cores, memory, Python, crowdgrid).

What is measured, each for at most `SECONDS_MAX` on one core, with the standard library and code in C:
- `integer`: modular powers of 256-bit integers, per second. CPython's own multiplication and division
  loops, so whole-number arithmetic in registers and first-level cache. Its rate is the node's `speed`.
- `floating_point`: products of a dense 64 × 64 matrix with a vector, in floating-point operations per second
  (LINPACK-like: its inner loop, `math.sumprod` where Python has it). It measures the interpreter's C loop
  and not the processor's peak.
- `memory_bytes_per_second`: copies of a buffer far larger than the caches; reads and writes both count
  (STREAM's "Copy": 2 bytes moved for each byte).
- `sha256_bytes_per_second`: SHA-256 of 1 MiB blocks with OpenSSL.
The round trip to the hub is measured by the agent from its heartbeats.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from crowdgrid.agent.settings import memory_of_machine

FILE_NAME: Final = "benchmarks.json"
STALE_SECONDS: Final = 7 * 86_400
SECONDS_MAX: Final = 0.25
TOGETHER_SECONDS_MAX: Final = 20.0  # for the process that measures; slower is given up


class Benchmarks(msgspec.Struct, frozen=True):
    """What was measured, when (seconds since the epoch), and on what."""

    machine: str
    measured_at: float
    rates: dict[str, float]


# --- inventory -------------------------------------------------------------------------------


def inventory(folder: Path) -> dict[str, Any]:
    """What this machine is, for people and for matching: plain JSON values."""
    disk = os.statvfs(folder)
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": memory_of_machine(),
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "gpus": _gpus(),
        "battery": any(Path("/sys/class/power_supply").glob("BAT*")),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model", "Hardware")):
                return line.partition(":")[2].strip()[:200]
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """PCI ids ("vendor:device") of graphics adapters the kernel has a driver for; empty when it tells of none."""
    found = []
    for card in sorted(Path("/sys/class/drm").glob("card[0-9]")):
        try:
            vendor, device = ((card / "device" / name).read_text().strip() for name in ("vendor", "device"))
        except OSError:
            continue
        found.append(f"{vendor.removeprefix('0x')}:{device.removeprefix('0x')}")
    return found


def machine_of(inventory: dict[str, Any], software: str) -> str:
    """What benchmarks depend on, as one string: another one makes them stale."""
    parts = ("processor", "cores_usable", "memory_bytes", "architecture", "python")
    return "|".join([*(str(inventory.get(part)) for part in parts), software])


# --- keeping ---------------------------------------------------------------------------------


def load(folder: Path, machine: str, wall: float) -> Benchmarks | None:
    """The benchmarks kept in `folder`; None when there are none, or they are stale."""
    try:
        found = msgspec.json.decode((folder / FILE_NAME).read_bytes(), type=Benchmarks)
    except (OSError, msgspec.DecodeError):
        return None
    fresh = abs(wall - found.measured_at) < STALE_SECONDS
    return found if fresh and found.machine == machine else None


async def measure(folder: Path, machine: str) -> Benchmarks | None:
    """Measure in a process of its own and keep what it found; None when that did not work."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crowdgrid.agent.probe",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(TOGETHER_SECONDS_MAX):
            told, _ = await process.communicate()
        rates = msgspec.json.decode(told, type=dict[str, float])
    except (TimeoutError, msgspec.DecodeError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = Benchmarks(machine, time.time(), rates)
    draft = folder / f"{FILE_NAME}.part"
    try:
        draft.write_bytes(msgspec.json.encode(found))
        draft.replace(folder / FILE_NAME)
    except OSError:
        draft.unlink(missing_ok=True)
    return found


# --- measuring (runs in a process of its own) ------------------------------------------------


def rates(seconds: float = SECONDS_MAX) -> dict[str, float]:
    """All benchmarks, each for about `seconds`; what one counts, per second."""
    return {
        "integer": _rate(_integers(), seconds),
        "floating_point": _rate(_floats(), seconds),
        "memory_bytes_per_second": _rate(_copies(), seconds),
        "sha256_bytes_per_second": _rate(_hashes(), seconds),
    }


def _rate(step: Callable[[], int], seconds: float) -> float:
    """How much `step` gets done per second of CPU: others that run at the same time count little."""
    step()
    began, end, done = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        done += step()
    return round(done / max(time.process_time() - began, 1e-9), 1)


def _integers() -> Callable[[], int]:
    modulus, base = (1 << 256) - 189, 0xC0FFEE**10

    def step() -> int:
        for power in range(3, 23):
            pow(base, modulus - power, modulus)
        return 20

    return step


def _floats() -> Callable[[], int]:
    size = 64
    rows = [[1.0 / (i + j + 1) for j in range(size)] for i in range(size)]
    vector = [1.0] * size
    if sys.version_info >= (3, 12):
        from math import sumprod as dot
    else:
        from operator import mul

        def dot(p: list[float], q: list[float]) -> float:
            return float(sum(map(mul, p, q)))

    def step() -> int:
        for row in rows:
            dot(row, vector)
        return 2 * size * size

    return step


def _copies() -> Callable[[], int]:
    size = min(64 << 20, memory_of_machine() // 16)
    source, target = bytearray(os.urandom(4096) * (size // 4096)), bytearray(size)
    view = memoryview(target)[: len(source)]

    def step() -> int:
        view[:] = source
        return 2 * len(source)

    return step


def _hashes() -> Callable[[], int]:
    block = bytes(1 << 20)

    def step() -> int:
        hashlib.sha256(block).digest()
        return len(block)

    return step


if __name__ == "__main__":
    sys.stdout.write(json.dumps(rates()))
