"""What an installed crowdgrid weighs: `python -m benchmarks.size`.

Installs the wheel, built now, and the part of `requirements.lock` it needs without extras into an environment of its own
(`.venv-peers/installed`, made from nothing), bytecode compiled, and adds up every file of its site-packages. There is no
pip in it. Megabytes are 10⁶ bytes. The exit status is 1 when it is more than it may be.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from benchmarks.peers.catalogue import ENVIRONMENTS
from benchmarks.peers.footprint import installed
from benchmarks.processes import ROOT

LIMIT_MB = 100.0
SHOWN = 12


def measured() -> Counter[str]:
    """Bytes by package."""
    subprocess.run([ROOT / "scripts" / "setup-peers", "installed"], check=True)
    (packages,) = (ENVIRONMENTS / "installed" / "lib").glob("python3*/site-packages")
    return installed(packages)


def told(sizes: Counter[str]) -> str:
    """Total and largest packages, for people."""
    total = sizes.total() / 1e6
    sign = "≤" if total <= LIMIT_MB else "more than"
    lines = [f"installed, without extras: {total:.1f} MB, {sign} {LIMIT_MB:.0f} MB"]
    largest = sizes.most_common(SHOWN)
    lines += [f"  {size / 1e6:6.1f}  {name}" for name, size in largest]
    rest = sizes.total() - sum(size for _, size in largest)
    return "\n".join([*lines, f"  {rest / 1e6:6.1f}  {len(sizes) - len(largest)} others"])


def main() -> int:
    sizes = measured()
    print(told(sizes))
    return 0 if sizes.total() / 1e6 <= LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
