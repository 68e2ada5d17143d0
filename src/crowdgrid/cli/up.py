"""`crowdgrid up`: a hub and one agent on this machine."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from crowdgrid.cli.agent import python_option
from crowdgrid.cli.reach import Hub
from crowdgrid.client.children import Child, stop_all
from crowdgrid.client.login import Login, save, saved
from crowdgrid.errors import BadInput, CrowdgridError, NotAllowed, Unavailable
from crowdgrid.settings import HubSettings, is_loopback

START_SECONDS = 30.0
EPILOG = """
\b
Examples:
  crowdgrid up                                  this machine only
  crowdgrid up --listen 0.0.0.0:7070 --tls-cert cert.pem --tls-key key.pem
  crowdgrid up --listen 0.0.0.0:7070 --insecure   a network you trust
  crowdgrid up --python own --python alice      run Python of yours and of alice here; nobody: of none

\b
What it keeps is in --data and is there again the next time. Ctrl-C ends hub and agent.
"""


@click.command(epilog=EPILOG)
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7070", show_default=True)
@click.option("--data", metavar="DIR", help="Where hub and agent keep their things.")
@click.option("--cpus", type=click.IntRange(min=0), default=0, help="Cores the agent lends; default: all.")
@python_option("own, or what was said last")
@click.option("--tls-cert", metavar="FILE", default="")
@click.option("--tls-key", metavar="FILE", default="")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without TLS.")
@click.option("--no-agent", is_flag=True, help="Only the hub.")
@click.option("--no-qr", is_flag=True, help="No QR code.")
@click.option("--login", is_flag=True, help="Sign in to this hub even if you are signed in to another.")
def command(
    listen: str,
    data: str | None,
    cpus: int,
    python: tuple[str, ...],
    tls_cert: str,
    tls_key: str,
    insecure: bool,
    no_agent: bool,
    no_qr: bool,
    login: bool,
) -> None:
    """Start a hub and one agent on this machine; print the address and an invitation for other machines."""
    settings = HubSettings(listen=listen, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure)
    if no_agent and python:
        raise BadInput("--python is for the agent, which --no-agent leaves out.")
    folder = _folder(data)
    here = _reachable(settings, "127.0.0.1")
    trusts = _trusts(folder, here, python)
    with _listening(settings) as listening:
        token, invitation = _token(folder / "hub"), "cgi_" + secrets.token_urlsafe(24)
        children = [_hub(settings, folder, token, invitation, listening)]
    try:
        hub = _wait_for(here, token, children[0])
        if not no_agent:
            children.insert(0, _agent(here, folder, invitation, cpus, trusts, tls_cert))
        _sign_in(here, token, login)
        _welcome(hub, settings, "" if no_agent else _python_told(trusts or ()), no_qr=no_qr)
        _watch(children)
    except KeyboardInterrupt:
        click.echo("\nEnding; what is kept is there the next time.", err=True)
    finally:
        stop_all(children)


def _folder(data: str | None) -> Path:
    from platformdirs import user_data_dir

    folder = Path(data or os.environ.get("CROWDGRID_DATA") or user_data_dir("crowdgrid")).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _token(folder: Path) -> str:
    """The hub's admin token: the one its first start left, or a new one."""
    file = folder / "admin-token"
    if file.exists():
        return file.read_text(encoding="ascii").strip()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = "cg_" + secrets.token_urlsafe(32)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(token + "\n")
    return token


def _listening(settings: HubSettings) -> socket.socket:
    """The hub's socket, bound here: where another hub listens already, that is known before anything starts."""
    from crowdgrid.hub.server import listening_socket

    return listening_socket(settings)


def _hub(settings: HubSettings, folder: Path, token: str, invitation: str, listening: socket.socket) -> Child:
    words = ["hub", "--listen", settings.listen, "--data", str(folder / "hub"), "--with-parent"]
    words += ["--fd", str(listening.fileno())]
    if settings.tls:
        words += ["--tls-cert", settings.tls_cert, "--tls-key", settings.tls_key]
    if settings.insecure:
        words.append("--insecure")
    given = {"CROWDGRID_ADMIN_TOKEN": token, "CROWDGRID_INVITATION": invitation}
    return Child("hub", words, log=folder / "hub.log", secrets=given, fds=[listening.fileno()])


