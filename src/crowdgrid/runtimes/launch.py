"""How a worker process is started: the words after its command, its folder and its environment.

Workers of a sandbox get next to no environment, for programs in them see none. Workers of this machine's own
Python (see `python`) are ordinary processes of the agent's user and need what such a process needs to find
its modules, its home, its time zone: `ORDINARY`. No worker gets any other variable of the agent, so no token.

- `PYTHONHASHSEED=0`: the order of a set of strings is the same in every worker, so that two nodes give the same
  answer.
- One thread for numerical libraries: as many workers as cores run already, and each thread's stack and buffers
  count as memory of the call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

KEPT: Final = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SYSTEMROOT")
ORDINARY: Final = (*KEPT, "HOME", "USER", "LOGNAME", "LC_CTYPE", "TZ", "DYLD_LIBRARY_PATH")
THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Launch(NamedTuple):
    """What a worker is started with.

    Attributes:
        kind: which worker, see `worker`.
        folder: what the kind wants a folder for, "" none.
        tracked: it says at each moment what it does, see `progress`.
        inside: `folder` is its working directory.
    """

    kind: str
    folder: str = ""
    tracked: bool = False
    inside: bool = False

    def environment(self) -> dict[str, str]:
        """All of the worker's environment."""
        if not self.inside:
            return _kept(os.environ, KEPT)
        made = _kept(os.environ, ORDINARY) | dict.fromkeys(THREADS, "1")
        made |= {"TMPDIR": self.folder, "PYTHONHASHSEED": "0"}
        if path := made.get("PYTHONPATH"):
            # Relative to where the agent is, which is not where the worker will be; "" would be its folder.
            made["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in path.split(os.pathsep) if part)
        return made


def _kept(environment: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: environment[name] for name in names if name in environment}
