"""What a hub is told when it starts: from options first, then the environment, then defaults.

A frozen struct, checked when it is built, so that a hub never starts half configured: an address that cannot be
parsed, a certificate without its key or an open port without TLS is refused here with a sentence that says why.
Secrets are taken from the environment only (`from_options`), never from the command line, where every user of
the machine could read them.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput

DEFAULT_LISTEN = "127.0.0.1:7070"
TRUST_FROM = ("steps", "posterior")
LOGS = ("text", "json")
_DAY = 86_400.0


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one hub runs.

    Attributes:
        listen: HOST:PORT; port 0 takes a free one. IPv6 hosts stand in brackets.
        data: folder of this hub: store, blobs and `admin-token` unless told otherwise; "" is the user's data folder.
        store: URL of the store, "" for SQLite in `data`. blobs: folder of the blobs, "" for `data`/blobs.
        tls_cert, tls_key: PEM files; both or none.
        insecure: listen beyond this machine without TLS.
        fd: an inherited, already listening socket, −1 for none; `listen` then only says where it listens.
        with_parent: exit when stdin closes, so that a hub never outlives who started it.
        log: "text" or "json", one line a record.
        admin_token: secret of an admin token to make sure of, "" to make one at first start.
        invitation: an invitation code for nodes to make sure of, "" for none.
        ranking: the scheduling rule.
        trust_up, trust_down: what a node's trust index gains and loses by a vote; `core.trust.policy.Policy` has what
            these, `trust_least`, `trust_most`, `trust_from`, `absence_days`, `audit_rate`, `closing_audits`, `canary_rate` and `owners_vote_once` mean.
        keep_jobs_seconds: how long an ended job is kept; 0 for ever.
        blob_grace_seconds: age below which a blob nothing names is left alone.
        collect_seconds: time between two collections.

    Raises:
        BadInput: a value that cannot be used, with what to do instead.
    """

    listen: str = DEFAULT_LISTEN
    data: str = ""
    store: str = ""
    blobs: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False
    fd: int = -1
    with_parent: bool = False
    log: str = "text"
    admin_token: str = ""
    invitation: str = ""
    ranking: str = "crowd"
    trust_least: float = limits.TRUST_LEAST
    trust_most: float = limits.TRUST_MOST
    trust_up: float = 0.1
    trust_down: float = 0.5
    trust_from: str = "steps"
    absence_days: float = 180.0
    audit_rate: float = 0.03
    speculate: bool = True
    closing_audits: int = 3
    canary_rate: float = 0.01
    owners_vote_once: bool = True
    blocks_vote_once: bool = False
    keep_jobs_seconds: float = 30 * _DAY
    blob_grace_seconds: float = 3600.0
    collect_seconds: float = 600.0

    def __post_init__(self) -> None:
        host, _ = self.address
        if bool(self.tls_cert) != bool(self.tls_key):
            raise BadInput("TLS needs both a certificate and its key.", hint="Give --tls-cert and --tls-key.")
        if self.log not in LOGS:
            raise BadInput(f"There is no log form {self.log!r}.", hint=f"Use one of {', '.join(LOGS)}.")
        if not (is_loopback(host) or self.tls_cert or self.insecure):
            raise BadInput(
                f"The hub will not listen on {host} without TLS: tokens, programs and results would cross the "
                "network in the clear.",
                hint="Give --tls-cert and --tls-key, put a TLS proxy before a hub on 127.0.0.1, or say --insecure.",
            )
        self._check_trust()
        for name in ("keep_jobs_seconds", "blob_grace_seconds", "collect_seconds"):
            if getattr(self, name) < 0:
                raise BadInput(f"The setting {name} is negative.", hint="Give seconds, 0 or more.")

    def _check_trust(self) -> None:
        if not limits.TRUST_LEAST <= self.trust_least <= self.trust_most <= limits.TRUST_MOST:
            raise BadInput(
                f"The trust index cannot go from {self.trust_least:g} to {self.trust_most:g}.",
                hint=f"It lies between {limits.TRUST_LEAST:g} and {limits.TRUST_MOST:g}, the lower bound first.",
            )
        for name in ("trust_up", "trust_down"):
            if not 0 <= getattr(self, name) <= limits.TRUST_MOST:
                raise BadInput(
                    f"The setting {name} is {getattr(self, name):g}.", hint=f"Use 0 to {limits.TRUST_MOST:g}."
                )
        if self.trust_from not in TRUST_FROM:
            raise BadInput(
                f"The trust index does not come from {self.trust_from[:40]!r}.", hint="Use steps or posterior."
            )
        if not 0 <= self.absence_days <= limits.ABSENCE_DAYS_MAX:
            raise BadInput(
                f"The time after which half of what is known of a node is left is {self.absence_days:g} days.",
                hint=f"Use 0 (it is kept) to {limits.ABSENCE_DAYS_MAX:,}; 180 by default.",
            )
        if not 0 <= self.closing_audits <= limits.CLOSING_AUDITS_MAX:
            raise BadInput(
                f"The closing audits of a node are {self.closing_audits}.",
                hint=f"Use 0 to {limits.CLOSING_AUDITS_MAX}; 3 by default.",
            )
        if not 0 <= self.canary_rate <= 1:
            raise BadInput(f"The share of canaries is {self.canary_rate:g}.", hint="Use 0 to 1; 0.01 by default.")
        if not 0 <= self.audit_rate <= 1:
            raise BadInput(f"The share of audited tasks is {self.audit_rate:g}.", hint="Use 0 to 1; 0.03 by default.")

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) of `listen`."""
        return parse_address(self.listen)

    @property
    def tls(self) -> bool:
        """Whether the hub speaks TLS itself."""
        return bool(self.tls_cert)

    @property
    def folder(self) -> Path:
        """The hub's data folder."""
        if self.data:
            return Path(self.data).expanduser()
        from platformdirs import user_data_dir

        return Path(user_data_dir("crowdgrid")) / "hub"

    @property
    def blobs_folder(self) -> Path:
        """Where blobs are kept."""
        return Path(self.blobs).expanduser() if self.blobs else self.folder / "blobs"

    @property
    def store_url(self) -> str:
        """Where records are kept."""
        return self.store or f"sqlite:///{self.folder / 'grid.db'}"