def _agent(url: str, folder: Path, invitation: str, cpus: int, trusts: Sequence[str] | None, ca: str) -> Child:
    words = ["agent", "run", "--hub", url, "--data", str(folder / "agent"), "--with-parent"]
    words += ["--name", socket.gethostname()[:60], "--cpus", str(cpus)]
    if trusts is not None:
        words += [word for who in trusts or ("nobody",) for word in ("--python", who)]
    if ca:
        words += ["--ca", ca]
    return Child("agent", words, log=folder / "agent.log", secrets={"CROWDGRID_INVITATION": invitation})


def _reachable(settings: HubSettings, instead: str) -> str:
    """The hub's URL, with another host where it listens on all addresses."""
    host, port = settings.address
    host = instead if host in {"0.0.0.0", "::"} else host  # noqa: S104 — compared, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{shown}:{port}"


def _wait_for(url: str, token: str, child: Child) -> Hub:
    """The hub once it answers. Raises ChildDied with its last words when it does not start."""
    hub = Hub(url, token)
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        try:
            child.check()
            hub.get("/v1/me")
            child.check()  # what answers may be another hub on this address
            return hub
        except Unavailable as error:
            if not error.retryable:
                raise
        time.sleep(0.1)
    raise Unavailable(f"The hub did not answer within {START_SECONDS:.0f} s.", hint=f"Its log is {child.log}.")


def _trusts(folder: Path, url: str, given: Sequence[str]) -> tuple[str, ...] | None:
    """Whose Python the agent runs: as given, else as said last, else this user's. None where that may not be: nobody's
    this time, and nothing was said for the next.

    Raises:
        CrowdgridError: what is given makes no sense, or may not be over this way.
    """
    from crowdgrid.agent.joined import python_of
    from crowdgrid.agent.settings import hub_address
    from crowdgrid.agent.trust import check_way, words

    hub = hub_address(url)
    if given:
        trusts = words(given)
        check_way(trusts, hub)
        return trusts
    try:
        last = python_of(folder / "agent")
        trusts = words(("own",) if last is None else last)
        check_way(trusts, hub)
    except (BadInput, NotAllowed) as error:  # also where what was said last cannot be read: a guess would be no consent
        click.echo(error.message, err=True)
        return None
    return trusts


def _python_told(trusts: Sequence[str]) -> str:
    from crowdgrid.core.unsandboxed import described

    return f"Its agent: {described(trusts)} `crowdgrid agent python` changes that."


def _sign_in(url: str, token: str, wanted: bool) -> None:
    """Later commands of this user find the hub by themselves, unless they are signed in elsewhere."""
    known = saved()
    if wanted or known is None or known.url == url:
        save(Login(url, token, own=True))
    else:
        click.echo(f"You stay signed in to {known.url}; for this hub use --hub {url}, or `up --login`.", err=True)


def _welcome(hub: Hub, settings: HubSettings, python: str, *, no_qr: bool) -> None:
    host, _ = settings.address
    made = hub.post("/v1/invitations", {"uses": 100, "expires_in": 86_400})
    outside = _reachable(settings, _address_in_network())
    link = f"{outside}/join#{made['code']}"
    click.echo(f"The hub is at {outside}; this machine works for it.")
    click.echo("Try:  crowdgrid run primes --range 0:10**9 --reduce sum")
    if python:
        click.echo(python)
    click.echo("\nInvitation for other machines, for one day:")
    click.echo(f"  crowdgrid join {outside} {made['code']}")
    click.echo(f"  {link}")
    click.echo("Machines that join with it count as yours: your pickles go there, and theirs are opened here.")
    click.echo("For those of others: crowdgrid token invite --owner NAME")
    if is_loopback(host):
        click.echo("Only this machine can reach the hub; --listen 0.0.0.0:7070 opens it to others.", err=True)
    elif not no_qr and sys.stdout.isatty():
        import segno

        segno.make(link, error="l").terminal(compact=True)
    click.echo("\nCtrl-C ends it.")


def _address_in_network() -> str:
    """This machine's address towards the network; no packet is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _watch(children: Sequence[Child]) -> None:
    while True:
        for child in children:
            try:
                child.check()
            except CrowdgridError as error:
                error.hint = f"Its log is {child.log}."
                raise
        time.sleep(0.5)
