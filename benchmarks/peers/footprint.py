"""What a peer costs before it does anything: the time to import it, and what it puts on the disk."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.catalogue import Kind
from benchmarks.peers.talk import PeerFailed

TIMES = 5
TOOLS = {"pip", "setuptools", "wheel", "_distutils_hack", "distutils-precedence.pth", "pkg_resources"}
TIMED = "import time; began = time.perf_counter(); {imports}; print(time.perf_counter() - began)"


@dataclass(frozen=True)
class Footprint:
    """`seconds` to import (median); `sizes`: bytes by top-level package, None for the standard library."""

    seconds: float
    sizes: Counter[str] | None

    @property
    def size(self) -> int:
        return self.sizes.total() if self.sizes is not None else 0


def measure(kind: Kind) -> Footprint:
    """Raises PeerFailed."""
    sizes = installed(kind.packages) if kind.packages is not None else None
    return Footprint(import_seconds(kind, kind.imports), sizes)


def import_seconds(kind: Kind, imports: str) -> float:
    """Median time of some imports, each in a new Python that has cached bytecode. Raises PeerFailed."""
    return statistics.median(_import_once(kind, imports) for _ in range(TIMES))


def _import_once(kind: Kind, imports: str) -> float:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [str(kind.python), "-I", "-c", TIMED.format(imports=imports)]
    try:
        told = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerFailed(str(error)) from None
    if told.returncode:
        raise PeerFailed(told.stderr.strip().splitlines()[-1])
    return float(told.stdout.split()[-1])


def installed(packages: Path) -> Counter[str]:
    """Bytes of every file under site-packages, by package; without the tools that install."""
    files = (path for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    return by_package((path.relative_to(packages).as_posix(), path.stat().st_size) for path in files)


def by_package(files: Iterable[tuple[str, int]]) -> Counter[str]:
    """Bytes by the first part of a path; a distribution's records and libraries count as the package's own."""
    sizes: Counter[str] = Counter()
    for path, size in files:
        first = path.partition("/")[0].lower()
        name = re.sub(r"(-[^-]+\.(dist-info|data)|\.libs|\.py|\.pth|\.cpython-.*)$", "", first).replace("-", "_")
        if name not in TOOLS and first not in TOOLS:
            sizes[name] += size
    return sizes