def from_options(environ: Mapping[str, str] = os.environ, **options: Any) -> HubSettings:
    """Settings from command-line options and the environment.

    An option that is None (or absent) was not given. `CROWDGRID_DATA` names the folder above `hub/`;
    `CROWDGRID_LISTEN`, `CROWDGRID_STORE`, `CROWDGRID_TLS_CERT` and `CROWDGRID_TLS_KEY` stand for their options;
    `CROWDGRID_ADMIN_TOKEN` and `CROWDGRID_INVITATION` are secrets and come from here only.

    Raises:
        BadInput: as HubSettings.
    """
    told: dict[str, Any] = {}
    for name in ("listen", "store", "tls_cert", "tls_key", "admin_token", "invitation"):
        if value := environ.get(f"CROWDGRID_{name.upper()}", ""):
            told[name] = value
    if above := environ.get("CROWDGRID_DATA", ""):
        told["data"] = str(Path(above) / "hub")
    told |= {name: value for name, value in options.items() if value is not None}
    return HubSettings(**told)


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT, [IPv6]:PORT or :PORT (this machine only). Raises BadInput."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise BadInput(f"{text!r} is not an address to listen on.", hint="Write HOST:PORT, for example 127.0.0.1:7070.")
    if ":" in host.strip("[]") and not (host.startswith("[") and host.endswith("]")):
        raise BadInput(f"{text!r} is not an address to listen on.", hint="Write an IPv6 address as [::1]:7070.")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host` (a name or an address)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
