"""What an agent is told when it starts. Checked here, once, so that nothing behind it has to.

What the machine's owner allows (CPU share, hours, idle only …) is not here: it is `consent.OwnerLimits`,
kept in the data folder and changed while the agent runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput

DRAIN_SECONDS_DEFAULT: Final = 20.0
RUNTIMES_DEFAULT: Final = ("wasm",)
CPUS_MAX: Final = 4096
_SCHEMES: Final = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


class AgentSettings(msgspec.Struct, frozen=True):
    """How to run an agent.

    Attributes:
        hub: address of the hub, `http(s)://` or `ws(s)://host:port`; "" takes the one joined before.
        data: the agent's folder: key, spool, caches, control socket. Made with mode 0700.
        invitation: code for a node that is new to the hub.
        cpus: cores to lend, 0 for all that this process may use.
        memory_bytes: memory to lend to programs, 0 for three quarters of the machine's.
        runtimes: kinds of program to run: "wasm", "echo"; "python" and "python-pickle" follow from `python`.
        python: whose programs this machine's own Python runs, as words of `core.unsandboxed`; empty for nobody's,
            None for those of whom the joining said so.
        name, labels, region: as the hub shows and matches them.
        with_parent: stop when stdin closes.
        no_limits: do as told whatever the owner's limits on idleness and power say (servers, tests).
        drain_seconds: how long what runs may take to finish after SIGTERM.
        ca: PEM file of the authority that signed the hub's certificate, None for the system's.
        cache_bytes: programs and inputs kept on disk.
        quiet: only warnings are logged.
    """

    hub: str
    data: Path
    invitation: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    runtimes: tuple[str, ...] = RUNTIMES_DEFAULT
    python: tuple[str, ...] | None = None
    name: str = ""
    labels: tuple[str, ...] = ()
    region: str = ""
    with_parent: bool = False
    no_limits: bool = False
    drain_seconds: float = DRAIN_SECONDS_DEFAULT
    ca: Path | None = None
    cache_bytes: int = 2 << 30
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.hub:
            hub_address(self.hub)
        if not 0 <= self.cpus <= CPUS_MAX:
            raise BadInput(f"--cpus must be from 0 (all) to {CPUS_MAX}, not {self.cpus}.")
        if self.memory_bytes and not limits.MEMORY_BYTES_MIN <= self.memory_bytes <= limits.MEMORY_BYTES_MAX:
            raise BadInput("--memory must be at least 1 MB and at most 1 TB.", hint="Write it as 512MB or 4GB.")
        if not self.runtimes:
            raise BadInput("An agent needs at least one runtime.", hint="Leave --runtime out to run WASM programs.")
        if not 0 <= self.drain_seconds <= 86_400:
            raise BadInput("--drain-seconds must be from 0 to 86,400.")
        if self.cache_bytes < limits.PROGRAM_BYTES:
            raise BadInput("The cache must be able to hold one program.", hint="Give it at least 64 MB.")

    @property
    def cores(self) -> int:
        """Cores to lend."""
        return self.cpus or len(os.sched_getaffinity(0)) or 1

    @property
    def memory(self) -> int:
        """Memory to lend to programs, bytes."""
        return self.memory_bytes or max(limits.MEMORY_BYTES_MIN, memory_of_machine() * 3 // 4)


class HubAddress(msgspec.Struct, frozen=True):
    """Where the hub is: `host` and `port`, reached over TLS or not, below `path`."""

    host: str
    port: int
    tls: bool
    path: str = ""

    @property
    def websocket(self) -> str:
        """URL of the node link."""
        return f"{'wss' if self.tls else 'ws'}://{self._place}{self.path}/v1/node"

    @property
    def shown(self) -> str:
        """As people write it."""
        return f"{'https' if self.tls else 'http'}://{self._place}{self.path}"

    @property
    def _place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def hub_address(text: str) -> HubAddress:
    """Read a hub's address. Raises BadInput with what is wrong with it."""
    hint = "An address looks like http://127.0.0.1:7070 or https://grid.example.org."
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, host, port = _SCHEMES.get(parts.scheme), parts.hostname, parts.port
    except ValueError:
        raise BadInput(f"{text!r} is not the address of a hub.", hint=hint) from None
    if scheme is None or not host or parts.query or parts.fragment or parts.username or parts.password:
        raise BadInput(f"{text!r} is not the address of a hub.", hint=hint)
    tls = scheme == "https"
    return HubAddress(host, port or (443 if tls else 80), tls, parts.path.rstrip("/"))


def memory_of_machine() -> int:
    """RAM of this machine, bytes; a container's limit when that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdigit() else total
