"""What the agent tells of itself when it greets the hub."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid import limits
from crowdgrid.agent import probe
from crowdgrid.agent.settings import AgentSettings
from crowdgrid.agent.trust import LABEL
from crowdgrid.protocol import messages as m
from crowdgrid.protocol import signing

SOFTWARE = "crowdgrid-agent/0.1.0"
FEATURES = ("remainder",)


class Greeting:
    """Makes `Hello`: with the benchmarks once there are any, with the runtimes there are just then."""

    def __init__(
        self, settings: AgentSettings, folder: Path, key: Ed25519PrivateKey, runtimes: Mapping[str, object]
    ) -> None:
        self._settings = settings
        self._runtimes = runtimes
        self.trusts = settings.python or ()
        self._key = signing.public_bytes(key)
        self.inventory = probe.inventory(folder)
        self.machine = probe.machine_of(self.inventory, SOFTWARE)
        self.benchmarks = probe.load(folder, self.machine, time.time())
        self.milli_cpus = settings.cores * 1000
        self.memory_bytes = settings.memory

    def hello(self) -> m.Hello:
        """The first words on a new link."""
        given = self._settings
        rates = self.benchmarks.rates if self.benchmarks else {}
        return m.Hello(
            version=m.VERSION,
            key=self._key,
            name="".join(filter(str.isprintable, given.name or socket.gethostname()))[: limits.NAME_CHARS],
            invitation=given.invitation,
            runtimes=tuple(self._runtimes),
            labels=tuple(dict.fromkeys((*given.labels, LABEL))),
            region=given.region,
            milli_cpus=self.milli_cpus,
            memory_bytes=self.memory_bytes,
            speed=rates.get("integer", 0.0),
            inventory=self.inventory,
            benchmarks=dict(rates),
            features=FEATURES,
            software=SOFTWARE,
            trusts=self.trusts,
        )
